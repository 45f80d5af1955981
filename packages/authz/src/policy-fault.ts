import { MeshError, type Origin } from '@inmesh/core';

/** `file:line:column`, or the source alone. */
export function originText(origin: Origin): string {
  return origin.line === 0 ? origin.source : `${origin.source}:${origin.line}:${origin.column}`;
}

/** What a policy says wrongly. */
export function policyInvalid(origin: Origin, policy: string, message: string): MeshError {
  return new MeshError('INMESH_ERR_POLICY_INVALID', `${originText(origin)}: policy ${policy}: ${message}`, {
    details: { ...origin, policy },
  });
}

/** What a policy says that this version does not enforce. */
export function policyUnsupported(origin: Origin, policy: string, field: string): MeshError {
  return new MeshError(
    'INMESH_ERR_POLICY_UNSUPPORTED',
    `${originText(origin)}: policy ${policy}: "${field}" is not supported yet`,
    {
      details: { ...origin, policy, field },
    },
  );
}
