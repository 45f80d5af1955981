import type { LogFields, Logger } from './logger.js';

type Level = keyof Logger;

/**
 * A logger of the user's that cannot do harm: what it throws is dropped, since there is nobody left to tell. A log line
 * that fails must fail no call and end no process.
 */
export function harmlessLogger(logger: Logger): Logger {
  const at =
    (level: Level) =>
    (fields: LogFields, message: string): void => {
      try {
        const result: unknown = logger[level](fields, message);
        if (result instanceof Promise) result.catch(() => {});
      } catch {
        // See above.
      }
    };
  return Object.freeze({ debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') });
}
