export { createGrpcListener, type GrpcListener, type GrpcListenerOptions } from './grpc-listener.js';
export { type AttachedGrpcServer, attachGrpcServer, grpcPeer, type GrpcServerOptions } from './grpc-server.js';
export type { StreamListener } from './seams.js';
export { createGrpcClient, type GrpcClient, type GrpcClientOptions } from './grpc-client.js';
