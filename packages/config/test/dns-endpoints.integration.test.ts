import { silentLogger, systemRuntime } from '@inmesh/core';
import { expect, it } from 'vitest';
import { createEndpoints } from '../src/dns-endpoints.js';

it('resolves localhost by the resolver of the system', async () => {
  const source = createEndpoints([{ kind: 'dns', host: 'localhost', port: 80 }], {
    runtime: systemRuntime,
    logger: silentLogger,
  });
  const endpoints = await source.ready();
  source.close();
  expect(endpoints.map(({ host }) => host)).toSatisfy((hosts: string[]) =>
    hosts.some((host) => host === '127.0.0.1' || host === '::1'),
  );
});
