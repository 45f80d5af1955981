import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import {
  assertAllowed,
  assertDenied,
  createPolicyTest,
  policyMatchers,
  type TestMesh,
  testMesh,
} from '@inmesh/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createShop } from '../src/shop.js';

const file = fileURLToPath(new URL('../policies.yaml', import.meta.url));

// #region policies
const { decide } = createPolicyTest({ policies: readFileSync(file, 'utf8'), file, service: 'shop' });

describe('policies of the shop', () => {
  it('let the web read orders', () =>
    assertAllowed(decide({ from: 'web', path: '/orders/7' }), 'readers-of-orders'));
  it('let nobody else', () => assertDenied(decide({ from: 'mallory', path: '/orders/7' })));
  it('let nobody change them', () => assertDenied(decide({ from: 'web', method: 'PUT', path: '/orders/7' })));
});
// #endregion

// #region services
describe('the shop', () => {
  let mesh: TestMesh;
  const names: (string | undefined)[] = [];
  beforeEach(async () => {
    const stock = (_request: IncomingMessage, response: ServerResponse): void => {
      response.setHeader('content-type', 'application/json').end('{"left":3}');
    };
    mesh = await testMesh({
      services: {
        shop: { app: createShop, configFile: file },
        stock: { app: stock, allow: 'shop' },
        web: {},
        mallory: {},
      },
    });
    mesh.as('shop').on('decision', ({ side, operation }) => {
      if (side === 'server') names.push(operation);
    });
  });
  afterEach(() => mesh.close());

  it('answers the web, and asks the stock as itself', async () => {
    const reply = await mesh.as('web').fetch('http://shop/orders/7');
    expect(await reply.json()).toEqual({
      id: '7',
      askedBy: 'spiffe://test.local/ns/default/sa/web',
      left: 3,
    });
  });

  it('refuses others, and names its calls by their routes', async () => {
    expect((await mesh.as('mallory').fetch('http://shop/orders/7')).status).toBe(403);
    await (await mesh.as('web').fetch('http://shop/orders/8')).text();
    while (!names.includes('/orders/:id')) await new Promise(setImmediate);
    expect(policyMatchers.toBeDenied(decide({ path: '/orders/8' })).pass).toBe(true);
  });
});
// #endregion
