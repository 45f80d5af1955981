import type { Duplex } from 'node:stream';

/** A header field as undici's wire parser gives it. */
export type RawField = Buffer | string | readonly (Buffer | string)[];

/** Handlers of undici up to 6, and what undici 7 calls inside. */
export interface LegacyHandler {
  onConnect?(abort: (reason?: Error) => void, context?: unknown): void;
  onUpgrade?(statusCode: number, rawHeaders: readonly RawField[], socket: Duplex): void;
  onResponseStarted?(): void;
  onHeaders?(
    statusCode: number,
    rawHeaders: readonly RawField[],
    resume: () => void,
    statusText: string,
  ): boolean;
  onData?(chunk: Buffer): boolean;
  onComplete?(rawTrailers: readonly RawField[]): void;
  onError?(error: Error): void;
  onBodySent?(chunkSize: number, totalBytesSent: number): void;
  onRequestSent?(): void;
}

/** Handlers of undici 7 and 8. */
interface ModernHandler {
  onRequestStart(controller: Controller, context: unknown): void;
  onRequestUpgrade?(controller: Controller, statusCode: number, headers: HeaderRecord, socket: Duplex): void;
  onResponseStarted?(): void;
  onResponseStart?(
    controller: Controller,
    statusCode: number,
    headers: HeaderRecord,
    statusMessage?: string,
  ): void;
  onResponseData?(controller: Controller, chunk: Buffer): void;
  onResponseEnd?(controller: Controller, trailers: HeaderRecord): void;
  onResponseError?(controller: Controller, error: Error): void;
  onBodySent?(chunkSize: number, totalBytesSent: number): void;
  onRequestSent?(): void;
}

type HeaderRecord = Record<string, string | string[]>;

/** What a caller steers its request with: ours, alive from the first layer to the last byte. */
class Controller {
  rawHeaders: readonly RawField[] | null = null;
  rawTrailers: readonly RawField[] | null = null;
  #isPaused = false;
  #reason: Error | null = null;
  #isAborted = false;
  #resume: (() => void) | undefined;
  readonly #abort: (reason?: Error) => void;

  constructor(abort: (reason?: Error) => void) {
    this.#abort = abort;
  }

  get paused(): boolean {
    return this.#isPaused;
  }

  get aborted(): boolean {
    return this.#isAborted;
  }

  get reason(): Error | null {
    return this.#reason;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#resume?.();
  }

  abort(reason: Error): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#reason = reason;
    this.#abort(reason);
  }

  onResume(resume: () => void): void {
    this.#resume = resume;
  }
}

function text(field: RawField): string | string[] {
  if (typeof field === 'string') return field;
  return Buffer.isBuffer(field)
    ? field.toString('latin1')
    : (field as readonly (Buffer | string)[]).map((one) => text(one) as string);
}

/** Field lines as undici's merged form: lower-case names, lists where a name repeats. */
function toRecord(raw: readonly RawField[]): HeaderRecord {
  const record: HeaderRecord = {};
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = String(text(raw[i] ?? '')).toLowerCase();
    const value = text(raw[i + 1] ?? '');
    const before = Object.hasOwn(record, name) ? record[name] : undefined;
    if (before === undefined)
      Object.defineProperty(record, name, { value, enumerable: true, configurable: true, writable: true });
    else record[name] = [before, value].flat();
  }
  return record;
}

/** Speaks to a handler of undici 7 and 8 as to one of undici 6. */
class ModernAdapter implements LegacyHandler {
  readonly #handler: ModernHandler;
  #controller = new Controller(() => {});

  constructor(handler: ModernHandler) {
    this.#handler = handler;
  }

  onConnect(abort: (reason?: Error) => void, context?: unknown): void {
    this.#controller = new Controller(abort);
    this.#handler.onRequestStart(this.#controller, context);
  }

  onUpgrade(statusCode: number, rawHeaders: readonly RawField[], socket: Duplex): void {
    this.#controller.rawHeaders = rawHeaders;
    this.#handler.onRequestUpgrade?.(this.#controller, statusCode, toRecord(rawHeaders), socket);
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }

  onHeaders(
    statusCode: number,
    rawHeaders: readonly RawField[],
    resume: () => void,
    statusText: string,
  ): boolean {
    this.#controller.onResume(resume);
    this.#controller.rawHeaders = rawHeaders;
    this.#handler.onResponseStart?.(this.#controller, statusCode, toRecord(rawHeaders), statusText);
    return !this.#controller.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#handler.onResponseData?.(this.#controller, chunk);
    return !this.#controller.paused;
  }

  onComplete(rawTrailers: readonly RawField[]): void {
    this.#controller.rawTrailers = rawTrailers;
    this.#handler.onResponseEnd?.(this.#controller, toRecord(rawTrailers));
  }

  onError(error: Error): void {
    this.#handler.onResponseError?.(this.#controller, error);
  }

  onBodySent(chunkSize: number, totalBytesSent: number): void {
    this.#handler.onBodySent?.(chunkSize, totalBytesSent);
  }

  onRequestSent(): void {
    this.#handler.onRequestSent?.();
  }
}

/** Makes every handler look like one of undici 6, whichever undici it came from: the built-in one, 6, 7 or 8. */
export function toLegacyHandler(handler: unknown): LegacyHandler {
  return typeof (handler as Partial<ModernHandler>).onRequestStart === 'function'
    ? new ModernAdapter(handler as ModernHandler)
    : (handler as LegacyHandler);
}
