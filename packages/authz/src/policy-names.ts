import type { AuthorizationPolicy } from '@inmesh/core';
import { originText, policyInvalid } from './policy-fault.js';

/**
 * Refuses two policies of one name, of which Kubernetes has one: a copy that was left behind would hold beside the one
 * that was tightened.
 *
 * @throws MeshError `INMESH_ERR_POLICY_INVALID`
 */
export function refuseTwins(policies: readonly AuthorizationPolicy[]): void {
  const known = new Map<string, AuthorizationPolicy>();
  for (const policy of policies) {
    const name = `${policy.namespace}/${policy.name}`;
    const twin = known.get(name);
    if (twin !== undefined)
      throw policyInvalid(
        policy.origin,
        name,
        `another one of this name is at ${originText(twin.origin)}, and both would hold: remove one, or name it otherwise`,
      );
    known.set(name, policy);
  }
}
