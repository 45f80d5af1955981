import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

function isSession(value: unknown): value is ServerHttp2Session {
  if (typeof value !== 'object' || value === null) return false;
  const { ping, goaway } = value as { readonly ping?: unknown; readonly goaway?: unknown };
  return typeof ping === 'function' && typeof goaway === 'function';
}

/**
 * The HTTP/2 session that a server made of `socket`, whoever's server it was. node:http2 keeps it on the socket, under
 * a key that differs between Node lines; looked for once per connection. `test/seams.contract.test.ts` says what it
 * must find.
 */
export function http2SessionOf(socket: Socket): ServerHttp2Session | undefined {
  const members = socket as unknown as Readonly<Record<string | symbol, unknown>>;
  for (const key of Reflect.ownKeys(socket)) {
    // Getters would run foreign code.
    const value: unknown = Object.getOwnPropertyDescriptor(members, key)?.value;
    if (isSession(value)) return value;
  }
  return undefined;
}
