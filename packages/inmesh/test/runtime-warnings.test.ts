import { type LogFields, silentLogger } from '@inmesh/core';
import { describe, expect, it } from 'vitest';
import { warnAboutRuntime } from '../src/runtime-warnings.js';

interface Process {
  readonly env?: Readonly<Record<string, string>>;
  readonly execArgv?: readonly string[];
  readonly version?: string;
  readonly day?: string;
}

/** What is warned about. */
function warnings({ env = {}, execArgv = [], version = 'v24.21.0', day = '2026-11-25' }: Process): unknown[] {
  const found: unknown[] = [];
  const warn = (fields: LogFields): void => void found.push(fields['setting'] ?? fields['version']);
  warnAboutRuntime({ ...silentLogger, warn }, env, execArgv, version, Date.parse(`${day}T12:00:00Z`));
  return found;
}

describe('warnAboutRuntime', () => {
  it('says nothing of a process as it should be', () => {
    const env = { NODE_ENV: 'production', NODE_TLS_REJECT_UNAUTHORIZED: '1', SSLKEYLOGFILE: '' };
    expect(warnings({ env, execArgv: ['--enable-source-maps', '--tls-min-v1.2'] })).toEqual([]);
  });

  it.each([
    [{ env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } }, 'NODE_TLS_REJECT_UNAUTHORIZED'],
    [{ env: { SSLKEYLOGFILE: '/tmp/keys' } }, 'SSLKEYLOGFILE'],
    [{ env: { NODE_OPTIONS: '--tls-keylog=/tmp/keys' } }, '--tls-keylog'],
    [{ execArgv: ['--tls-keylog', '/tmp/keys'] }, '--tls-keylog'],
    [{ env: { NODE_OPTIONS: '--tls-min-v1.0' } }, '--tls-min-v1.0'],
    [{ execArgv: ['--tls-min-v1.1'] }, '--tls-min-v1.1'],
  ] as const)('[row 26] warns of %j', (process, setting) => expect(warnings(process)).toEqual([setting]));

  it.each([
    ['v20.20.2', '2026-04-30', []],
    ['v20.20.2', '2026-05-01', ['v20.20.2']],
    ['v21.7.3', '2026-11-25', ['v21.7.3']],
    ['v22.23.3', '2027-05-01', ['v22.23.3']],
    ['v26.10.0', '2026-11-25', []],
    ['v28.0.0', '2026-11-25', []],
    ['strange', '2026-11-25', []],
  ] as const)('warns of %s on %s: %j', (version, day, expected) =>
    expect(warnings({ version, day })).toEqual(expected),
  );
});
