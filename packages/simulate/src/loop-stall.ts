import { once } from 'node:events';
import { setTimeout as startTimer } from 'node:timers';
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { systemRuntime } from '@inmesh/core';
import { Client, type SimulatedAttempt } from './client.js';
import type { Row } from './row.js';

const tryTimeoutMs = 100;
const stallMs = 150;

function stall(): void {
  const untilMs = performance.now() + stallMs;
  while (performance.now() < untilMs);
}

interface Outcome {
  /** Calls that the driver gave up. */
  readonly ours: number;
  /** Calls that a plain timer would have given up. */
  readonly plain: number;
}

/** Calls whose answers wait in the event loop when their time is over. */
async function round(peer: Worker, calls: number): Promise<Outcome> {
  const attempts: SimulatedAttempt[] = [];
  let failures = 0;
  let ended = 0;
  let plain = 0;
  const answer = (id: unknown): void => {
    if (typeof id === 'number') attempts[id]?.answer(200);
  };
  peer.on('message', answer);
  const client = new Client(systemRuntime, (attempt) => peer.postMessage(attempts.push(attempt) - 1), {
    retry: { perTryTimeoutMs: tryTimeoutMs, maxAttempts: 1 },
  });
  for (let i = 0; i < calls; i++) {
    let isAnswered = false;
    startTimer(() => {
      if (!isAnswered) plain++;
    }, tryTimeoutMs);
    client.call((result) => {
      isAnswered = true;
      ended++;
      if (result !== 200) failures++;
    });
  }
  await wait(5);
  stall();
  while (ended < calls) await wait(10);
  peer.off('message', answer);
  return { ours: failures, plain };
}

/** S13, in real time: the event loop itself is what is tried. */
export async function loopStall(rounds: number, calls: number): Promise<readonly Row[]> {
  const peer = new Worker(new URL('late-peer.js', import.meta.url));
  await once(peer, 'online');
  let ours = 0;
  let plain = 0;
  for (let i = 0; i < rounds; i++) {
    const outcome = await round(peer, calls);
    ours += outcome.ours;
    plain += outcome.plain;
  }
  await peer.terminate();
  return [
    {
      name: `S13 false timeouts after a stall (plain timers), of ${rounds * calls}`,
      ours: `${ours} (${plain})`,
      published: '0 (all)',
      bound: '0',
      isKept: ours === 0,
    },
  ];
}
