import { Pool } from 'undici';
import type { RoleConfig } from './protocol.js';
import { tlsOf } from './tls.js';

/** What everybody asks for. */
export const path = '/s1/v1';

/** A pool as a careful user makes one. undici resumes sessions by default, we do not: nobody does here. */
export function openPool(origin: string, { material }: RoleConfig): Pool {
  const tls = { ...tlsOf(material), servername: 'localhost', maxCachedSessions: 0 };
  return new Pool(origin, { connections: 64, pipelining: 1, connect: tls });
}
