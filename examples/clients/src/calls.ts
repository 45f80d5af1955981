import { get } from 'node:http';
import axios from 'axios';
import got from 'got';
import type { Mesh } from 'inmesh';
import { request } from 'undici';

/** The built-in fetch. */
export async function withFetch(mesh: Mesh): Promise<string> {
  // #region fetch
  const reply = await mesh.fetch('http://orders/v1/items');
  const items = await reply.text();
  // #endregion
  return items;
}

/** undici 6, 7 or 8: every function of it that takes a dispatcher. */
export async function withUndici(mesh: Mesh): Promise<string> {
  // #region undici
  const { body } = await request('http://orders/v1/items', { dispatcher: mesh.dispatcher });
  const items = await body.text();
  // #endregion
  return items;
}

/** axios over the dispatcher, which knows calls. */
export async function withAxios(mesh: Mesh): Promise<string> {
  // #region axios
  const client = axios.create({ adapter: 'fetch', env: { fetch: mesh.fetch } });
  const { data } = await client.get<string>('http://orders/v1/items', { responseType: 'text' });
  // #endregion
  return data;
}

/** axios over an agent, which knows connections alone. */
export async function withAxiosAgent(mesh: Mesh): Promise<string> {
  // #region axios-agent
  const agent = mesh.agent();
  const client = axios.create({ httpAgent: agent, httpsAgent: agent });
  const { data } = await client.get<string>('http://orders/v1/items', { responseType: 'text' });
  // #endregion
  return data;
}

/** got over an agent. */
export async function withGot(mesh: Mesh): Promise<string> {
  // #region got
  const client = got.extend({ agent: { http: mesh.agent() } });
  const items = await client.get('http://orders/v1/items').text();
  // #endregion
  return items;
}

/** node:http over an agent. */
export async function withNodeHttp(mesh: Mesh): Promise<string> {
  // #region node-http
  const agent = mesh.agent();
  const items = await new Promise<string>((resolve, reject) => {
    get('http://orders/v1/items', { agent }, (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      reply.on('end', () => resolve(text));
    }).on('error', reject);
  });
  // #endregion
  return items;
}
