import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InterimReplies } from '../src/interim-replies.js';

/** A socket that reads one chunk after the other, and then nothing. */
function socketOf(chunks: readonly Buffer[]): { read(): Buffer | null } {
  const left = [...chunks];
  return { read: () => left.shift() ?? null };
}

function readAll(socket: { read(): Buffer | null }): string {
  const seen: Buffer[] = [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) seen.push(chunk);
  return Buffer.concat(seen).toString('latin1');
}

/** Cuts a text at the places given. */
function cut(text: string, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (text.length + 1)))].toSorted((a, b) => a - b);
  return [0, ...at].map((from, i) => Buffer.from(text.slice(from, at[i] ?? text.length), 'latin1'));
}

const proceed = 'HTTP/1.1 100 Continue\r\n\r\n';
const wordy = 'HTTP/1.1 100 Go on\r\nx-note: a\r\nx-more: b\r\n\r\n';
const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n';
const finals = [
  'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc',
  `HTTP/1.1 200 OK\r\ncontent-length: ${proceed.length}\r\n\r\n${proceed}`,
  `HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n${proceed}`,
  'HTTP/1.1 1',
  'SSH-2.0-OpenSSH_9.2\r\n',
  'HTTP/1x1 100 Odd\r\n\r\n',
  '\r\n',
  // What undici refuses, or reads otherwise than we would.
  'HTTP/1.1 1000 Odd\r\n\r\n',
  ...['100 Continue\n\n', '100 Continue\r\n\n', '100 Continue\r\nx: y\n\n', '100 Continue\r\nx: \ry\r\n'].map(
    (head) => `HTTP/1.1 ${head}HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nbody\r\n\r\n`,
  ),
];

describe('InterimReplies', () => {
  it('takes out every 100 before a reply and nothing else, however the bytes are cut', () => {
    const before = fc.array(fc.constantFrom(proceed, wordy, hints), { maxLength: 5 });
    fc.assert(
      fc.property(
        before,
        fc.constantFrom(...finals),
        fc.array(fc.nat(), { maxLength: 12 }),
        (heads, last, places) => {
          const socket = socketOf(cut(heads.join('') + last, places));
          new InterimReplies(socket as never);
          const hinted = heads.filter((head) => head === hints).join('');
          // What could still become either is held.
          expect(readAll(socket)).toBe(hinted + (last === 'HTTP/1.1 1' ? '' : last));
        },
      ),
    );
  });

  it('takes out everything before the reply to what asks for a tunnel, and nothing of the tunnel', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(proceed, wordy, hints), { maxLength: 5 }),
        fc.constantFrom('101 Switching Protocols', '200 OK', '403 Forbidden'),
        fc.array(fc.nat(), { maxLength: 12 }),
        (heads, status, places) => {
          const last = `HTTP/1.1 ${status}\r\n\r\n${hints}${proceed}`;
          const socket = socketOf(cut(heads.join('') + last, places));
          new InterimReplies(socket as never).expect(true);
          expect(readAll(socket)).toBe(last);
        },
      ),
    );
  });

  it('looks again before the reply to the next request, and never within one', () => {
    const reply = 'HTTP/1.1 204 No Content\r\n\r\n';
    const socket = socketOf([reply, proceed, proceed, reply].map((text) => Buffer.from(text)));
    const replies = new InterimReplies(socket as never);
    expect([String(socket.read()), String(socket.read())]).toEqual([reply, proceed]);
    replies.expect(false);
    expect(readAll(socket)).toBe(reply);
  });

  it('holds no head without an end', () => {
    const endless = `HTTP/1.1 100 Continue\r\nx: ${'a'.repeat(16_384)}`;
    const socket = socketOf([Buffer.from(endless), Buffer.from('b')]);
    new InterimReplies(socket as never);
    expect(readAll(socket)).toBe(`${endless}b`);
  });
});
