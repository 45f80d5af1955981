import type { PeerIdentity } from '@inmesh/core';
import { connectionFacts } from '@inmesh/identity';

/**
 * Who sent a request: the verified identity of its connection's peer. `undefined` on plaintext.
 *
 * @param request - Of node:http or node:http2, or a framework's that has the raw one as `raw`, `req` or `env.incoming`.
 */
export function httpPeer(request: unknown): PeerIdentity | undefined {
  for (let current: unknown = request, depth = 0; depth < 4; depth++) {
    if (typeof current !== 'object' || current === null) return undefined;
    const { socket, raw, req, env } = current as {
      socket?: unknown;
      raw?: unknown;
      req?: unknown;
      env?: { incoming?: unknown };
    };
    const facts = connectionFacts(socket);
    if (facts !== undefined) return facts.peer;
    current = env?.incoming ?? raw ?? req;
  }
  return undefined;
}
