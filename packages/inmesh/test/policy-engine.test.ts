import { resolveConfig } from '@inmesh/config';
import { silentLogger } from '@inmesh/core';
import { createManualRuntime } from '@inmesh/core/testing';
import { describe, expect, it } from 'vitest';
import { PolicyEngine } from '../src/policy-engine.js';

const start = (objects: unknown): Promise<PolicyEngine> =>
  PolicyEngine.start(
    {
      config: resolveConfig({ env: { INMESH_SERVICE_NAME: 'web' }, cwd: '/nonexistent' }).values,
      objects: objects as readonly unknown[],
      workload: { service: 'web', namespace: 'default', trustDomain: 'dev.local', labels: {} },
      runtime: createManualRuntime(),
      logger: silentLogger,
    },
    () => Promise.resolve(),
  );

describe('policy engine', () => {
  it.each([{}, { 0: {} }, 'kind: AuthorizationPolicy', null, new Set([{}])])(
    'refuses policies that are no array, which would enforce nothing: %o',
    async (objects) => {
      await expect(start(objects)).rejects.toMatchObject({ code: 'INMESH_ERR_CONFIG_INVALID' });
    },
  );

  it('refuses two policies of one name, of which the one that was left behind would hold, too', async () => {
    const policy = (namespace: string) => ({ metadata: { name: 'p', namespace }, spec: { rules: [{}] } });
    await expect(start([policy('shop'), policy('bank')])).resolves.toBeDefined();
    await expect(start([policy('shop'), policy('bank'), policy('shop')])).rejects.toMatchObject({
      code: 'INMESH_ERR_POLICY_INVALID',
      message:
        'policies[2]: policy shop/p: another one of this name is at policies[0], and both would hold: remove one, or name it otherwise',
    });
  });

  it('takes an array', async () => {
    const engine = await start([{ metadata: { name: 'deny' }, spec: { action: 'DENY', rules: [{}] } }]);
    expect(engine.policies.map(({ name }) => name)).toEqual(['deny']);
  });
});
