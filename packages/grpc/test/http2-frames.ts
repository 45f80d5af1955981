/** Types of frames. RFC 9113 §6. */
export const frameType = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING. */
export const endStream = 1;
export const endHeaders = 4;

/** A frame as it was read. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A frame as it goes over the wire, whether it makes sense or not. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A number of four bytes. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** RFC 7541 §5.1, with a prefix of 7 bits. */
function length(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let left = value - 127;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  return Buffer.from([...bytes, left]);
}

/** A block of headers, none of them indexed. RFC 7541 §6.2.2. */
export function block(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [
      Buffer.from([0]),
      length(name.length),
      Buffer.from(name),
      length(value.length),
      Buffer.from(value),
    ]),
  );
}

/** A block in as many frames as it needs. */
export function headers(stream: number, given: Readonly<Record<string, string>>, flags = 0): Buffer {
  const bytes = block(given);
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += 16_384) {
    const isLast = at + 16_384 >= bytes.length;
    const type = at === 0 ? frameType.headers : frameType.continuation;
    const own = (at === 0 ? flags : 0) | (isLast ? endHeaders : 0);
    parts.push(frame(type, own, stream, bytes.subarray(at, at + 16_384)));
  }
  return Buffer.concat(parts);
}

/** What a client says first. RFC 9113 §3.4. */
export const preface = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(frameType.settings, 0, 0),
]);

/** Head of an RPC of the test service. */
export function rpcHead(path: string): Record<string, string> {
  return {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'echo',
    'content-type': 'application/grpc',
    te: 'trailers',
  };
}

/** Head of a reply that messages follow. */
export const replyHead = { ':status': '200', 'content-type': 'application/grpc+proto' } as const;

/** A message with its prefix. */
export function message(text: string): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(Buffer.byteLength(text)), Buffer.from(text)]);
}

/** Takes bytes apart. */
export class FrameReader {
  #left: Buffer;

  /** @param skipped - Bytes before the first frame. */
  constructor(skipped = 0) {
    this.#left = Buffer.alloc(0);
    this.#skipped = skipped;
  }
  #skipped: number;

  /** @returns the frames that are whole by now */
  push(chunk: Buffer): Frame[] {
    this.#left = Buffer.concat([this.#left, chunk]);
    const skipped = Math.min(this.#skipped, this.#left.length);
    this.#left = this.#left.subarray(skipped);
    this.#skipped -= skipped;
    const frames: Frame[] = [];
    while (this.#left.length >= 9) {
      const end = 9 + this.#left.readUIntBE(0, 3);
      if (this.#left.length < end) break;
      const [, , , type = 0, flags = 0] = this.#left;
      frames.push({
        type,
        flags,
        stream: this.#left.readUInt32BE(5) & 0x7f_ff_ff_ff,
        payload: this.#left.subarray(9, end),
      });
      this.#left = this.#left.subarray(end);
    }
    return frames;
  }
}
