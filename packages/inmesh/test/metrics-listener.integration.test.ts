import { once } from 'node:events';
import { connect } from 'node:net';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { afterEach, describe, expect, it } from 'vitest';
import { MetricsListener } from '../src/metrics-listener.js';
import { useMeshes } from './meshes.js';

describe('MetricsListener', () => {
  const { make } = useMeshes();
  let listener: MetricsListener | undefined;
  afterEach(() => listener?.close());

  it('writes metrics once for all who ask meanwhile, and anew for who asks later', async () => {
    const mesh = await make('orders', { mtls: 'disable', metricsAddr: '127.0.0.1:0' });
    const scrapes: ((text: string) => void)[] = [];
    let onReady: () => void = () => {};
    const asked = new Promise<void>((resolve) => (onReady = resolve));
    listener = new MetricsListener({
      config: mesh.config.values,
      workload: { service: 'orders', namespace: 'default', trustDomain: 'a.test', labels: {} },
      source: mesh.identity as never,
      text: () => new Promise((resolve) => scrapes.push(resolve)),
      readiness: () => {
        onReady();
        return mesh.readiness();
      },
      runtime: systemRuntime,
      logger: silentLogger,
    });
    const { port } = await listener.listen();
    const socket = connect(port, '127.0.0.1');
    let seen = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (seen += chunk));
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    // Answers keep their order; that it was asked for readiness says that it has seen everything before.
    socket.write(get('/metrics').repeat(500) + get('/readyz'));
    await asked;
    expect(scrapes).toHaveLength(1);
    scrapes[0]?.('first\n');
    while (!seen.includes('identity')) await once(socket, 'data');
    expect(seen.split('first\n')).toHaveLength(501);
    socket.write(get('/metrics'));
    while (scrapes.length < 2) await new Promise(setImmediate);
    scrapes[1]?.('second\n');
    while (!seen.includes('second\n')) await once(socket, 'data');
    socket.destroy();
  });
});
