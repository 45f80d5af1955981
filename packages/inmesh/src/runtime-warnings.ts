import { hasNodeFlag, type Logger } from '@inmesh/core';
import type { Environment } from '@inmesh/identity';

/** Last day of support of each line of Node. @see {@link https://github.com/nodejs/release#release-schedule} */
const endOfLife: Readonly<Record<number, string>> = {
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
};

const dayMs = 86_400_000;

function warnAboutAge(logger: Logger, version: string, wallMs: number): void {
  const line = Number(/^v?(\d+)\./.exec(version)?.[1]);
  const ended = endOfLife[line];
  // Through the whole of the last day.
  if (ended === undefined || wallMs < Date.parse(ended) + dayMs) return;
  logger.warn(
    { version, endOfLife: ended },
    'this line of Node is out of support: it gets no security fixes anymore',
  );
}

/**
 * Says what the process was started with that weakens it. Nothing of it weakens connections of the mesh, whose
 * options are explicit, but the keys that are logged: those are theirs, too.
 *
 * @param env - As in `process.env`.
 * @param execArgv - As in `process.execArgv`.
 * @param version - As in `process.version`.
 * @param wallMs - Wall clock now, in milliseconds.
 */
export function warnAboutRuntime(
  logger: Logger,
  env: Environment,
  execArgv: readonly string[],
  version: string,
  wallMs: number,
): void {
  warnAboutAge(logger, version, wallMs);
  const has = (flag: string): boolean => hasNodeFlag(flag, execArgv, env);
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    logger.warn(
      { setting: 'NODE_TLS_REJECT_UNAUTHORIZED' },
      'TLS connections outside of the mesh do not verify their peers',
    );
  }
  for (const setting of ['--tls-min-v1.0', '--tls-min-v1.1']) {
    if (has(setting)) logger.warn({ setting }, 'TLS connections outside of the mesh take broken versions');
  }
  // Node has no use for the variable, but libraries and preloaded code have.
  if (env['SSLKEYLOGFILE'])
    logger.warn({ setting: 'SSLKEYLOGFILE' }, 'somebody wants TLS keys written to a file');
  if (has('--tls-keylog')) {
    logger.warn(
      { setting: '--tls-keylog' },
      'the keys of every TLS connection, those of the mesh included, are written to a file',
    );
  }
}
