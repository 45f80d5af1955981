export { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
export { createTestCa, type TestCa } from '@inmesh/identity/testing';
export { createFaultPeer, type Fault, type FaultPeer, type FaultPeerOptions } from './fault-peer.js';
export {
  assertAllowed,
  assertDenied,
  createPolicyTest,
  type MatcherResult,
  type PolicyDecision,
  type PolicyRequest,
  type PolicyTest,
  type PolicyTestOptions,
  policyMatchers,
} from './policy-test.js';
export { type TestMesh, type TestMeshOptions, testMesh } from './test-mesh.js';
export {
  createTestNetwork,
  type ServiceOptions,
  type TestNetwork,
  type TestNetworkOptions,
  type TestService,
} from './test-network.js';
