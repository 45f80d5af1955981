import { isMeshError } from '@inmesh/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllow } from '../src/index.js';

const own = { namespace: 'default', trustDomain: 'dev.local' };
const part = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.constantFrom('spiffe://', '/', '*', '/*', ',', ' ', 'a', 'a.b', 'web', '/ns/'),
);

describe('the parser of INMESH_ALLOW', () => {
  it('throws nothing but errors of ours, and never allows more than it was told', () => {
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8 }).map((parts) => parts.join('')),
        (text) => {
          try {
            const { rules } = parseAllow(text, own);
            const principals = rules[0]?.from?.[0]?.principals ?? [];
            const items = text.split(',').map((item) => item.trim());
            expect(principals.length).toBeGreaterThan(0);
            // `*` alone is everybody; it must have been said so.
            if (principals.includes('*')) expect(items).toContain('*');
            for (const one of principals) expect(one).toMatch(/^(?:\*|[a-z0-9._-]+\/(?:[^*]*|(?:.*\/)?\*))$/);
          } catch (error) {
            if (!isMeshError(error)) throw error;
            expect(error.code).toBe('INMESH_ERR_CONFIG_INVALID');
          }
        },
      ),
    );
  });
});
