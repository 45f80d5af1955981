import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayBody, replayBytes } from '../src/replay-body.js';

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** A source whose chunks come when the test says. */
class Source implements AsyncIterableIterator<Uint8Array> {
  readonly chunks: readonly Uint8Array[];
  isReturned = false;
  #place = 0;
  #waiting: (() => void)[] = [];
  #isFree: boolean;

  constructor(chunks: readonly Uint8Array[], isFree: boolean) {
    this.chunks = chunks;
    this.#isFree = isFree;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isFree) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const value = this.chunks[this.#place++];
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.isReturned = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  step(): void {
    this.#waiting.shift()?.();
  }

  release(): void {
    this.#isFree = true;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

const chunksOf = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 20 });

describe('ReplayBody', () => {
  it('gives the reader that reads to the end every byte, whatever readers before it did', async () => {
    await fc.assert(
      fc.asyncProperty(
        chunksOf,
        fc.array(fc.nat(12), { maxLength: 4 }),
        fc.nat(400),
        fc.boolean(),
        async (chunks, stops, maxBytes, commitsEarly) => {
          const source = new Source(chunks, false);
          const body = new ReplayBody(source, maxBytes);
          for (const reads of stops) {
            if (!body.isReplayable) break;
            const iterator = body.open()[Symbol.asyncIterator]();
            for (let i = 0; i < reads; i++) {
              // Started and perhaps never finished: the next reader begins while the source is being pulled.
              iterator.next().catch(() => {});
              source.step();
              await settle();
            }
          }
          if (!body.isReplayable) return;
          const reader = body.open();
          if (commitsEarly) body.commit();
          const got: Uint8Array[] = [];
          const reading = (async () => {
            for await (const chunk of reader) got.push(chunk);
          })();
          await settle();
          source.release();
          await reading;
          expect(Buffer.concat(got)).toEqual(Buffer.concat(chunks));
          body.end();
          expect([replayBytes(), source.isReturned]).toEqual([0, true]);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('says that it cannot be read again once more than allowed was read', async () => {
    await fc.assert(
      fc.asyncProperty(chunksOf, fc.nat(300), async (chunks, maxBytes) => {
        const body = new ReplayBody(chunks, maxBytes);
        for await (const chunk of body.open()) expect(chunk.length).toBeGreaterThan(0);
        const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        expect(body.isReplayable).toBe(total <= maxBytes);
        expect(replayBytes()).toBe(total <= maxBytes ? total : 0);
        body.end();
        expect(replayBytes()).toBe(0);
      }),
    );
  });

  it('holds no more than one chunk once nothing is kept for another attempt', async () => {
    const body = new ReplayBody(
      Array.from({ length: 200 }, () => Buffer.alloc(1000)),
      5000,
    );
    let most = 0;
    for await (const chunk of body.open()) most = Math.max(most, body.heldBytes - chunk.length);
    // What was kept until the bound was met goes with the next chunk.
    expect(most).toBeLessThanOrEqual(5000);
    expect(body.heldBytes).toBeLessThanOrEqual(1000);
    const committed = new ReplayBody(
      Array.from({ length: 200 }, () => Buffer.alloc(1000)),
      1_000_000,
    );
    let count = 0;
    for await (const chunk of committed.open()) {
      if (++count === 20) committed.commit();
      if (count > 21) expect(committed.heldBytes).toBeLessThanOrEqual(chunk.length);
    }
    expect(count).toBe(200);
    body.end();
    committed.end();
  });

  it('fails a reader that is stopped before its end: it must not look like the whole', async () => {
    const source = new Source([Buffer.from('x')], false);
    const body = new ReplayBody(source, 100);
    const reader = body.open();
    const waiting = reader.next();
    reader.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'INMESH_ERR_CANCELLED' });
    await expect(reader.next()).rejects.toMatchObject({ code: 'INMESH_ERR_CANCELLED' });
    expect(source.isReturned).toBe(false);
    body.end();
    expect(source.isReturned).toBe(true);
  });

  it('fails with the error of its source, for good', async () => {
    const broken = {
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('disk on fire')) }),
    };
    const body = new ReplayBody(broken, 100);
    const read = async (): Promise<void> => {
      for await (const chunk of body.open()) expect(chunk).toBeDefined();
    };
    await expect(read()).rejects.toMatchObject({ code: 'INMESH_ERR_BODY_FAILED' });
    expect(body.isReplayable).toBe(false);
    body.end();
  });
});
