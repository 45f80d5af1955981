import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { createManualRuntime } from '@inmesh/core/testing';
import { type FirstBytes, Sniffer } from '@inmesh/identity';
import fc from 'fast-check';
import { promise, type Target, target } from './target.js';

const chunk = fc.oneof(
  fc
    .constantFrom(
      'P',
      'PR',
      'PRI',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET / HTTP/1.1',
      '\u0016\u0003\u0001',
    )
    .map((text) => Buffer.from(text, 'latin1')),
  fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
);

/** What they are; `undefined` while that is open. */
function whatIs(bytes: Buffer): FirstBytes | undefined {
  const text = bytes.toString('latin1');
  if (text.startsWith('\u0016')) return 'tls';
  if (text.startsWith('PRI')) return 'http2';
  return 'PRI'.startsWith(text) ? undefined : 'http1';
}

async function checkChunks(chunks: readonly Buffer[]): Promise<void> {
  const runtime = createManualRuntime();
  const sniffer = new Sniffer(runtime, { timeoutMs: 1000, maxSilent: 1 });
  const stream = new PassThrough();
  const found: FirstBytes[] = [];
  sniffer.sniff(stream as unknown as Socket, (one) => void found.push(one));
  for (const one of chunks) {
    stream.write(one);
    // As they come from a network: one after the other.
    await new Promise(setImmediate);
  }
  const all = Buffer.concat(chunks);
  const expected = whatIs(all);
  promise(found.length === (expected === undefined ? 0 : 1), 'it is told once, and when it is known');
  promise(found[0] === expected, 'it is what it is, however it is cut');
  if (expected === undefined) {
    await runtime.advance(1000);
    promise(stream.destroyed && sniffer.silent === 0, 'who says nothing is cut');
    return;
  }
  promise(all.equals((stream.read() as Buffer | null) ?? Buffer.alloc(0)), 'every byte is put back');
  promise(runtime.armed === 0 && sniffer.silent === 0, 'nothing waits any more');
  stream.destroy();
}

/** First bytes of connections. */
export const sniffTargets: readonly Target[] = [
  target('first bytes', fc.array(chunk, { maxLength: 6 }), checkChunks),
];
