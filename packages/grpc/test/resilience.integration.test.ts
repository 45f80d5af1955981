import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { type Call, CallContext, CallState, type Layer, systemRuntime } from '@inmesh/core';
import type { StaticIdentitySource } from '@inmesh/identity';
import { createTestCa } from '@inmesh/identity/testing';
import { type ClusterState, deadline, defaultClusterRules, retryGuard } from '@inmesh/resilience';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, failing, fault, idempotent, path, retried, TestMesh, type Unary } from './harness.js';

describe('retries of gRPC', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('repeats idempotent methods after a status of the conditions, and others never', async () => {
    const first = failing(grpc.status.UNAVAILABLE, 2);
    const { port } = await mesh.serve({ Unary: first.Unary });
    const safe = await mesh.client([port], { rules: retried(), channel: idempotent });
    expect(await safe.client.unary('x')).toBe('attempt 2');
    const second = failing(grpc.status.UNAVAILABLE, 1);
    const other = await mesh.client([(await mesh.serve({ Unary: second.Unary })).port], { rules: retried() });
    expect(await fault(other.client.unary('x'))).toMatchObject({ code: 14, details: 'no 1' });
    expect(second.seen.calls).toBe(1);
  });

  it('takes idempotency from a service definition, and lets a route overrule it', async () => {
    const service = {
      Unary: { path: path('Unary'), options: { idempotency_level: 'NO_SIDE_EFFECTS' } },
      Client: { path: path('Client'), options: { idempotency_level: 'IDEMPOTENCY_UNKNOWN' } },
    } as unknown as grpc.ServiceDefinition;
    const { seen, Unary } = failing(grpc.status.UNAVAILABLE, 1);
    const { port } = await mesh.serve({ Unary });
    const { client } = await mesh.client([port], { rules: retried(), channel: { idempotent: [service] } });
    expect(await client.unary('x')).toBe('attempt 1');
    seen.calls = 0;
    const never = await mesh.client([port], {
      rules: { ...retried(), idempotent: false },
      channel: idempotent,
    });
    expect(await fault(never.client.unary('x'))).toMatchObject({ code: 14 });
    expect(() => never.mesh.channelOptions({ idempotent: ['Unary'] })).toThrow('is not a path');
  });

  it('shares the budget: what it refuses ends at once with the real status, and nothing of ours in its trailers', async () => {
    const { seen, Unary } = failing(grpc.status.UNAVAILABLE);
    const { port } = await mesh.serve({ Unary });
    const { client, cluster } = await mesh.client([port], {
      rules: retried(),
      channel: idempotent,
      clusterRules: { retryBudget: { capacity: 1, perSuccess: 0.1 }, outlier: undefined },
    });
    const error = await fault(client.unary('x'));
    expect(error).toMatchObject({ code: 14, details: 'no 2' });
    expect(error.metadata.get('grpc-retry-pushback-ms')).toEqual([]);
    expect(await fault(client.unary('x'))).toMatchObject({ details: 'no 3' });
    expect(seen.calls).toBe(3);
    expect(cluster().stats).toMatchObject({ calls: 2, retries: 1, budgetRefusals: 2 });
    expect(cluster()).toMatchObject({ activeRetries: 0, activeCalls: 0 });
  });

  it('waits as a function of the user says', async () => {
    const { seen, Unary } = failing(grpc.status.UNAVAILABLE, 2);
    const { port } = await mesh.serve({ Unary });
    const asked: number[] = [];
    const backoff = (retry: number): number => {
      asked.push(retry);
      return 0;
    };
    const { client } = await mesh.client([port], { rules: retried({ backoff }), channel: idempotent });
    expect(await client.unary('x')).toBe('attempt 2');
    expect([seen.calls, asked]).toEqual([3, [1, 2]]);
  });

  const told = (state: ClusterState) => [state.budget.tokens, state.stats.retries, state.activeRetries];

  it('gives the token back of a call that is cancelled before its retry', async () => {
    const { seen, Unary } = failing(grpc.status.UNAVAILABLE);
    const { port } = await mesh.serve({ Unary });
    let onWait: () => void = () => {};
    const waits = new Promise<void>((resolve) => (onWait = resolve));
    const backoff = (): number => {
      onWait();
      return 5000;
    };
    const { client, cluster } = await mesh.client([port], {
      rules: retried({ backoff }),
      channel: idempotent,
    });
    let call: grpc.ClientUnaryCall | undefined;
    const reply = new Promise<string>((resolve, reject) => {
      call = client.start('x', (error, value) => (error ? reject(error) : resolve(value ?? '')));
    });
    await waits;
    await new Promise(setImmediate);
    expect(told(cluster())).toEqual([9, 1, 1]);
    call?.cancel();
    expect(await fault(reply)).toMatchObject({ code: 1 });
    expect([seen.calls, ...told(cluster())]).toEqual([1, 10, 0, 0]);
  });

  it('sends nothing again of a stream that grew past what is kept while it waited, and gives the token back', async () => {
    let calls = 0;
    const { port } = await mesh.serve({
      Client: (_call: unknown, done: grpc.sendUnaryData<string>) => {
        calls++;
        done({ code: grpc.status.UNAVAILABLE, details: `no ${calls}` });
      },
    });
    let onWait: () => void = () => {};
    const waits = new Promise<void>((resolve) => (onWait = resolve));
    const backoff = (): number => {
      onWait();
      return 20;
    };
    const { client, cluster } = await mesh.client([port], {
      rules: retried({ backoff }),
      channel: { idempotent: [path('Client')] },
      grpc: { 'grpc.per_rpc_retry_buffer_size': 10 },
    });
    const { call, reply } = client.open();
    call.write('a');
    await waits;
    call.write('more than is kept of it');
    expect(await fault(reply)).toMatchObject({ code: 14, details: 'no 1' });
    expect([calls, ...told(cluster())]).toEqual([1, 10, 0, 0]);
  });

  it.each([
    [10, 1],
    [11, 2],
  ])('of a stream whose maxBodyBytes are %i sends 11 bytes %i times', async (maxBodyBytes, times) => {
    let calls = 0;
    const { port } = await mesh.serve({
      Client: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
        call
          .on('data', () => {})
          .on('end', () => {
            calls++;
            if (calls === 1) done({ code: grpc.status.UNAVAILABLE, details: 'no 1' });
            else done(null, 'ok');
          });
      },
      Unary: failing(grpc.status.UNAVAILABLE, 1).Unary,
    });
    const { client } = await mesh.client([port], {
      rules: retried({ maxBodyBytes }),
      channel: { idempotent: [path('Client'), path('Unary')] },
    });
    // Five bytes of each message are its prefix.
    const result = client.collect(['', 'a']);
    if (times === 1) expect(await fault(result)).toMatchObject({ details: 'no 1' });
    else expect(await result).toBe('ok');
    expect(calls).toBe(times);
    // What is there anyway is not kept for a retry, whatever its size.
    expect(await client.unary('longer than ten bytes')).toBe('attempt 1');
  });

  it('does not send a stream again of which more was written than is kept, whatever its attempt was given', async () => {
    let calls = 0;
    let fail: () => void = () => {};
    const { port } = await mesh.serve({
      // It reads nothing: most of what is written never leaves.
      Client: (_call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
        calls++;
        fail = () => done({ code: grpc.status.UNAVAILABLE, details: `no ${calls}` });
        if (calls > 1) fail();
      },
    });
    const notes: unknown[] = [];
    const { client } = await mesh.client([port], {
      rules: retried({ maxBodyBytes: 300_000, maxAttempts: 3 }),
      channel: { idempotent: [path('Client')] },
      keepsAttempts: () => true,
      layers: [
        {
          role: 'notes',
          scope: 'call',
          why: 'sees what comes of it',
          bind: () => ({ end: (_call, { attemptNotes }) => void notes.push(attemptNotes?.notRetried) }),
        },
      ],
    });
    const { call, reply } = client.open();
    for (let i = 0; i < 7; i++)
      await new Promise<void>((resolve) => void call.write('a'.repeat(50_000), () => resolve()));
    while (calls === 0) await new Promise(setImmediate);
    fail();
    expect(await fault(reply)).toMatchObject({ details: 'no 1' });
    expect([calls, notes]).toEqual([1, ['body-not-kept']]);
  });

  it('has grpc-js keep as much of a call as any rules want, and no less than it does by itself', async () => {
    const kept = async (maxBodyBytes: number): Promise<unknown> => {
      const { mesh: own } = await mesh.client([1], { rules: retried({ maxBodyBytes }) });
      return own.channelOptions()['grpc.per_rpc_retry_buffer_size'];
    };
    expect([await kept(0), await kept(2_000_000)]).toEqual([1_048_576, 2_000_000]);
  });

  it('counts its connections among those of the cluster', async () => {
    const { port } = await mesh.serve();
    const { client, cluster, endpoints } = await mesh.client([port]);
    await client.unary('x');
    expect(cluster().connections).toBe(1);
    endpoints().set([]);
    expect(cluster().connections).toBe(0);
  });

  it('pays into the budget with calls that succeed', async () => {
    const { port } = await mesh.serve();
    const { client, cluster } = await mesh.client([port]);
    cluster().budget.tryWithdraw();
    await client.unary('x');
    expect(cluster().budget.tokens).toBeCloseTo(9.1);
  });

  it.each([
    ['a negative one', '-1'],
    ['one that cannot be read, which grpc-js takes for 0', 'abc'],
    ['one beyond a day', '99999999999'],
  ])('stops after a pushback: %s', async (_name, said) => {
    const { seen, Unary } = failing(grpc.status.UNAVAILABLE, 1, { 'grpc-retry-pushback-ms': said });
    const { port } = await mesh.serve({ Unary });
    const { client } = await mesh.client([port], { rules: retried(), channel: idempotent });
    const error = await fault(client.unary('x'));
    expect(error.metadata.get('grpc-retry-pushback-ms')).toEqual([said]);
    expect(seen.calls).toBe(1);
  });

  it('avoids the endpoint that failed, and does not wait for what the deadline does not leave', async () => {
    const bad = failing(grpc.status.UNAVAILABLE);
    const hits: number[] = [];
    const good: Unary = (_call, done) => {
      hits.push(1);
      done(null, 'ok');
    };
    const ports = [(await mesh.serve({ Unary: bad.Unary })).port, (await mesh.serve({ Unary: good })).port];
    const { client } = await mesh.client(ports, {
      rules: retried(),
      channel: idempotent,
      clusterRules: {
        balancer: 'round-robin',
        outlier: undefined,
        retryBudget: { capacity: 100, perSuccess: 0 },
      },
    });
    await client.unary('x');
    for (let i = 0; i < 20; i++) expect(await client.unary('x')).toBe('ok');
    expect(hits).toHaveLength(21);
    expect(bad.seen.calls).toBeGreaterThan(3);
    const slow = failing(grpc.status.UNAVAILABLE, 1, { 'grpc-retry-pushback-ms': '60000' });
    const waiting = await mesh.client([(await mesh.serve({ Unary: slow.Unary })).port], {
      rules: retried(),
      channel: idempotent,
    });
    expect(
      await fault(waiting.client.unary('x', undefined, { deadline: Date.now() + 20_000 })),
    ).toMatchObject({ code: 14, details: 'no 1' });
    slow.seen.calls = 0;
    const bounded = await mesh.client([(await mesh.serve({ Unary: slow.Unary })).port], {
      rules: { ...retried(), timeoutMs: 20_000 },
      channel: idempotent,
    });
    expect(await fault(bounded.client.unary('x'))).toMatchObject({ code: 14, details: 'no 1' });
  });

  it('sends a call again to the best of those that did not fail it', async () => {
    const calls = { bad: 0, slow: 0, good: 0 };
    const bad = failing(grpc.status.UNAVAILABLE);
    const answer =
      (name: 'slow' | 'good'): Unary =>
      (_call, done) => {
        calls[name]++;
        done(null, name);
      };
    const services = [
      await mesh.serve({ Unary: bad.Unary }),
      await mesh.serve({ Unary: answer('slow') }),
      await mesh.serve({ Unary: answer('good') }),
    ];
    const { client, cluster } = await mesh.client(
      services.map(({ port }) => port),
      {
        rules: retried(),
        channel: idempotent,
        clusterRules: { outlier: undefined, retryBudget: { capacity: 100, perSuccess: 1 } },
      },
    );
    while (cluster().connections < 3 || calls.good + calls.slow < 5) await client.unary('x');
    calls.slow = 0;
    for (let i = 0; i < 30; i++) {
      const costs = [1, 4000, 50];
      const costAtMs = systemRuntime.now();
      cluster().endpoints.forEach((one, j) =>
        Object.assign(one, { costMs: costs[j], costAtMs, failuresInRow: 0 }),
      );
      await client.unary('x');
    }
    expect(bad.seen.calls).toBeGreaterThan(10);
    expect(calls.slow).toBe(0);
  });

  it('does not repeat in the handler of a call that is a repetition, and tells its caller not to', async () => {
    const context = new CallContext();
    const leaf = failing(grpc.status.UNAVAILABLE);
    const { port } = await mesh.serve({ Unary: leaf.Unary });
    const { client } = await mesh.client([port], {
      context,
      rules: retried(),
      channel: idempotent,
      clusterRules: { retryBudget: { capacity: 100, perSuccess: 0 }, outlier: undefined },
    });
    const front = await mesh.serve(
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
          void client.unary(call.request, call.metadata).then((text) => done(null, text), done),
      },
      { context, layers: [retryGuard()] },
    );
    const outer = await mesh.client([front.port], { rules: retried(), channel: idempotent });
    const error = await fault(outer.client.unary('x'));
    expect(error).toMatchObject({ code: 14, details: 'no 3' });
    // Three attempts of the middle one, and the outer one does not begin anew.
    expect(leaf.seen.calls).toBe(3);
    expect(error.metadata.get('grpc-retry-pushback-ms')).toEqual(['-1']);
    leaf.seen.calls = 0;
    const plain = await mesh.client([front.port]);
    const again = new grpc.Metadata();
    plain.mesh.channelOptions();
    again.set('grpc-previous-rpc-attempts', '1');
    // Our own client takes the count off what it relays; a raw one sends it.
    await mesh.rawUnary(front.port, { 'grpc-previous-rpc-attempts': '1' });
    expect(leaf.seen.calls).toBe(1);
    await fault(plain.client.unary('x', again));
    expect(leaf.seen.calls).toBe(4);
  });

  it('hands on the wish of a peer not to try again, also where it would not have tried', async () => {
    const context = new CallContext();
    const leaf = failing(grpc.status.UNAVAILABLE, undefined, { 'grpc-retry-pushback-ms': '-1' });
    const { port } = await mesh.serve({ Unary: leaf.Unary });
    const { client } = await mesh.client([port], { context });
    const front = await mesh.serve(
      {
        Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
          void client.unary(call.request).then(
            (text) => done(null, text),
            ({ code, details }: grpc.ServiceError) => done({ code, details }),
          ),
      },
      { context, layers: [retryGuard()] },
    );
    const outer = await mesh.client([front.port], { rules: retried(), channel: idempotent });
    expect(await fault(outer.client.unary('x'))).toMatchObject({ code: 14, details: 'no 1' });
    expect(leaf.seen.calls).toBe(1);
  });

  it('lets a classifier of the user judge', async () => {
    const { Unary } = failing(grpc.status.ABORTED, 1);
    const { port } = await mesh.serve({ Unary });
    const { client } = await mesh.client([port], {
      rules: { ...retried(), classify: ({ grpcStatus }) => (grpcStatus === 10 ? 'retryable' : undefined) },
      channel: idempotent,
    });
    expect(await client.unary('x')).toBe('attempt 1');
  });
});

describe('bounds of gRPC', () => {
  let mesh: TestMesh;
  beforeEach(async () => {
    mesh = await TestMesh.start();
  });
  afterEach(() => mesh.close());

  it('cuts an attempt that takes too long and tries another endpoint', async () => {
    let hung = 0;
    const ports = [(await mesh.serve({ Unary: () => void hung++ })).port, (await mesh.serve()).port];
    const { client, cluster } = await mesh.client(ports, {
      rules: retried({ perTryTimeoutMs: 100 }),
      channel: idempotent,
      clusterRules: { balancer: 'round-robin' },
    });
    while (hung === 0) expect(await client.unary('x')).toBe('echo x');
    expect(cluster().stats.retries).toBe(1);
    const lone = await mesh.client([ports[0] ?? 0], { rules: retried({ perTryTimeoutMs: 50 }) });
    const error = await fault(lone.client.unary('x'));
    expect(error).toMatchObject({ code: 4, details: expect.stringContaining('INMESH_ERR_ATTEMPT_TIMEOUT') });
    expect(codeOf(error)).toBe('INMESH_ERR_ATTEMPT_TIMEOUT');
  });

  it('bounds the time to the head, of unary calls, of whole client streams, not of streams that began', async () => {
    const { port } = await mesh.serve({
      Unary: () => {},
      Client: () => {},
    });
    const { client } = await mesh.client([port], { rules: { headTimeoutMs: 300 } });
    const bidi = client.bidi();
    bidi.write('1');
    expect(await once(bidi, 'data')).toEqual(['echo 1']);
    const unary = await fault(client.unary('x'));
    expect(unary).toMatchObject({ code: 4, details: expect.stringContaining('INMESH_ERR_HEAD_TIMEOUT') });
    expect(codeOf(unary)).toBe('INMESH_ERR_HEAD_TIMEOUT');
    const open = client.open();
    open.call.write('a');
    let isOver = false;
    void open.reply.catch(() => (isOver = true));
    await fault(client.unary('x'));
    expect(isOver).toBe(false);
    open.call.end();
    expect(codeOf(await fault(open.reply))).toBe('INMESH_ERR_HEAD_TIMEOUT');
    bidi.write('2');
    expect(await once(bidi, 'data')).toEqual(['echo 2']);
    bidi.end();
    await once(bidi.resume(), 'end');
  });

  it('sends the total of a route and what an inbound call has left, not the bound on the head', async () => {
    const left: (number | undefined)[] = [];
    const context = new CallContext();
    const { port } = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        const at = call.getDeadline();
        left.push(at === Number.POSITIVE_INFINITY ? undefined : Number(at) - Date.now());
        done(null, 'ok');
      },
    });
    const { client } = await mesh.client([port], { context });
    await client.unary('x');
    const bounded = await mesh.client([port], { context, rules: { timeoutMs: 20_000 } });
    await bounded.client.unary('x');
    const parent = new CallState({
      side: 'server',
      protocol: 'grpc',
      facts: {} as never,
      headers: {} as never,
      startedMs: 0,
      onCancel: () => {},
    });
    parent.tightenDeadline(systemRuntime.now() + 10_000);
    await context.run(parent, () => bounded.client.unary('x'));
    await context.run(parent, () => bounded.client.unary('x', undefined, { deadline: Date.now() + 5000 }));
    expect(left[0]).toBeUndefined();
    expect(left.slice(1).map((ms) => Math.ceil((ms ?? 0) / 5000))).toEqual([4, 2, 1]);
    const late = new CallState({
      side: 'server',
      protocol: 'grpc',
      facts: {} as never,
      headers: {} as never,
      startedMs: 0,
      onCancel: () => {},
    });
    late.tightenDeadline(systemRuntime.now() - 1);
    const error = await fault(context.run(late, () => client.unary('x')));
    expect(error.code).toBe(4);
    expect(codeOf(error)).toBe('INMESH_ERR_DEADLINE_EXCEEDED');
    expect(left).toHaveLength(4);
  });

  it('keeps parents and deadlines of two calls that wait for the same resolution apart', async () => {
    const context = new CallContext();
    const seen = new Map<string, { parent: string; deadline: boolean }>();
    const layer: Layer = {
      role: 'own',
      scope: 'call',
      why: 'test',
      bind: ({ side }) =>
        side === 'server'
          ? undefined
          : {
              request: (call: Call) => {
                call.headers.set('x-parent', call.parent?.facts.path ?? 'none');
                return undefined;
              },
            },
    };
    const { port } = await mesh.serve({
      Unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        seen.set(call.request, {
          parent: String(call.metadata.get('x-parent')[0]),
          deadline: call.getDeadline() !== Number.POSITIVE_INFINITY,
        });
        done(null, 'ok');
      },
    });
    const { client } = await mesh.client([port], { context, layers: [layer] });
    const inside = (name: string, deadlineMs: number): CallState => {
      const call = new CallState({
        side: 'server',
        protocol: 'grpc',
        facts: { path: name } as never,
        headers: {} as never,
        startedMs: 0,
        onCancel: () => {},
      });
      call.tightenDeadline(deadlineMs);
      return call;
    };
    await Promise.all([
      context.run(inside('/a', systemRuntime.now() + 20_000), () => client.unary('A')),
      context.run(inside('/b', Number.POSITIVE_INFINITY), () => client.unary('B')),
      client.unary('C'),
    ]);
    expect(Object.fromEntries(seen)).toEqual({
      A: { parent: '/a', deadline: true },
      B: { parent: '/b', deadline: false },
      C: { parent: 'none', deadline: false },
    });
  });

  it('refuses calls beyond the limit at once, and counts calls to their last byte', async () => {
    let finish: () => void = () => {};
    const { port } = await mesh.serve({
      Unary: (_call: unknown, done: grpc.sendUnaryData<string>) => (finish = () => done(null, 'ok')),
    });
    const { client, cluster } = await mesh.client([port], {
      rules: retried(),
      channel: idempotent,
      clusterRules: { limits: { ...defaultClusterRules.limits, maxRequests: 1 } },
    });
    const before = finish;
    const first = client.unary('x');
    while (finish === before) await new Promise(setImmediate);
    const error = await fault(client.unary('y'));
    expect(error).toMatchObject({ code: 14, details: expect.stringContaining('at most 1 are allowed') });
    expect(codeOf(error)).toBe('INMESH_ERR_OVERFLOW');
    finish();
    await first;
    expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0 });
    expect(cluster().stats.overflows).toBe(1);
    expect(cluster().endpoints.map(({ active }) => active)).toEqual([0]);
  });

  it('bounds the calls that wait for a connection', async () => {
    const { client, cluster } = await mesh.client([await mesh.silentPort()], {
      clusterRules: { limits: { ...defaultClusterRules.limits, maxPending: 1 } },
    });
    const first = fault(client.unary('x'));
    const second = await fault(client.unary('y'));
    expect(codeOf(second)).toBe('INMESH_ERR_OVERFLOW');
    expect(cluster().pending).toBe(1);
    client.close();
    expect(await first).toMatchObject({ code: 14 });
    expect(cluster()).toMatchObject({ activeCalls: 0, pending: 0 });
  });

  it('refuses an expired call before its handler', async () => {
    let calls = 0;
    const { port } = await mesh.serve(
      {
        Unary: (_call: unknown, done: grpc.sendUnaryData<string>) => {
          calls++;
          done(null, 'ok');
        },
      },
      { layers: [deadline(systemRuntime)] },
    );
    expect(await mesh.rawUnary(port, { 'grpc-timeout': '0n' })).toMatchObject({ 'grpc-status': '4' });
    expect(calls).toBe(0);
    expect(await mesh.rawUnary(port, { 'grpc-timeout': '10S' })).toMatchObject({ 'grpc-status': '0' });
  });

  it('calls over a new connection when an authority was removed, and is refused over an old one', async () => {
    const service = await mesh.serve();
    let connections = 0;
    service.listener.server.on('connection', () => connections++);
    const { client, source } = await mesh.client([service.port]);
    await client.unary('x');
    await client.unary('x');
    expect(connections).toBe(1);
    const other = await createTestCa('a.test');
    const { certPem, keyPem } = await mesh.ca.issue('/ns/default/sa/web');
    const trust = (one: StaticIdentitySource, cert: string, key: string, ...pems: string[]): void =>
      one.update({ certPem: cert, keyPem: key, bundles: new Map([['a.test', pems.join('')]]) });
    trust(source, certPem, keyPem, mesh.ca.bundlePem, other.bundlePem);
    await client.unary('x');
    expect(connections).toBe(1);
    trust(source, certPem, keyPem, mesh.ca.bundlePem);
    await client.unary('x');
    expect(connections).toBe(2);
    // Now the server loses one: the client's connection is refused, and its call goes over another.
    const own = await mesh.ca.issue('/ns/default/sa/echo');
    trust(service.source, own.certPem, own.keyPem, mesh.ca.bundlePem, other.bundlePem);
    trust(service.source, own.certPem, own.keyPem, mesh.ca.bundlePem);
    await client.unary('x');
    expect(connections).toBe(3);
  });
});
