import { describe, expect, it } from 'vitest';
import {
  checkOrder,
  compile,
  createStack,
  insertLayers,
  type Layer,
  MeshError,
  type Phases,
  StackHolder,
  type Verdict,
} from '../src/index.js';
import { createCall, createRun, okEnd, tick } from './support.js';

function layer(role: string, phases: Phases | undefined, extra: Partial<Layer> = {}): Layer {
  return { role, scope: 'call', why: `${role} says so`, bind: () => phases, ...extra };
}

const server = { side: 'server', port: 1 } as const;

function recorder(role: string, log: string[], verdict?: () => Verdict | Promise<Verdict>): Layer {
  return layer(role, {
    request: () => {
      log.push(`${role} request`);
      return verdict?.();
    },
    head: () => void log.push(`${role} head`),
    end: () => void log.push(`${role} end`),
  });
}

describe('compile', () => {
  it('runs request outermost first, head and end innermost first', () => {
    const log: string[] = [];
    const plan = compile([recorder('a', log), recorder('b', log)], server);
    const run = createRun();
    const call = createCall();
    plan.begin(run, call);
    plan.head(run, call, { httpStatus: 200, grpcStatus: undefined, headers: call.headers });
    plan.end(run, call, okEnd);
    expect(run.outcome).toEqual(['pass']);
    expect(log).toEqual(['a request', 'b request', 'b head', 'a head', 'b end', 'a end']);
  });

  it('leaves out layers that have nothing to do for the target', () => {
    const plan = compile([layer('a', undefined), layer('b', {})], server);
    expect(plan.layers.map((l) => l.role)).toEqual(['b']);
  });

  it('runs end only for layers whose request ran, the halting one included', () => {
    const log: string[] = [];
    const halt = { kind: 'reply', reply: { httpStatus: 204 } } as const;
    const plan = compile([recorder('a', log), recorder('b', log, () => halt), recorder('c', log)], server);
    const run = createRun();
    plan.begin(run, createCall());
    plan.end(run, createCall(), okEnd);
    expect(run.outcome).toEqual([halt]);
    expect(log).toEqual(['a request', 'b request', 'b end', 'a end']);
  });

  it('runs end once however often it is asked', () => {
    const log: string[] = [];
    const plan = compile([recorder('a', log)], server);
    const run = createRun();
    plan.begin(run, createCall());
    plan.end(run, createCall(), okEnd);
    plan.end(run, createCall(), okEnd);
    expect(log.filter((line) => line === 'a end')).toHaveLength(1);
  });

  it('goes on after an asynchronous verdict', async () => {
    const log: string[] = [];
    const plan = compile([recorder('a', log, () => Promise.resolve(undefined)), recorder('b', log)], server);
    const run = createRun();
    plan.begin(run, createCall());
    expect(run.outcome).toEqual([]);
    await tick();
    expect(run.outcome).toEqual(['pass']);
    expect(log).toEqual(['a request', 'b request']);
  });

  it('neither passes nor halts when the call ended during an asynchronous decision', async () => {
    const plan = compile([recorder('a', [], () => Promise.resolve(undefined))], server);
    const run = createRun();
    plan.begin(run, createCall());
    plan.end(run, createCall(), okEnd);
    await tick();
    expect(run.outcome).toEqual([]);
  });

  it('rejects when a layer throws or its promise rejects, and still ends it', async () => {
    for (const fault of [
      (): Verdict => {
        throw new Error('boom');
      },
      (): Promise<Verdict> => Promise.reject(new Error('boom')),
    ]) {
      const log: string[] = [];
      const plan = compile([recorder('a', log, fault), recorder('b', log)], server);
      const run = createRun();
      plan.begin(run, createCall());
      await tick();
      plan.end(run, createCall(), okEnd);
      expect(run.outcome).toMatchObject([{ kind: 'reject', error: { code: 'INMESH_ERR_LAYER_THREW' } }]);
      expect(log).toEqual(['a request', 'a end']);
    }
  });

  it('keeps a MeshError that a layer throws', () => {
    const error = new MeshError('INMESH_ERR_AUTHZ_DENIED', 'no');
    const plan = compile(
      [
        layer('a', {
          request: () => {
            throw error;
          },
        }),
      ],
      server,
    );
    const run = createRun();
    plan.begin(run, createCall());
    expect(run.outcome).toEqual([{ kind: 'reject', error }]);
  });

  it('lets the other layers end when one throws in end, and tells', () => {
    const log: string[] = [];
    const faults: string[] = [];
    const bad = layer('bad', {
      end: () => {
        throw new Error('boom');
      },
    });
    const plan = compile([recorder('a', log), bad], server, (role, phase) => faults.push(`${role} ${phase}`));
    const run = createRun();
    plan.begin(run, createCall());
    plan.end(run, createCall(), okEnd);
    expect(log).toEqual(['a request', 'a end']);
    expect(faults).toEqual(['bad end']);
  });

  it('rechecks with the first halt winning, and denies when a recheck throws', () => {
    const halt = { kind: 'reject', error: new MeshError('INMESH_ERR_AUTHZ_DENIED', 'no') } as const;
    expect(compile([layer('a', { recheck: () => undefined })], server).recheck(createCall())).toBeUndefined();
    expect(
      compile(
        [layer('a', { recheck: () => undefined }), layer('b', { recheck: () => halt })],
        server,
      ).recheck(createCall()),
    ).toBe(halt);
    const throwing = layer('c', {
      recheck: () => {
        throw new Error('boom');
      },
    });
    expect(compile([throwing], server).recheck(createCall())).toMatchObject({ kind: 'reject' });
  });
});

const noVerdicts: readonly unknown[] = [
  null,
  false,
  true,
  0,
  'deny',
  Symbol('no'),
  () => undefined,
  {},
  { kind: 'pass' },
  { kind: 'reject' },
  { kind: 'reject', error: new Error('no MeshError') },
  { kind: 'reply' },
  { kind: 'reply', reply: null },
  // oxlint-disable-next-line unicorn/no-thenable -- that is the case
  Object.fromEntries([['then', true]]),
];

describe('a layer that answers with something that is no verdict', () => {
  const threw = { kind: 'reject', error: { code: 'INMESH_ERR_LAYER_THREW' } };

  it.each(noVerdicts.map((value) => [value]))('is stopped in request: %o', async (value) => {
    for (const answer of [value, Promise.resolve(value)]) {
      const log: string[] = [];
      const plan = compile([recorder('a', log, () => answer as Verdict), recorder('b', log)], server);
      const run = createRun();
      plan.begin(run, createCall());
      await tick();
      plan.end(run, createCall(), okEnd);
      expect(run.outcome).toMatchObject([threw]);
      expect(log).toEqual(['a request', 'a end']);
    }
  });

  it.each(noVerdicts.map((value) => [value]))('is stopped in recheck: %o', (value) => {
    const plan = compile([layer('a', { recheck: () => value as Verdict })], server);
    expect(plan.recheck(createCall())).toMatchObject(threw);
  });

  it('is stopped in recheck also when it is asynchronous, and its rejection goes nowhere', async () => {
    const late = [Promise.resolve(undefined), Promise.reject(new Error('boom'))];
    for (const answer of late) {
      const plan = compile([layer('a', { recheck: () => answer as never })], server);
      expect(plan.recheck(createCall())).toMatchObject(threw);
    }
    await tick();
  });

  it('may answer with a thenable of another make, which counts once', async () => {
    const then = (resolve: (verdict: undefined) => void): void => {
      resolve(undefined);
      resolve(undefined);
      throw new Error('after all');
    };
    // oxlint-disable-next-line unicorn/no-thenable -- that is the case
    const thenable = Object.fromEntries([['then', then]]);
    const plan = compile([recorder('a', [], () => thenable as never)], server);
    const run = createRun();
    plan.begin(run, createCall());
    await tick();
    expect(run.outcome).toEqual(['pass']);
  });

  it('is told of when its head or end rejects later', async () => {
    const faults: unknown[] = [];
    const late = layer('late', {
      head: () => Promise.reject(new Error('head')) as never,
      end: () => Promise.reject(new Error('end')) as never,
    });
    const plan = compile([late], server, (role, phase, error) => faults.push([role, phase, String(error)]));
    const run = createRun();
    const call = createCall();
    plan.begin(run, call);
    plan.head(run, call, { httpStatus: 200, grpcStatus: undefined, headers: call.headers });
    plan.end(run, call, okEnd);
    await tick();
    expect(faults).toEqual([
      ['late', 'head', 'Error: head'],
      ['late', 'end', 'Error: end'],
    ]);
  });
});

describe('order', () => {
  it('names both layers and the reason when one stands wrong', () => {
    const a = layer('authorize', {}, { before: ['handler'] });
    const b = layer('handler', {});
    expect(() => checkOrder([b, a])).toThrow(/"authorize" must stand before "handler": authorize says so/);
    expect(() => checkOrder([layer('x', {}, { before: [], after: ['authorize'] }), a])).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_LAYER_ORDER' }),
    );
  });

  it('refuses two layers of one role', () => {
    expect(() => checkOrder([layer('a', {}), layer('a', {})])).toThrow(/two layers have the role "a"/);
  });

  it('puts added layers as late as their constraints allow', () => {
    const stack = [layer('authenticate', {}), layer('authorize', {})];
    const early = layer('early', {}, { before: ['authorize'] });
    const late = layer('late', {});
    expect(insertLayers(stack, [early, late]).map((l) => l.role)).toEqual([
      'authenticate',
      'early',
      'authorize',
      'late',
    ]);
  });

  it('refuses added layers that fit nowhere', () => {
    const stack = [layer('a', {}), layer('b', {})];
    expect(() => insertLayers(stack, [layer('x', {}, { before: ['a'], after: ['b'] })])).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_LAYER_ORDER' }),
    );
  });
});

describe('StackHolder', () => {
  it('compiles a target once and gives new calls the new stack', () => {
    let binds = 0;
    const counted: Layer = {
      ...layer('a', {}),
      bind: () => {
        binds++;
        return {};
      },
    };
    const holder = new StackHolder(createStack([counted]));
    const first = holder.plan(server);
    expect(holder.plan(server)).toBe(first);
    expect(binds).toBe(1);
    expect(holder.plan({ side: 'server', port: 2 })).not.toBe(first);
    holder.replace(createStack([]));
    expect(holder.plan(server).layers).toEqual([]);
    expect(holder.current.layers).toEqual([]);
  });
});
