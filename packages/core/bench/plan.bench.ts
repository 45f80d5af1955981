import { CallState, compile, FlatHeaders, type Layer, type PlanRun } from '../src/index.js';
import { okEnd } from '../src/testing.js';

/** Cost of 10 layers with 3 phases each: nanoseconds and heap bytes a call. */
export function measurePlan(calls = 2_000_000): { readonly ns: number; readonly bytes: number } {
  let sum = 0;
  const layers: Layer[] = Array.from({ length: 10 }, (_, i) => ({
    role: `n${i}`,
    scope: 'call',
    why: 'bench',
    bind: () => ({
      request: () => {
        sum += i;
        return undefined;
      },
      head: () => {
        sum++;
      },
      end: () => {
        sum--;
      },
    }),
  }));
  const plan = compile(layers, { side: 'server' });
  const call = new CallState({
    side: 'server',
    protocol: 'http1',
    facts: {
      method: 'GET',
      path: '/',
      authority: 'a',
      connection: {
        peer: undefined,
        isEncrypted: false,
        remoteIp: '',
        remotePort: 0,
        localIp: '',
        localPort: 0,
        sni: '',
      },
    },
    headers: new FlatHeaders([]),
    onCancel: () => {},
  });
  const head = { httpStatus: 200, grpcStatus: undefined, headers: call.headers };
  const end = okEnd;
  const run: PlanRun = { entered: 0, hasEnded: false, onPass: () => {}, onHalt: () => {} };
  const loop = (n: number): void => {
    for (let i = 0; i < n; i++) {
      run.entered = 0;
      run.hasEnded = false;
      plan.begin(run, call);
      plan.head(run, call, head);
      plan.end(run, call, end);
    }
  };
  loop(200_000);
  let ns = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage();
    loop(calls / 5);
    const used = process.cpuUsage(before);
    ns = Math.min(ns, ((used.user + used.system) * 1000) / (calls / 5));
  }
  // The least of some rounds: what the compiler and the counters themselves take is not the plan's.
  let bytes = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    globalThis.gc?.();
    const heap = process.memoryUsage().heapUsed;
    loop(100_000);
    bytes = Math.min(bytes, Math.max(0, process.memoryUsage().heapUsed - heap) / 100_000);
  }
  return { ns, bytes: Number.isNaN(sum) ? -1 : bytes };
}

/** One line for people: what it costs, and what it may cost. */
export function report(): string {
  const { ns, bytes } = measurePlan();
  return `plan of 10 layers x 3 phases: ${ns.toFixed(0)} ns (goal 300), ${bytes.toFixed(1)} bytes (goal 0) a call`;
}
