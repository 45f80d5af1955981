import { type Call, type Layer, type LocalReply, type Logger, MeshError, type Verdict } from '@inmesh/core';
import type { Decision } from './clause.js';
import type { PolicySet } from './policy-set.js';

/** What {@link authorize} needs. */
export interface AuthorizeOptions {
  /** The set in force; `undefined` denies every call. */
  readonly policies: () => PolicySet | undefined;
  /** Told about each denial. */
  readonly logger: Logger;
  /** Told about each decision, allowed or not; of a call that is decided again only where it is denied then. */
  readonly onDecision?: (call: Call, decision: Decision) => void;
}

/** The caller learns that it was denied and never why. */
const denial: LocalReply = Object.freeze({
  httpStatus: 403,
  headers: Object.freeze([Object.freeze(['content-type', 'text/plain'] as const)]),
  body: 'RBAC: access denied',
  grpcStatus: 'permission-denied',
  grpcMessage: 'RBAC: access denied',
});

const notLoaded: Decision = Object.freeze({
  isAllowed: false,
  policy: '',
  rule: -1,
  origin: undefined,
  reason: 'no policy set is in force',
});

/**
 * The layer that decides inbound calls by policy, on HTTP and gRPC alike, and running calls again when policies
 * change. Fails closed.
 */
export function authorize(options: AuthorizeOptions): Layer {
  const { policies, logger, onDecision } = options;
  const decide = (call: Call, isNew: boolean): Verdict => {
    const decision = policies()?.decide(call.facts, call.headers) ?? notLoaded;
    // A call that may go on under new policies was decided before.
    if (isNew || !decision.isAllowed) onDecision?.(call, decision);
    if (decision.isAllowed) return undefined;
    const { facts } = call;
    const isDecided = decision.policy !== '';
    logger.warn(
      {
        policy: isDecided ? decision.policy : undefined,
        rule: isDecided ? decision.rule : undefined,
        file: decision.origin?.source,
        line: decision.origin?.line,
        reason: decision.reason,
        allowPolicies: decision.allowPolicies,
        peer: facts.connection.peer?.id.uri,
        remoteIp: facts.connection.remoteIp,
        method: facts.method,
        path: facts.path,
      },
      'denied',
    );
    const error = new MeshError(
      'INMESH_ERR_AUTHZ_DENIED',
      `${facts.method} ${facts.path} denied: ${decision.reason}`,
      { stackless: true },
    );
    return { kind: 'reject', error, reply: denial };
  };
  return {
    role: 'authorize',
    scope: 'call',
    why: 'nothing of an application runs for a caller that policy denies',
    bind: ({ side }) =>
      side === 'server'
        ? { request: (call) => decide(call, true), recheck: (call) => decide(call, false) }
        : undefined,
  };
}
