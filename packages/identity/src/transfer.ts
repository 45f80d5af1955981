import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

const toldKey: unique symbol = Symbol('inmesh.told-bytes');

/** Bytes of a connection that were told to somebody. */
interface Told {
  read: number;
  written: number;
}

/** What a connection reads and writes, above TLS. */
export type CountingSocket = Partial<Pick<Socket, 'bytesRead' | 'bytesWritten'>>;

function toldOf(socket: CountingSocket & { [toldKey]?: Told }): Told {
  socket[toldKey] ??= { read: 0, written: 0 };
  return socket[toldKey];
}

/**
 * Bytes that a connection of HTTP/1.1 read since this was last asked: where requests follow one another, those of the
 * one that has ended. node counts them above TLS.
 */
export function takeRead(socket: CountingSocket): number {
  const told = toldOf(socket);
  // Whoever hands a stream of his own to node:http counts nothing.
  const { bytesRead = 0 } = socket;
  const bytes = bytesRead - told.read;
  told.read = bytesRead;
  return bytes;
}

/** Bytes that it wrote; see {@link takeRead}. */
export function takeWritten(socket: CountingSocket): number {
  const told = toldOf(socket);
  const { bytesWritten = 0 } = socket;
  const bytes = bytesWritten - told.written;
  told.written = bytesWritten;
  return bytes;
}

const meterKey: unique symbol = Symbol('inmesh.meter');

type Push = (chunk: Uint8Array | null, encoding?: BufferEncoding) => boolean;
type Write = Writable['_write'];
type WriteMany = NonNullable<Writable['_writev']>;

/** A stream that can be metered: what node calls with each chunk can be replaced on the stream itself. */
interface Metered {
  [meterKey]?: StreamMeter;
  push: Push;
  _write: Write;
  _writev?: WriteMany;
}

/** What a metered stream is; its own methods are those of its class. */
interface Plain {
  readonly push: Push;
  readonly write: Write;
  readonly writeMany: WriteMany | undefined;
}

/** Counts what the DATA frames of one stream of HTTP/2 carry: node tells bytes of connections only. */
export class StreamMeter {
  /** Read so far. */
  bytesRead = 0;
  /** Written so far. */
  bytesWritten = 0;
  /** What the stream does without a meter. @internal */
  readonly plain: Plain;

  /** @param stream - Nothing was read of it or written to it yet. */
  constructor(stream: object) {
    const metered = stream as Metered;
    this.plain = { push: metered.push, write: metered._write, writeMany: metered._writev };
    metered[meterKey] = this;
    metered.push = countedPush;
    metered._write = countedWrite;
    if (metered._writev !== undefined) metered._writev = countedWriteMany;
  }

  /** A chunk was read. */
  onRead(chunk: Uint8Array): void {
    this.bytesRead += chunk.length;
  }

  /** A chunk is being written. */
  onWrite(chunk: Uint8Array): void {
    this.bytesWritten += chunk.length;
  }
}

// Shared by all streams: no closure per request.

function meterOf(stream: Metered): StreamMeter {
  const meter = stream[meterKey];
  if (meter === undefined) throw new Error('invariant: a stream that lost its meter');
  return meter;
}

function bytesOf(chunk: unknown, encoding: BufferEncoding): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : (chunk as Uint8Array);
}

function countedPush(this: Metered, chunk: Uint8Array | null, encoding?: BufferEncoding): boolean {
  const meter = meterOf(this);
  if (chunk !== null) meter.onRead(chunk);
  return meter.plain.push.call(this, chunk, encoding);
}

function countedWrite(this: Metered, ...args: Parameters<Write>): void {
  const meter = meterOf(this);
  meter.onWrite(bytesOf(args[0], args[1]));
  meter.plain.write.apply(this as never, args);
}

function countedWriteMany(this: Metered, ...args: Parameters<WriteMany>): void {
  const meter = meterOf(this);
  for (const { chunk, encoding } of args[0]) meter.onWrite(bytesOf(chunk, encoding));
  meter.plain.writeMany?.apply(this as never, args);
}
