import { describe, expect, it } from 'vitest';
import { CallContext, contextKey, type LiveCall, LiveCalls, linkSignal, MeshError } from '../src/index.js';
import { createCall } from './support.js';

const gone = new MeshError('INMESH_ERR_CANCELLED', 'gone');

describe('CallState', () => {
  it('only brings deadlines forward', () => {
    const call = createCall();
    expect(call.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    call.tightenDeadline(50);
    call.tightenDeadline(80);
    expect(call.deadlineMs).toBe(50);
  });

  it('shows a parent only carried keys, and its own value first', () => {
    const carried = contextKey<string>('tenant', { carried: true });
    const local = contextKey<string>('local');
    const parent = createCall();
    parent.set(carried, 'acme');
    parent.set(local, 'mine');
    const child = createCall({ parent, side: 'client' });
    expect([child.get(carried), child.get(local)]).toEqual(['acme', undefined]);
    child.set(carried, 'other');
    expect([child.get(carried), parent.get(carried)]).toEqual(['other', 'acme']);
  });

  it('keeps the last value of each of many keys, whatever they hold', () => {
    const keys = Array.from({ length: 20 }, (_, i) => contextKey<unknown>(`key ${i}`));
    const call = createCall();
    // A value that is a key is none.
    keys.forEach((key, i) => call.set(key, keys[(i + 1) % keys.length]));
    keys.forEach((key, i) => void (i % 2 === 0 && call.set(key, i)));
    expect(keys.map((key) => call.get(key))).toEqual(
      keys.map((_, i) => (i % 2 === 0 ? i : keys[(i + 1) % keys.length])),
    );
    expect(call.get(contextKey('key 0'))).toBeUndefined();
  });

  it('aborts its signal and tells the adapter once when cancelled', () => {
    let told = 0;
    const call = createCall({ onCancel: () => told++ });
    const { signal } = call;
    call.cancel(gone);
    call.cancel(gone);
    expect([signal.aborted, signal.reason, told, call.isDone]).toEqual([true, gone, 1, true]);
  });

  it('gives an aborted signal to who asks after the end, and none aborts on a normal end', () => {
    const normal = createCall();
    const before = normal.signal;
    normal.finish(undefined);
    expect(before.aborted).toBe(false);
    const late = createCall();
    late.finish(undefined);
    expect(late.signal.aborted).toBe(true);
  });
});

describe('CallContext', () => {
  it('carries the inbound call through awaits, and keeps two apart', async () => {
    const context = new CallContext();
    const a = createCall();
    const b = createCall();
    const seen = await Promise.all(
      [a, b].map((call) =>
        context.run(call, async () => {
          await Promise.resolve();
          return context.current();
        }),
      ),
    );
    expect(seen[0]).toBe(a);
    expect(seen[1]).toBe(b);
    expect(context.current()).toBeUndefined();
  });
});

describe('LiveCalls', () => {
  function live(verdict: 'stay' | 'stop', onRevoked: () => void = () => {}): LiveCall {
    return {
      call: createCall(),
      recheck: () => (verdict === 'stop' ? { kind: 'reject', error: gone } : undefined),
      onRevoked,
      conclude: () => {},
      liveNext: undefined,
      livePrevious: undefined,
    };
  }

  it('stops the calls that a new policy halts, also when they leave while it walks', () => {
    const calls = new LiveCalls();
    const stopping: LiveCall[] = [1, 2, 3].map(() => {
      const one: LiveCall = live('stop', () => calls.delete(one));
      return one;
    });
    const staying = live('stay');
    for (const one of [...stopping.slice(0, 2), staying, ...stopping.slice(2)]) calls.add(one);
    expect(calls.recheckAll()).toBe(3);
    expect(calls.size).toBe(1);
  });

  it('counts a call that leaves twice once and wakes who waits for idleness', async () => {
    const calls = new LiveCalls();
    const one = live('stay');
    const two = live('stay');
    calls.add(one);
    calls.add(two);
    let isIdle = false;
    const idle = calls.whenIdle().then(() => {
      isIdle = true;
    });
    calls.delete(two);
    calls.delete(two);
    await Promise.resolve();
    expect([calls.size, isIdle]).toEqual([1, false]);
    calls.delete(one);
    await idle;
    expect(calls.size).toBe(0);
    await calls.whenIdle();
  });
});

describe('linkSignal', () => {
  it('aborts the target with the reason and lets go when unlinked', () => {
    const parent = new AbortController();
    const linked = new AbortController();
    const unlinked = new AbortController();
    linkSignal(parent.signal, linked);
    linkSignal(parent.signal, unlinked)();
    parent.abort(gone);
    expect([linked.signal.reason, unlinked.signal.aborted]).toEqual([gone, false]);
    const late = new AbortController();
    linkSignal(parent.signal, late)();
    expect(late.signal.reason).toBe(gone);
    linkSignal(undefined, late)();
  });
});
