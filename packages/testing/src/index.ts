export { createManualRuntime, type ManualRuntime } from '@inmesh/core/testing';
export { createTestCa, type TestCa } from '@inmesh/identity/testing';
export { createFaultPeer, type Fault, type FaultPeer, type FaultPeerOptions } from './fault-peer.js';
export {
  createTestNetwork,
  type ServiceOptions,
  type TestNetwork,
  type TestNetworkOptions,
  type TestService,
} from './test-network.js';
