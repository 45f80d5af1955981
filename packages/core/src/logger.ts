/** Fields of one log record. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where Inmesh writes what it has to say; pino fits as it is. Silent by default. */
export interface Logger {
  /** Details for somebody who debugs. */
  debug(fields: LogFields, message: string): void;
  /** Facts of normal operation: rotated, applied, drained. */
  info(fields: LogFields, message: string): void;
  /** Something degraded and still works. */
  warn(fields: LogFields, message: string): void;
  /** Something failed. */
  error(fields: LogFields, message: string): void;
}

const nothing = (): void => {};

/** A {@link Logger} that drops everything. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
