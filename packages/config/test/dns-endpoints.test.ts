import type { Endpoint, LogFields, Logger, WatchState } from '@inmesh/core';
import { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { createEndpoints, type EndpointSource, type SrvRecord } from '../src/dns-endpoints.js';
import type { EndpointSpec } from '../src/index.js';

/** A resolver whose answers the test gives, one by one or for good. */
class FakeDns {
  readonly hosts = new Map<string, readonly string[] | Error>();
  readonly srv = new Map<string, readonly SrvRecord[] | Error>();
  readonly asked: string[] = [];
  /** While set, answers wait for it. */
  gate: Promise<void> | undefined;
  running = 0;
  mostRunning = 0;

  readonly lookup = async (host: string): Promise<readonly { address: string }[]> => {
    const answer = await this.#answer(host, this.hosts);
    return answer.map((address) => ({ address }));
  };

  readonly resolveSrv = (name: string): Promise<readonly SrvRecord[]> => this.#answer(name, this.srv);

  async #answer<T>(name: string, from: ReadonlyMap<string, readonly T[] | Error>): Promise<readonly T[]> {
    this.asked.push(name);
    this.running++;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await this.gate;
    this.running--;
    const answer = from.get(name) ?? new Error(`ENOTFOUND ${name}`);
    if (answer instanceof Error) throw answer;
    return answer;
  }
}

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

let dns: FakeDns;
let runtime: ManualRuntime;
let logged: (readonly [string, LogFields, string])[];
let logger: Logger;

beforeEach(() => {
  dns = new FakeDns();
  runtime = createManualRuntime();
  logged = [];
  const at =
    (level: string) =>
    (fields: LogFields, message: string): void =>
      void logged.push([level, fields, message]);
  logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
});

const name = (host: string, port = 80): EndpointSpec => ({ kind: 'dns', host, port });
const start = (...specs: EndpointSpec[]): EndpointSource =>
  createEndpoints(specs, { runtime, logger, lookup: dns.lookup, resolveSrv: dns.resolveSrv });
const settle = (): Promise<void> => runtime.advance(0);
const hostsOf = (source: EndpointSource): unknown =>
  source.state.kind === 'ready' ? source.state.value.map((one) => one.host) : source.state.kind;
const states = (source: EndpointSource): WatchState<readonly Endpoint[]>[] => {
  const seen: WatchState<readonly Endpoint[]>[] = [];
  source.subscribe((state) => void seen.push(state));
  seen.length = 0;
  return seen;
};

describe('endpoints by address', () => {
  it('are ready at once, each once, without lookups or timers', async () => {
    const source = start(
      { kind: 'static', host: '10.0.0.1', port: 1, weight: 2 },
      { kind: 'static', host: '10.0.0.1', port: 1 },
      { kind: 'static', host: '::1', port: 1 },
    );
    expect(source.current()).toEqual([
      { host: '10.0.0.1', port: 1, weight: 2 },
      { host: '::1', port: 1 },
    ]);
    source.refresh();
    await runtime.advance(2000);
    expect([dns.asked, runtime.armed]).toEqual([[], 0]);
  });

  it('do not wait for names beside them', async () => {
    dns.hosts.set('b', ['10.0.0.2']);
    const source = start({ kind: 'static', host: '10.0.0.1', port: 1 }, name('b'));
    expect(hostsOf(source)).toEqual(['10.0.0.1']);
    await settle();
    expect(hostsOf(source)).toEqual(['10.0.0.1', '10.0.0.2']);
  });
});

describe('endpoints by name', () => {
  it('are the addresses of the name, with what the spec says of each', async () => {
    dns.hosts.set('a', ['10.0.0.2', '10.0.0.1', '10.0.0.2']);
    const source = start({ kind: 'dns', host: 'a', port: 8, weight: 3, priority: 1, locality: 'r/z' });
    expect(source.state).toEqual({ kind: 'pending', error: undefined });
    await settle();
    const rest = { port: 8, weight: 3, priority: 1, locality: 'r/z' };
    expect(source.current()).toEqual([
      { host: '10.0.0.1', ...rest },
      { host: '10.0.0.2', ...rest },
    ]);
  });

  it('stay pending with the error until there is an answer, and ask again sooner', async () => {
    const source = start(name('a'));
    await settle();
    expect(source.state).toMatchObject({ kind: 'pending', error: { code: 'INMESH_ERR_NO_ENDPOINT' } });
    dns.hosts.set('a', ['10.0.0.1']);
    await runtime.advance(1100);
    expect(hostsOf(source)).toEqual(['10.0.0.1']);
    expect(source.state).toMatchObject({ error: undefined });
    expect(logged.map(([level, , message]) => [level, message])).toEqual([
      ['warn', 'name lookup failed, the last answer stays'],
      ['info', 'name lookup succeeds again'],
    ]);
  });

  it('are looked up again at the interval, 10 % sooner or later', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    start(name('a'));
    let last = 0;
    const gaps: number[] = [];
    for (let ms = 0; ms < 600_000; ms += 100) {
      const before = dns.asked.length;
      await runtime.advance(100);
      if (dns.asked.length === before) continue;
      gaps.push(ms - last);
      last = ms;
    }
    expect(gaps.length).toBeGreaterThan(17);
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(26_900);
      expect(gap).toBeLessThanOrEqual(33_100);
    }
    expect(new Set(gaps).size).toBeGreaterThan(10);
  });

  it('back off to the interval while lookups fail', async () => {
    start(name('a'));
    await settle();
    await runtime.advance(60_000);
    // 0, 1, 3, 7, 15, 31 s, give and take 10 %; then every 30 s.
    expect(dns.asked.length).toBeGreaterThanOrEqual(6);
    expect(dns.asked.length).toBeLessThanOrEqual(7);
  });

  it('do not notify when the answer is the same in another order', async () => {
    dns.hosts.set('a', ['10.0.0.1', '10.0.0.2']);
    const source = start(name('a'));
    await settle();
    const seen = states(source);
    dns.hosts.set('a', ['10.0.0.2', '10.0.0.1']);
    await runtime.advance(40_000);
    expect([dns.asked.length, seen.length]).toEqual([2, 0]);
    dns.hosts.set('a', ['10.0.0.2', '10.0.0.3']);
    await runtime.advance(40_000);
    expect(seen).toHaveLength(1);
    expect(hostsOf(source)).toEqual(['10.0.0.2', '10.0.0.3']);
  });

  it.each([
    ['a failure', new Error('SERVFAIL')],
    ['an empty answer', []],
    ['an answer without usable addresses', ['0.0.0.0', '::', '::ffff:0.0.0.0', 'nonsense', '1.2.3', '']],
  ])('keep the last good answer through %s, say so once, and recover', async (_, answer) => {
    dns.hosts.set('a', ['10.0.0.1']);
    const source = start(name('a'));
    await settle();
    const seen = states(source);
    dns.hosts.set('a', answer);
    await runtime.advance(100_000);
    expect(hostsOf(source)).toEqual(['10.0.0.1']);
    expect(source.state).toMatchObject({ kind: 'ready', error: { code: 'INMESH_ERR_NO_ENDPOINT' } });
    expect([seen.length, logged.length]).toEqual([1, 1]);
    dns.hosts.set('a', ['10.0.0.1']);
    await runtime.advance(40_000);
    expect(source.state).toMatchObject({ kind: 'ready', error: undefined });
    expect([seen.length, logged.length]).toEqual([2, 2]);
  });

  it('say a failure again when its reason is another', async () => {
    start(name('a'));
    await settle();
    dns.hosts.set('a', new Error('SERVFAIL'));
    await runtime.advance(10_000);
    expect(logged.map(([, fields]) => (fields['error'] as Error).message)).toEqual([
      'looking up "a" failed: ENOTFOUND a',
      'looking up "a" failed: SERVFAIL',
    ]);
  });

  it('keep what one name says while another fails', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const source = start(name('a'), name('b'));
    await settle();
    expect(source.state).toMatchObject({ kind: 'ready', error: { message: expect.stringContaining('"b"') } });
    dns.hosts.set('a', ['10.0.0.9']);
    await runtime.advance(40_000);
    expect(hostsOf(source)).toEqual(['10.0.0.9']);
    expect(source.state.error).toBeDefined();
  });

  it('are at most 1,000, the same ones each time, with one warning', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => `10.1.${Math.floor(i / 250)}.${i % 250}`);
    dns.hosts.set('a', many);
    const source = start(name('a'));
    await settle();
    const first = source.current();
    dns.hosts.set('a', many.toReversed());
    await runtime.advance(70_000);
    expect([first.length, source.current()]).toEqual([1000, first]);
    expect(logged).toEqual([
      ['warn', { name: 'a', found: 10_000, used: 1000 }, 'a name has too many endpoints, some are left out'],
    ]);
  });
});

describe('refresh', () => {
  it('looks up at most once a second, and keeps the last answer meanwhile', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const source = start(name('a'));
    await settle();
    for (let i = 0; i < 50; i++) {
      source.refresh();
      await runtime.advance(100);
    }
    expect(dns.asked.length).toBe(6);
    expect(hostsOf(source)).toEqual(['10.0.0.1']);
  });

  it('never overlaps a lookup, and asks once more after it', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const gate = withResolvers();
    dns.gate = gate.promise;
    const source = start(name('a'));
    source.refresh();
    await runtime.advance(5000);
    source.refresh();
    expect([dns.asked.length, dns.mostRunning]).toEqual([1, 1]);
    dns.gate = undefined;
    gate.resolve();
    await settle();
    await runtime.advance(1);
    expect([dns.asked.length, dns.mostRunning]).toEqual([2, 1]);
    await runtime.advance(5000);
    expect(dns.asked.length).toBe(2);
  });
});

describe('close', () => {
  it('ignores the lookup under way, and asks no more', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const gate = withResolvers();
    dns.gate = gate.promise;
    const source = start(name('a'));
    source.close();
    gate.resolve();
    await runtime.advance(60_000);
    source.refresh();
    await runtime.advance(60_000);
    expect([hostsOf(source), dns.asked.length, runtime.armed]).toEqual(['pending', 1, 0]);
  });

  it('leaves the last answer, and no timer', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const source = start(name('a'));
    await settle();
    source.close();
    expect([hostsOf(source), runtime.armed]).toEqual([['10.0.0.1'], 0]);
  });
});

describe('a listener that throws', () => {
  it('does not end the lookups', async () => {
    dns.hosts.set('a', ['10.0.0.1']);
    const source = start(name('a'));
    source.subscribe((state) => {
      if (state.kind === 'ready') throw new Error('listener');
    });
    await settle();
    dns.hosts.set('a', ['10.0.0.2']);
    await runtime.advance(40_000);
    expect(hostsOf(source)).toEqual(['10.0.0.2']);
    expect(logged.map(([level, , message]) => [level, message])).toEqual([
      ['error', 'a listener of endpoints threw'],
      ['error', 'a listener of endpoints threw'],
    ]);
  });
});

describe('endpoints by SRV records', () => {
  const srv: EndpointSpec = { kind: 'srv', name: '_http._tcp.orders' };
  const record = (target: string, priority: number, weight: number, port = 80): SrvRecord => ({
    name: target,
    port,
    priority,
    weight,
  });

  it('lead to this very host by no target that is an address', async () => {
    const targets = ['0.0.0.0', '::', '::ffff:0.0.0.0', '10.0.0.9'];
    dns.srv.set(
      '_http._tcp.orders',
      targets.map((target) => record(target, 1, 1)),
    );
    const source = start(srv);
    await settle();
    expect(hostsOf(source)).toEqual(['10.0.0.9']);
  });

  it('get ranks, and shares of weights; where all are 0, each counts as 1', async () => {
    dns.srv.set('_http._tcp.orders', [
      record('c', 20, 0, 83),
      record('a', 10, 60, 81),
      record('b', 10, 0, 82),
      record('10.0.0.9', 30, 5),
    ]);
    dns.hosts.set('a', ['10.0.0.1', '10.0.0.2']);
    dns.hosts.set('b', ['10.0.0.3']);
    dns.hosts.set('c', ['10.0.0.4']);
    const source = start(srv);
    await settle();
    expect(source.current()).toEqual([
      { host: '10.0.0.1', port: 81, priority: 0, weight: 30 },
      { host: '10.0.0.2', port: 81, priority: 0, weight: 30 },
      { host: '10.0.0.3', port: 82, priority: 0, weight: 0 },
      { host: '10.0.0.4', port: 83, priority: 1, weight: 1 },
      { host: '10.0.0.9', port: 80, priority: 2, weight: 5 },
    ]);
    expect(dns.asked.toSorted()).toEqual(['_http._tcp.orders', 'a', 'b', 'c']);
  });

  it.each([
    ['port 0', record('a', 0, 0, 0)],
    ['a port that is no number', { ...record('a', 0, 0), port: 'x' } as unknown as SrvRecord],
    ['a negative priority', record('a', -1, 0)],
    ['a weight beyond 16 bits', record('a', 0, 65_536)],
    ['a target that is no host', record('a b', 0, 0)],
    ['the target that says there is no service', record('.', 0, 0)],
  ])('leave out a record with %s', async (_, wrong) => {
    dns.hosts.set('a', ['10.0.0.1']);
    dns.hosts.set('b', ['10.0.0.2']);
    dns.srv.set('_http._tcp.orders', [wrong, record('b', 0, 0)]);
    const source = start(srv);
    await settle();
    expect(source.current()).toEqual([{ host: '10.0.0.2', port: 80, priority: 0, weight: 1 }]);
  });

  it('keep what a target said while it cannot be looked up, and drop it with its record', async () => {
    dns.srv.set('_http._tcp.orders', [record('a', 0, 0), record('b', 0, 0)]);
    dns.hosts.set('a', ['10.0.0.1']);
    dns.hosts.set('b', ['10.0.0.2']);
    const source = start(srv);
    await settle();
    dns.hosts.set('b', new Error('SERVFAIL'));
    await runtime.advance(40_000);
    expect(hostsOf(source)).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(source.state.error).toBeDefined();
    dns.srv.set('_http._tcp.orders', [record('a', 0, 0)]);
    await runtime.advance(40_000);
    expect(hostsOf(source)).toEqual(['10.0.0.1']);
    expect(source.state.error).toBeUndefined();
  });

  it('are bounded before their targets are looked up, two at a time', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => record(`h${String(i).padStart(5, '0')}`, 0, 0));
    for (const [i, { name: host }] of many.entries())
      dns.hosts.set(host, [`10.1.${Math.floor(i / 250)}.${i % 250}`]);
    dns.srv.set('_http._tcp.orders', many);
    const source = start(srv);
    await source.ready();
    expect([source.current().length, dns.asked.length, dns.mostRunning]).toEqual([1000, 1001, 2]);
    expect(logged.map(([, fields]) => fields)).toEqual([
      { name: '_http._tcp.orders', found: 10_000, used: 1000 },
    ]);
  });
});
