export { errorKey } from './call-status.js';
export {
  createGrpcClient,
  type GrpcChannelOptions,
  type GrpcClient,
  type GrpcClientOptions,
  type GrpcCloseOptions,
} from './grpc-client.js';
export { createGrpcListener, type GrpcListener, type GrpcListenerOptions } from './grpc-listener.js';
export {
  type AttachedGrpcServer,
  attachGrpcServer,
  type GrpcServerOptions,
  grpcPeer,
} from './grpc-server.js';
export type { IdempotentMethods } from './idempotent-methods.js';
export type { StreamListener } from './seams.js';
