export { createGrpcClient, type GrpcClient, type GrpcClientOptions } from './grpc-client.js';
export { createGrpcListener, type GrpcListener, type GrpcListenerOptions } from './grpc-listener.js';
export {
  type AttachedGrpcServer,
  attachGrpcServer,
  type GrpcServerOptions,
  grpcPeer,
} from './grpc-server.js';
export type { StreamListener } from './seams.js';
