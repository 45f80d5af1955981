export { constrainedAnchors } from './anchors.js';
export { type Certificate, checkLeaf, type KeyUsage, parseCertificate } from './certificate.js';
export { connectionFacts, plaintextFacts } from './connection-facts.js';
export { type DevCaOptions, devCaDirectory, type Environment } from './dev-ca.js';
export {
  createDevIdentity,
  type DevIdentityOptions,
  type DevSvid,
  type DevWorkload,
  mintDevSvid,
} from './dev-identity.js';
export { clientAlpn, createDialer, type DialerOptions } from './dialer.js';
export { isRetired } from './expiring-socket.js';
export { createFileIdentity, type FileIdentityOptions } from './file-identity.js';
export type { HandshakeResult } from './handshake-result.js';
export { isLost } from './http2-guard.js';
export { type Http2Bounds, watchHttp2 } from './http2-watch.js';
export type {
  IdentityOrigin,
  IdentitySnapshot,
  IdentitySource,
  RotationCount,
  RotationKind,
  Rotations,
  TrustBundle,
  X509Svid,
} from './identity.js';
export { type FirstBytes, Sniffer, type SniffLimits } from './sniffer.js';
export {
  createStaticIdentity,
  type StaticIdentity,
  type StaticIdentityOptions,
  type StaticIdentitySource,
} from './static-identity.js';
export type { Dialer, DialOptions, OnDialed, OnSecure, SecureOptions, TlsFrontEnd } from './tls-contract.js';
export { createTlsFrontEnd, serverAlpn, type TlsFrontEndOptions } from './tls-front-end.js';
export { type CountingSocket, StreamMeter, takeRead, takeWritten } from './transfer.js';
