import { describe, expect, it } from 'vitest';
import { MeshError, WatchSource, type WatchState } from '../src/index.js';

const gone = new MeshError('INMESH_ERR_IDENTITY_GONE', 'expired');

describe('Watch', () => {
  it('keeps the last good value through failures', () => {
    const source = new WatchSource<number>();
    source.fail('down');
    expect(source.state).toEqual({ kind: 'pending', error: 'down' });
    source.set(1);
    source.fail('down again');
    expect(source.state).toEqual({ kind: 'ready', value: 1, version: 1, error: 'down again' });
    expect(source.current()).toBe(1);
  });

  it('withdraws a value and brings one back', () => {
    const source = new WatchSource<number>();
    source.set(1);
    source.withdraw(gone);
    expect(() => source.current()).toThrow(gone);
    source.fail('ignored while gone');
    expect(source.state.kind).toBe('gone');
    source.set(2);
    expect(source.current()).toBe(2);
  });

  it('throws before the first value', () => {
    expect(() => new WatchSource<number>().current()).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_IDENTITY_GONE' }),
    );
  });

  it('notifies in order and never re-entrantly', () => {
    const source = new WatchSource<number>();
    const log: string[] = [];
    let depth = 0;
    source.subscribe((state) => {
      depth++;
      log.push(`a${depth} ${state.kind === 'ready' ? state.value : state.kind}`);
      if (state.kind === 'ready' && state.value === 1) source.set(2);
      depth--;
    });
    source.subscribe((state) => log.push(`b ${state.kind === 'ready' ? state.value : state.kind}`));
    source.set(1);
    expect(log).toEqual(['a1 pending', 'b pending', 'a1 1', 'b 1', 'a1 2', 'b 2']);
  });

  it('tells nobody who has left, even for a state that was queued', () => {
    const source = new WatchSource<number>();
    const seen: WatchState<number>[] = [];
    let leave: () => void = () => {};
    source.subscribe((state) => {
      if (state.kind === 'ready') leave();
    });
    leave = source.subscribe((state) => seen.push(state));
    source.set(1);
    expect(seen.map((s) => s.kind)).toEqual(['pending']);
  });

  it('goes on with the others after a listener threw', () => {
    const source = new WatchSource<number>();
    const seen: number[] = [];
    source.subscribe((state) => {
      if (state.kind === 'ready') throw new Error('boom');
    });
    source.subscribe((state) => {
      if (state.kind === 'ready') seen.push(state.value);
    });
    expect(() => source.set(1)).toThrow('boom');
    expect(seen).toEqual([1]);
  });

  it('tells its owner of listeners that throw, and does not throw itself', () => {
    const told: unknown[] = [];
    const source = new WatchSource<number>((error) => told.push(error));
    const boom = new Error('boom');
    source.subscribe(() => {
      throw boom;
    });
    source.set(1);
    source.fail('down');
    source.withdraw(gone);
    expect(told).toEqual([boom, boom, boom, boom]);
    expect(source.state.kind).toBe('gone');
  });

  it('resolves ready with the first value, rejects when gone or aborted', async () => {
    const source = new WatchSource<number>();
    const pending = source.ready();
    const controller = new AbortController();
    const aborted = source.ready(controller.signal);
    controller.abort(new Error('too long'));
    await expect(aborted).rejects.toThrow('too long');
    source.set(7);
    await expect(pending).resolves.toBe(7);
    await expect(source.ready()).resolves.toBe(7);
    source.withdraw(gone);
    await expect(source.ready()).rejects.toBe(gone);
    await expect(source.ready(controller.signal)).rejects.toThrow('too long');
  });
});
