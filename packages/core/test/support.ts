import { CallState, type ConnectionFacts, FlatHeaders, type Halt, type PlanRun } from '../src/index.js';

const plaintext: ConnectionFacts = Object.freeze({
  peer: undefined,
  isEncrypted: false,
  remoteIp: '127.0.0.1',
  remotePort: 1,
  localIp: '127.0.0.1',
  localPort: 2,
  sni: '',
});

export function createCall(overrides: Partial<ConstructorParameters<typeof CallState>[0]> = {}): CallState {
  return new CallState({
    side: 'server',
    protocol: 'http1',
    facts: { method: 'GET', path: '/', authority: 'a', connection: plaintext },
    headers: new FlatHeaders([]),
    startedMs: 0,
    onCancel: () => {},
    ...overrides,
  });
}

export interface RecordingRun extends PlanRun {
  readonly outcome: ('pass' | Halt)[];
}

export function createRun(): RecordingRun {
  const outcome: ('pass' | Halt)[] = [];
  return {
    entered: 0,
    hasEnded: false,
    outcome,
    onPass: () => void outcome.push('pass'),
    onHalt: (halt) => void outcome.push(halt),
  };
}

export { okEnd } from '../src/testing.js';

export function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
