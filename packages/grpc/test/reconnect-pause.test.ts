import { describe, expect, it } from 'vitest';
import { ReconnectPause } from '../src/reconnect-pause.js';

const middle = (): number => 0.5;

describe('pause between connections', () => {
  it('grows with connections that end soon, up to 10 s, and is over with one that lasts or answers', () => {
    const pause = new ReconnectPause();
    const ends = Array.from({ length: 10 }, () => pause.onEnd(pause.onReady(0), 999, middle));
    expect(ends).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    expect(pause.onEnd(pause.onReady(0), 1000, middle)).toBe(0);
    expect([pause.onEnd(pause.onReady(0), 10, middle), pause.onEnd(pause.onReady(0), 10, middle)]).toEqual([
      0, 100,
    ]);
    const use = pause.onReady(0);
    pause.onAnswer(use);
    expect([pause.onEnd(use, 10, middle), pause.short]).toEqual([0, 0]);
  });

  it('counts none while one that ended still serves its streams, and waits the shortest time', () => {
    const pause = new ReconnectPause();
    const use = pause.onReady(0);
    use.open = 2;
    expect([pause.onEnd(use, 10, middle), use.isOver]).toEqual([100, true]);
    for (let i = 0; i < 5; i++) expect(pause.onEnd(pause.onReady(10), 20, middle)).toBe(100);
    expect([pause.short, pause.isOpen, pause.onStreamEnd(use)]).toEqual([0, true, false]);
    expect([pause.onAnswer(use), pause.isOpen, pause.waitMs(middle)]).toEqual([true, false, 0]);
    // Nothing is left to tell.
    expect([pause.onAnswer(use), pause.onStreamEnd(use), pause.short]).toEqual([false, false, 0]);
  });

  it('counts one whose last stream is lost', () => {
    const pause = new ReconnectPause();
    pause.onEnd(pause.onReady(0), 10, middle);
    const use = pause.onReady(10);
    use.open = 1;
    expect(pause.onEnd(use, 20, middle)).toBe(100);
    expect([pause.onStreamEnd(use), pause.short, pause.waitMs(middle)]).toEqual([true, 2, 100]);
  });
});
