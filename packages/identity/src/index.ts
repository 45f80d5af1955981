export type { IdentityOrigin, IdentitySnapshot, IdentitySource, TrustBundle, X509Svid } from './identity.js';
export type { DialOptions, Dialer, OnDialed, OnSecure, SecureOptions, TlsFrontEnd } from './tls-contract.js';
