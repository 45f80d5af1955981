import { readFileSync } from 'node:fs';
import type { Material } from './protocol.js';

/** What both ends of a connection prove themselves with. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** Reads the files. */
export function tlsOf({ cert, key, bundle }: Material): TlsFiles {
  return { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(bundle) };
}
