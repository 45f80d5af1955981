import { CallState, type ConnectionFacts, FlatHeaders, type Phases, parseSpiffeId } from '@inmesh/core';
import {
  attemptHeader,
  forbidsRetry,
  isRetryOfCaller,
  markExhausted,
  noRetryHeader,
  retryGuard,
} from '@inmesh/resilience';
import { Client, type ClientOptions, type Server, type SimulatedAttempt } from './client.js';
import type { Row } from './row.js';
import { VirtualRuntime } from './virtual-runtime.js';

const calls = 100;

const meshPeer: ConnectionFacts = {
  peer: {
    id: parseSpiffeId('spiffe://dev.local/ns/default/sa/caller'),
    notAfterMs: 0,
    fingerprint: '',
    serial: '',
    trustEpoch: 0,
  },
  isEncrypted: true,
  remoteIp: '10.0.0.1',
  remotePort: 1,
  localIp: '10.0.0.2',
  localPort: 8443,
  sni: '',
};

/** The inbound side of a tier: what the adapter would make of an attempt. */
function inbound(attempt: SimulatedAttempt): CallState {
  return new CallState({
    side: 'server',
    protocol: 'http1',
    facts: { method: 'GET', path: '/', authority: 'tier', connection: meshPeer },
    headers: new FlatHeaders([attemptHeader, String(attempt.number)]),
    startedMs: 0,
    onCancel: () => {},
  });
}

/** A tier that asks the next one, and answers what it is answered. */
function tier(client: Client, guard: Phases | undefined): Server {
  return (attempt) => {
    const parent = inbound(attempt);
    void guard?.request?.(parent);
    client.call((ended, driver) => {
      if (driver.isExhausted) markExhausted(parent);
      const httpStatus = typeof ended === 'number' ? ended : 503;
      const isMarked = guard !== undefined && httpStatus >= 500 && forbidsRetry(parent);
      attempt.answer(httpStatus, isMarked ? { [noRetryHeader]: '1' } : {});
    }, isRetryOfCaller(parent));
  };
}

/** Attempts that reach the bottom for each call at the top of `layers` layers that retry, while it fails always. */
function amplification(layers: number, options: ClientOptions, isGuarded: boolean): number {
  const runtime = new VirtualRuntime(1);
  const guard = isGuarded ? retryGuard().bind({ side: 'server' }) : undefined;
  let attempts = 0;
  let server: Server = (attempt) => {
    attempts++;
    runtime.after(1, () => attempt.answer(503));
  };
  for (let layer = 1; layer < layers; layer++) server = tier(new Client(runtime, server, options), guard);
  const top = new Client(runtime, server, options);
  for (let i = 0; i < calls; i++) runtime.after(1000 * i, () => top.call(() => {}));
  runtime.runAll();
  return attempts / calls;
}

/** S3. */
export function layeredRetries(): readonly Row[] {
  const retry = { conditions: ['5xx'] } as const;
  const endless = { retryBudget: { capacity: Number.POSITIVE_INFINITY, perSuccess: 0 } };
  const naive = amplification(3, { retry, cluster: endless }, false);
  const budget = amplification(3, { retry }, false);
  const guarded = amplification(3, { retry }, true);
  return [
    {
      name: 'S3 three layers, bottom fails: naive / budget / and no-retry',
      ours: [naive, budget, guarded].map((one) => `${one.toFixed(2)}x`).join(' / '),
      published: '27x / 1.33x / 1.1x',
      bound: '27x / <= 1.33x / <= 1.1x',
      isKept: naive === 27 && budget <= 1.33 && guarded <= 1.1,
    },
  ];
}
