import { isIP } from 'node:net';
import { createEndpoints, type LookupAddress, type SrvRecord } from '@inmesh/config/endpoints';
import { type Endpoint, plainIp, silentLogger } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import fc, { type Arbitrary } from 'fast-check';
import { promise, type Target, target } from './target.js';
import { soup } from './texts.js';

/** What one lookup says: an answer, or an error. */
interface Answer {
  readonly addresses: readonly LookupAddress[] | Error;
  readonly records: readonly SrvRecord[] | Error;
}

const odd: Arbitrary<unknown> = fc.constantFrom(
  undefined,
  null,
  true,
  {},
  [],
  Number.NaN,
  -1,
  0.5,
  '80',
  2 ** 40,
);
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom(
    '0.0.0.0',
    '::',
    '::ffff:0.0.0.0',
    '::%lo',
    '::1',
    '127.0.0.1',
    '1.2',
    '0x7f.1',
    '010.0.0.1',
  ),
  soup('10.0.0.1', '::1', '%eth0', '\0', '.', ':', ' ', '[', ']', '/8'),
  odd,
);
const host = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('a.test', 'b.test', 'A.test.', '10.0.0.9', '::1', '0.0.0.0', '::'),
  },
  { weight: 1, arbitrary: soup('a', '.', '-', '_', ' ', '\0', 'é', '127.1', '..') },
  { weight: 1, arbitrary: odd },
);
const number = fc.oneof(
  { weight: 3, arbitrary: fc.nat({ max: 3 }) },
  { weight: 1, arbitrary: fc.nat({ max: 70_000 }) },
  { weight: 1, arbitrary: odd },
);
const addresses = fc.array(fc.record({ address }), { maxLength: 6 });
const records = fc.array(fc.record({ name: host, port: number, priority: number, weight: number }), {
  maxLength: 6,
});
const failure = fc.constantFrom(new Error('ENOTFOUND'), new Error('ETIMEOUT'));

/** Resolvers of applications may answer with anything, whatever their types say. */
const anAnswer = fc.record({
  addresses: fc.oneof({ weight: 8, arbitrary: addresses }, { weight: 1, arbitrary: failure }),
  records: fc.oneof({ weight: 8, arbitrary: records }, { weight: 1, arbitrary: failure }),
}) as Arbitrary<unknown> as Arbitrary<Answer>;

const specs = [
  { kind: 'dns', host: 'orders.test', port: 80 },
  { kind: 'srv', name: '_http._tcp.orders.test' },
] as const;
/** Least time between two lookups of a name. */
const leastIntervalMs = 1000;

function given<T>(one: T | Error): Promise<T> {
  return one instanceof Error ? Promise.reject(one) : Promise.resolve(one);
}

function checkEndpoint({ host: ip, port, weight = 1, priority = 0 }: Endpoint): void {
  promise(isIP(ip) !== 0, 'it is connected to addresses alone');
  promise(!/^(?:0\.0\.0\.0|::)$/.test(plainIp(ip)), 'no answer leads to this very host unsaid');
  promise(Number.isInteger(port) && port > 0 && port < 65_536, 'a port is a port');
  promise(Number.isFinite(weight) && weight >= 0, 'a weight is a number');
  promise(Number.isInteger(priority) && priority >= 0, 'a priority is a rank');
}

async function checkAnswers([first, ...others]: readonly [Answer, ...Answer[]]): Promise<void> {
  const runtime = createManualRuntime();
  let answer = first;
  const source = createEndpoints(specs, {
    runtime,
    logger: silentLogger,
    lookup: () => given(answer.addresses),
    resolveSrv: () => given(answer.records),
  });
  let hadSome = false;
  const look = (): void => {
    const { state } = source;
    const endpoints = state.kind === 'ready' ? state.value : [];
    for (const endpoint of endpoints) checkEndpoint(endpoint);
    const keys = new Set(endpoints.map((one) => `${one.host} ${one.port}`));
    promise(keys.size === endpoints.length, 'each endpoint is there once');
    promise(endpoints.length > 0 || !hadSome, 'the last good answer stays');
    hadSome ||= endpoints.length > 0;
  };
  await new Promise(setImmediate);
  look();
  for (answer of others) {
    source.refresh();
    await runtime.advance(leastIntervalMs);
    look();
  }
  source.close();
  promise(runtime.armed === 0, 'what is closed looks nothing up');
}

/** What resolvers say. */
export const dnsTargets: readonly Target[] = [
  target('dns answer', fc.tuple(anAnswer, anAnswer, anAnswer), checkAnswers),
];
