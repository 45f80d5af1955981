export type { RouteInput, RulesInput, UpstreamInput } from '@inmesh/config';
export {
  type Call,
  type CallEnd,
  contextKey,
  isMeshError,
  type Layer,
  type LocalReply,
  MeshError,
  type MeshErrorCode,
  type PeerIdentity,
  type Phases,
  type ReplyHead,
  type Verdict,
} from '@inmesh/core';
export type { Balancer, BalancerFactory, BalancerInput, EndpointState } from '@inmesh/resilience';
export { createMesh } from './create-mesh.js';
export type { Mesh, MeshGrpc, MeshOptions, MeshServer, ServeOptions, UserLayers } from './mesh-contract.js';
export type { Readiness, ReadinessCheck } from './readiness.js';
export type { CallDeadline, ClusterReport, EndpointReport, MeshStats } from './stats.js';
