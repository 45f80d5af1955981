import { fileURLToPath } from 'node:url';
import { type TestMesh, testMesh } from '@inmesh/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPrices } from '../src/prices.js';

describe('prices', () => {
  let mesh: TestMesh;
  const operations = new Set<string | undefined>();
  beforeEach(async () => {
    const configFile = fileURLToPath(new URL('../inmesh.yaml', import.meta.url));
    mesh = await testMesh({
      services: { prices: { app: createPrices, configFile }, office: {}, web: {} },
    });
    mesh.as('prices').on('decision', ({ operation }) => operations.add(operation));
  });
  afterEach(() => mesh.close());

  const ask = async (name: string, path: string): Promise<readonly [number, string]> => {
    const reply = await mesh.as(name).fetch(`http://prices${path}`);
    return [reply.status, await reply.text()];
  };

  it('are for everybody, costs for the office', async () => {
    expect(await ask('web', '/prices/cup')).toEqual([200, '{"item":"cup","price":42}']);
    expect((await ask('web', '/costs/cup'))[0]).toBe(403);
    expect(await ask('office', '/costs/cup')).toEqual([
      200,
      '{"item":"cup","cost":12,"for":"spiffe://test.local/ns/default/sa/office"}',
    ]);
    while (!operations.has('/costs/:item')) await new Promise(setImmediate);
  });
});
