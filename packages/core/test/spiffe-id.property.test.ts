import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isMeshError, parseSpiffeId, parseTrustDomain, workloadSpiffeId } from '../src/index.js';

describe('parseSpiffeId', () => {
  it('throws nothing but INMESH_ERR_SPIFFE_ID_INVALID, and keeps what it accepts unchanged', () => {
    const chars = fc.string({
      unit: fc.constantFrom('a', 'Z', '/', '.', '-', '_', '%', '?', '#', '@', ':', 'é', '\n'),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          chars.map((c) => `spiffe://${c}`),
          fc.string(),
        ),
        (text) => {
          try {
            const id = parseSpiffeId(text);
            expect(`spiffe://${id.trustDomain}${id.path}`).toBe(text);
            expect(text.slice('spiffe://'.length)).not.toMatch(/[%?#@:é\n]|\/$|\/\/|\/\.{1,2}(\/|$)/);
          } catch (error) {
            expect(isMeshError(error) && error.code).toBe('INMESH_ERR_SPIFFE_ID_INVALID');
          }
        },
      ),
    );
  });

  it.each([
    ['spiffe://a.test/x', true],
    ['spiffe://a.test', true],
    ['spiffe://a_b-c.test/A.b_c-d/..e', true],
    ['SPIFFE://a.test/x', false],
    ['spiffe://A.test/x', false],
    ['spiffe://a.test/', false],
    ['spiffe://a.test//x', false],
    ['spiffe://a.test/./x', false],
    ['spiffe://a.test/x/..', false],
    ['spiffe://a.test/x#', false],
    ['spiffe://a.test/x?y', false],
    ['spiffe://a.test:8/x', false],
    ['spiffe://u@a.test/x', false],
    ['spiffe://a.test/%61', false],
    ['spiffe:///x', false],
    ['spiffe://', false],
    ['', false],
    [`spiffe://${'a'.repeat(255)}/x`, true],
    [`spiffe://${'a'.repeat(256)}/x`, false],
    [`spiffe://a/${'b'.repeat(2048)}`, false],
  ])('%s: %s', (text, isValid) => {
    if (isValid) expect(parseSpiffeId(text).uri).toBe(text);
    else
      expect(() => parseSpiffeId(text)).toThrow(
        expect.objectContaining({ code: 'INMESH_ERR_SPIFFE_ID_INVALID' }),
      );
  });

  it('reads namespace and service account only from the exact Istio form', () => {
    expect(workloadSpiffeId('dev.local', 'shop', 'web')).toMatchObject({
      uri: 'spiffe://dev.local/ns/shop/sa/web',
      namespace: 'shop',
      serviceAccount: 'web',
    });
    expect(parseSpiffeId('spiffe://dev.local/x/ns/shop/sa/web').namespace).toBeUndefined();
    expect(parseSpiffeId('spiffe://dev.local/ns/shop/sa/web/x').serviceAccount).toBeUndefined();
  });

  it('shows control characters escaped in its message', () => {
    expect(() => parseTrustDomain('a\u001b[31m')).toThrow(/a\\u001b\[31m/);
  });
});
