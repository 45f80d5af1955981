import { deadlineHeader } from '@inmesh/resilience';
import type { Dispatcher } from 'undici';
import { openMesh } from './open-mesh.js';
import { openDiy } from './peers/diy-client.js';
import { openPool, path } from './pool.js';
import { deadlineMs, isMesh, type RoleConfig } from './protocol.js';

/** Makes one call; fails if it does. */
export type Call = () => Promise<void>;

async function ask(dispatcher: Dispatcher, options: Dispatcher.RequestOptions): Promise<void> {
  const { statusCode, body } = await dispatcher.request(options);
  await body.json();
  if (statusCode !== 200) throw new Error(String(statusCode));
}

/** The same endpoints, connections and headers as ours: a pool each, in turn. */
function openEqual(config: RoleConfig): Call {
  const headers = { [deadlineHeader]: String(deadlineMs - 1) };
  const all = config.ports.map((port) => {
    const origin = `https://localhost:${port}`;
    return { pool: openPool(origin, config), options: { origin, path, method: 'GET', headers } as const };
  });
  let next = 0;
  return async () => {
    const one = all[next++ % all.length];
    if (one !== undefined) await ask(one.pool, one.options);
  };
}

/** Calls through `request`. */
export async function openHttp(config: RoleConfig): Promise<Call> {
  const { variant, ports } = config;
  switch (variant) {
    case 'bare-equal':
      return openEqual(config);
    case 'diy':
    case 'diy-traced':
    case 'diy-uncounted':
      return openDiy(config);
    case 'mesh':
    case 'mesh-one':
    case 'mesh-traced': {
      const { dispatcher } = await openMesh(config);
      return () => ask(dispatcher, { origin: 'http://server', path, method: 'GET' });
    }
    case 'bare':
    case 'plain': {
      const origin = `${variant === 'plain' ? 'http' : 'https'}://localhost:${ports[0]}`;
      const pool = openPool(origin, config);
      return () => ask(pool, { origin, path, method: 'GET' });
    }
  }
}

/** Calls through `fetch`. */
export async function openFetch(config: RoleConfig): Promise<Call> {
  const mesh = isMesh(config.variant) ? await openMesh(config) : undefined;
  const origin = mesh !== undefined ? 'http://server' : `https://localhost:${config.ports[0]}`;
  // The types of the built-in fetch know the undici they were made for, and take any at run time.
  const init =
    mesh !== undefined ? undefined : ({ dispatcher: openPool(origin, config) } as unknown as RequestInit);
  const fetcher = mesh?.fetch ?? fetch;
  return async () => {
    const reply = await fetcher(`${origin}${path}`, init);
    await reply.json();
    if (reply.status !== 200) throw new Error(String(reply.status));
  };
}
