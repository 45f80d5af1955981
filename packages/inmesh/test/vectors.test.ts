import { readdirSync, readFileSync } from 'node:fs';
import { runVectors, type VectorReport } from '@inmesh/authz';
import { parsePolicyObject } from '@inmesh/config/policies';
import { describe, expect, it } from 'vitest';

const dir = new URL('vectors/authz/', import.meta.url);
const run = (...names: string[]): VectorReport =>
  runVectors(
    names.map((name) => ({ name, text: readFileSync(new URL(name, dir), 'utf8') })),
    (json, namespace) => parsePolicyObject(json, 'vector', { namespace }),
  );

describe('authorization vectors', () => {
  it('fails none of any suite', () => {
    const report = run(...readdirSync(dir).filter((name) => name.endsWith('.json')));
    expect(report.lines.filter((line) => line.startsWith('FAIL'))).toEqual([]);
    expect(report.passed).toBeGreaterThanOrEqual(520);
  });

  it('passes normalization whole, and most of Istio integration and security semantics', () => {
    expect(run('normalization.json')).toMatchObject({ passed: 186, failed: 0, skipped: 0 });
    expect(run('istio-integration-authz.json', 'security-semantics.json').passed).toBeGreaterThanOrEqual(260);
  });
});
