import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { markOf, stopAll } from '../src/processes.js';
import { DemoState } from '../src/state.js';

describe('processes of the demo', () => {
  let children: ChildProcess[];
  let dir: string;
  beforeEach(async () => {
    children = [];
    dir = await mkdtemp(join(tmpdir(), 'inmesh-demo-test-'));
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  const sleeper = async (code = ''): Promise<{ child: ChildProcess; pid: number }> => {
    const child = spawn(process.execPath, ['-e', `${code};setInterval(() => {}, 1000);console.log()`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    children.push(child);
    if (child.pid === undefined || child.stdout === null) throw new Error('no process');
    await once(child.stdout, 'data');
    return { child, pid: child.pid };
  };

  it('are ended, gently or not', async () => {
    const gentle = await sleeper();
    const stubborn = await sleeper('process.on("SIGTERM", () => {})');
    await stopAll([markOf(gentle.pid), markOf(stubborn.pid)], 300);
    if (stubborn.child.signalCode === null) await once(stubborn.child, 'exit');
    expect([gentle.child.signalCode, stubborn.child.signalCode]).toEqual(['SIGTERM', 'SIGKILL']);
  });

  it('are left alone where the pid is that of another process by now', async () => {
    const other = await sleeper();
    for (const startedAt of ['', 'yesterday', markOf(process.pid).startedAt])
      await stopAll([{ pid: other.pid, startedAt }], 300);
    expect([other.child.exitCode, other.child.signalCode]).toEqual([null, null]);
  });

  it('are known by when they began, and not at all when they are gone', async () => {
    const one = await sleeper();
    const mark = markOf(one.pid);
    expect(mark.startedAt).not.toBe('');
    expect(markOf(one.pid)).toEqual(mark);
    one.child.kill('SIGKILL');
    await once(one.child, 'exit');
    expect(markOf(one.pid).startedAt).toBe('');
  });

  it('belong to the checkout that started them', async () => {
    const one = await sleeper();
    const [ours, theirs] = [new DemoState(join(dir, 'a')), new DemoState(join(dir, 'b'))];
    ours.write({ dir: join(dir, 'inmesh-demo-x'), processes: [markOf(one.pid)] });
    expect([ours.isRunning(), theirs.isRunning()]).toEqual([true, false]);
    expect(await theirs.stop()).toBe(false);
    expect(one.child.signalCode).toBeNull();
    expect(await ours.stop()).toBe(true);
    expect([ours.isRunning(), await ours.stop()]).toEqual([false, false]);
  });
});
