import type { MeshConfig } from '@inmesh/config';
import { isMeshError, type LogFields, type Logger } from '@inmesh/core';

const levels = ['debug', 'info', 'warn', 'error', 'off'] as const;

function plainError(error: Error): object {
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
  return isMeshError(error)
    ? { code: error.code, message: error.message, ...cause }
    : { name: error.name, message: error.message, ...cause };
}

function replacer(_key: string, value: unknown): unknown {
  if (value instanceof Error) return plainError(value);
  return typeof value === 'bigint' ? String(value) : value;
}

/** Writes one JSON object per line to standard error. */
export function createStderrLogger(level: MeshConfig['logLevel'], wallMs: () => number): Logger {
  const write = (name: (typeof levels)[number]) =>
    levels.indexOf(name) < levels.indexOf(level)
      ? (): void => {}
      : (fields: LogFields, message: string): void => {
          process.stderr.write(
            `${JSON.stringify({ time: new Date(wallMs()).toISOString(), level: name, msg: message, ...fields }, replacer)}\n`,
          );
        };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}
