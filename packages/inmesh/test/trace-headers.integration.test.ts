import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hops, startHops } from './hops.js';

const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

describe('without a tracer', () => {
  let dir: string;
  let hops: Hops;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-traces-'));
    hops = await startHops(dir);
  });
  afterAll(async () => {
    await hops.close();
    await rm(dir, { recursive: true, force: true });
  });
  const send = async (headers: Record<string, string>) => {
    const reply = await hops.caller.fetch('http://first/', { headers });
    expect(await reply.text()).toBe('last');
    return hops.seen();
  };

  it('headers of a trace come out at the last of three hops as they came in', async () => {
    const headers = {
      traceparent: parent,
      tracestate: 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
      baggage: 'userId=alice,serverNode=DF%2028',
      b3: `${'a'.repeat(32)}-${'b'.repeat(16)}-1`,
      'x-b3-traceid': 'a'.repeat(32),
      'x-b3-spanid': 'b'.repeat(16),
      'x-b3-sampled': '1',
      'x-request-id': '3f2a',
    };
    expect(await send(headers)).toMatchObject(headers);
  });

  it.each([
    ['00-0-0-01'],
    [`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01-more`],
    [`ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`],
  ])('what is no parent goes nowhere, nor does the state that belongs to it: %s', async (traceparent) => {
    const seen = await send({ traceparent, tracestate: 'a=1', 'x-request-id': '1' });
    expect([seen['traceparent'], seen['tracestate'], seen['x-request-id']]).toEqual([
      undefined,
      undefined,
      '1',
    ]);
  });

  it('nothing is made up where nothing came', async () => {
    const seen = await send({});
    for (const name of ['traceparent', 'tracestate', 'baggage', 'b3', 'x-request-id'])
      expect(seen[name]).toBeUndefined();
  });
});
