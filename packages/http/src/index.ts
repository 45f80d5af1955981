export type { Normalize } from './clean-target.js';
export { type Framework, type HttpApplication, type PathEquivalence, toHttpServer } from './frameworks.js';
export type {
  GrpcSeat,
  HttpListener,
  HttpListenerOptions,
  ListenerLimits,
  OnHttpStream,
} from './http-contract.js';
export { createHttpListener } from './http-listener.js';
export { httpPeer } from './http-peer.js';
