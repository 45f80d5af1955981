import type { Watch } from '@inmesh/core';
import type { IdentitySource } from '@inmesh/identity';
import type { PolicyEngine } from './policy-engine.js';

/** One thing that a service needs. */
export interface ReadinessCheck {
  /** What it is: `identity`, `policies`, `drain`. */
  readonly name: string;
  /** Whether it is as it should be. */
  readonly isOk: boolean;
  /** Why not; also what is wrong and does no harm yet. */
  readonly reason?: string;
}

/** Whether calls should be sent here. */
export interface Readiness {
  /** Whether every check is well. */
  readonly isReady: boolean;
  /** Each of them. */
  readonly checks: readonly ReadinessCheck[];
}

/** In one line: of several mistakes the first, with its place before it. */
function messageOf(error: unknown): string {
  const [what = '', where = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  const [, place] = /^ *--> (.+)$/.exec(where) ?? [];
  return place === undefined ? what : `${place}: ${what}`;
}

function checkIdentity({ state }: IdentitySource): ReadinessCheck {
  const reason = state.error === undefined ? undefined : messageOf(state.error);
  return { name: 'identity', isOk: state.kind === 'ready', ...(reason === undefined ? {} : { reason }) };
}

/** Policies on disk that are wrong do no harm: the last good ones are in force. */
function checkPolicies({ error }: PolicyEngine): ReadinessCheck {
  if (error === undefined) return { name: 'policies', isOk: true };
  return { name: 'policies', isOk: true, reason: `the last good ones are in force: ${messageOf(error)}` };
}

/** As policies: what is wrong on disk does no harm. */
function checkConfig({ state: { error } }: Watch<unknown>): ReadinessCheck {
  if (error === undefined) return { name: 'config', isOk: true };
  return { name: 'config', isOk: true, reason: `the last good one is in force: ${messageOf(error)}` };
}

/**
 * Looks at everything that a service needs.
 *
 * @param files - The configuration file, if there is one.
 */
export function readinessOf(
  source: IdentitySource,
  policies: PolicyEngine,
  files: Watch<unknown> | undefined,
  isDraining: boolean,
): Readiness {
  const checks: readonly ReadinessCheck[] = [
    checkIdentity(source),
    checkPolicies(policies),
    ...(files === undefined ? [] : [checkConfig(files)]),
    isDraining
      ? { name: 'drain', isOk: false, reason: 'the mesh is closing' }
      : { name: 'drain', isOk: true },
  ];
  return { isReady: checks.every(({ isOk }) => isOk), checks };
}

/** As a probe shows it, a line per check. */
export function readinessText({ checks }: Readiness): string {
  const line = ({ name, isOk, reason }: ReadinessCheck): string =>
    `[${isOk ? '+' : '-'}]${name} ${isOk ? 'ok' : 'not ready'}${reason === undefined ? '' : `: ${reason}`}\n`;
  return checks.map(line).join('');
}
