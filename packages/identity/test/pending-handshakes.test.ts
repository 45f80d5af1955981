import type { Socket } from 'node:net';
import type { LogFields } from '@inmesh/core';
import { silentLogger } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import { BurstLog } from '../src/burst-log.js';
import { PendingHandshakes } from '../src/pending-handshakes.js';

const socket = (): Socket => ({}) as Socket;

describe('PendingHandshakes', () => {
  it('[row 24] lets the oldest of an address give way at its share, and nobody else', () => {
    const pending = new PendingHandshakes(64);
    const honest = socket();
    pending.add(honest, '10.0.0.1');
    const attackers = Array.from({ length: 20 }, socket);
    const cut = attackers.map((one) => pending.add(one, '10.0.0.2'));
    expect(cut).toEqual([...Array.from({ length: 16 }), ...attackers.slice(0, 4)]);
    expect(pending.size).toBe(17);
    expect(pending.delete(honest)).toBe(true);
  });

  it('[row 24] lets the oldest of all give way at the bound', () => {
    const pending = new PendingHandshakes(64);
    const sockets = Array.from({ length: 66 }, socket);
    const cut = sockets.map((one, i) => pending.add(one, `10.0.0.${i}`));
    expect(cut.slice(0, 64).every((one) => one === undefined)).toBe(true);
    expect(cut.slice(64)).toEqual(sockets.slice(0, 2));
    expect(pending.size).toBe(64);
  });

  it.each(['127.0.0.1', '127.9.9.9', '::1', ''])('gives %s all of the bound', (ip) => {
    const pending = new PendingHandshakes(64);
    const sockets = Array.from({ length: 65 }, socket);
    const cut = sockets.map((one) => pending.add(one, ip));
    expect(cut.filter((one) => one !== undefined)).toEqual([sockets[0]]);
  });

  it.each([
    [256, 64],
    [1000, 250],
    [20, 16],
  ])('gives one address of a bound of %i a share of %i', (limit, share) => {
    expect(new PendingHandshakes(limit).share).toBe(share);
  });

  it('forgets what ended and what was drained', () => {
    const pending = new PendingHandshakes(64);
    const [a, b] = [socket(), socket()];
    pending.add(a, '10.0.0.1');
    pending.add(b, '10.0.0.1');
    expect(pending.delete(a)).toBe(true);
    expect(pending.delete(a)).toBe(false);
    expect(pending.drain()).toEqual([b]);
    expect(pending.size).toBe(0);
  });
});

describe('BurstLog', () => {
  it('warns once for each burst and counts it when it is over', async () => {
    const runtime = createManualRuntime();
    const lines: [string, LogFields][] = [];
    const keep = (fields: LogFields, message: string): void => void lines.push([message, fields]);
    const bursts = new BurstLog(runtime, { ...silentLogger, warn: keep, info: keep });
    for (let i = 0; i < 3; i++) {
      bursts.warn({ i }, 'too many');
      await runtime.advance(9000);
    }
    expect(lines).toEqual([['too many', { i: 0 }]]);
    await runtime.advance(2000);
    expect(lines.slice(1)).toEqual([['burst is over', { what: 'too many', count: 3 }]]);
    bursts.warn({ i: 3 }, 'too many');
    await runtime.advance(11_000);
    expect(lines.slice(2)).toEqual([['too many', { i: 3 }]]);
    expect(runtime.armed).toBe(0);
  });

  it('leaves no timer behind', () => {
    const runtime = createManualRuntime();
    const bursts = new BurstLog(runtime, silentLogger);
    bursts.warn({}, 'one');
    bursts.warn({}, 'other');
    bursts.close();
    expect(runtime.armed).toBe(0);
  });
});
