import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@grpc/grpc-js';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Mesh, MeshError, MeshOptions } from '../src/index.js';
import { useMeshes } from './meshes.js';

const allow = (...accounts: readonly string[]): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers}
spec:
  rules:
  - from: [{source: {serviceAccounts: [${accounts.map((one) => `default/${one}`).join(', ')}]}}]
`;
const entry = (name: string, ...ports: readonly number[]): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}}
spec:
  hosts: [${name}.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
${ports.map((port) => `  - {address: 127.0.0.1, ports: {http: ${port}}, serviceAccount: orders}\n`).join('')}`;
const route = (name: string, http: string): string =>
  `---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ${name}}\nspec:\n  hosts: [${name}]\n  http:\n  - ${http}\n`;

describe('the configuration file', () => {
  const meshes = useMeshes();
  const { make } = meshes;
  let dir: string;
  let file: string;
  beforeEach(() => {
    ({ dir } = meshes);
    file = join(dir, 'mesh.yaml');
  });
  /** As an editor does: whole, by a rename. */
  const write = async (text: string, path = file): Promise<void> => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  const fault = async (text: string, options: MeshOptions = {}): Promise<MeshError> => {
    await write(text);
    const thrown: unknown = await make('web', { configFile: file, ...options }).catch(
      (error: unknown) => error,
    );
    return thrown as MeshError;
  };
  const serve = async (name: string, options: MeshOptions = {}): Promise<{ mesh: Mesh; port: number }> => {
    const mesh = await make('orders', options);
    const server = mesh.serve((_request: unknown, response: { end(text: string): void }) =>
      response.end(name),
    );
    const { port } = await server.listen(0, '127.0.0.1');
    return { mesh, port };
  };
  const ask = async (mesh: Mesh, name: string): Promise<string> =>
    await (await mesh.fetch(`http://${name}/`)).text();
  const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await holds())) await new Promise(setImmediate);
  };

  it('is ./inmesh.yaml where none is named; a directory is one configuration', async () => {
    const { port } = await serve('one');
    await write(entry('orders', port), join(dir, 'inmesh.yaml'));
    const plain = await make('web');
    expect(await ask(plain, 'orders')).toBe('one');
    expect(plain.config.provenance.get('upstreams.orders')).toMatch(/inmesh\.yaml:\d+:\d+$/);
    const parts = join(dir, 'parts');
    await mkdir(parts);
    await writeFile(join(parts, 'a.yaml'), entry('orders', port));
    await writeFile(join(parts, 'b.yaml'), route('shop', 'route: [{destination: {host: orders}}]'));
    expect(await ask(await make('web', { configFile: parts }), 'shop')).toBe('one');
  });

  it('does not start with one that is wrong, or is not there', async () => {
    const { code, message } = await fault(`${entry('orders', 1)}  adresses: []\n`);
    expect(code).toBe('INMESH_ERR_CONFIG_UNKNOWN');
    expect(message).toContain('unknown field "adresses"; did you mean "addresses"?');
    expect(
      (await fault(route('shop', 'match: [{uri: {regex: "("}}]\n    redirect: {authority: x}'))).message,
    ).toMatch(/^error\[INMESH_ERR_CONFIG_INVALID\][^]*-->.*mesh\.yaml:8:\d+\n/);
    const broken = allow('web').replace('rules:', "rules:\n  - to: [{operation: {paths: ['/a/{x']}}]");
    expect((await fault(broken)).message).toMatch(
      /^error\[INMESH_ERR_POLICY_INVALID\][^]*--> .*mesh\.yaml:7:5\n/,
    );
    expect(
      (await fault('a: 1', { env: { INMESH_CONFIG: join(dir, 'none.yaml') }, configFile: undefined })).code,
    ).toBe('INMESH_ERR_CONFIG_UNREADABLE');
  });

  it('changes policies, upstreams and routes under load as one, and loses no call', async () => {
    const [one, two] = [await serve('one'), await serve('two')];
    await write(entry('orders', one.port));
    const web = await make('web', { configFile: file, logLevel: 'off' });
    const seen = new Set<string>();
    let isLoaded = true;
    const failures: unknown[] = [];
    const load = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (isLoaded) {
          // A reply that needs no wire would leave no time for anything else.
          await new Promise(setImmediate);
          try {
            seen.add(await ask(web, 'orders'));
          } catch (error) {
            failures.push(error);
          }
        }
      }),
    );
    await until(() => seen.has('one'));
    await write(entry('orders', two.port));
    await until(() => seen.has('two'));
    await write(
      entry('orders', two.port) + route('orders', 'directResponse: {status: 200, body: {string: here}}'),
    );
    await until(() => seen.has('here'));
    isLoaded = false;
    await load;
    expect(failures).toEqual([]);
    expect([...seen]).toEqual(['one', 'two', 'here']);
    // An upstream that is gone is none any more; one that came is there.
    await write(entry('cart', one.port));
    await until(() => web.config.values.upstreams.has('cart'));
    expect(await ask(web, 'cart')).toBe('one');
    expect(web.config.values.upstreams.has('orders')).toBe(false);
  });

  it('decides calls by the policies of the file, and calls under way again', async () => {
    await write(allow('web'));
    const { mesh: orders, port } = await serve('one', { configFile: file });
    const web = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    expect(await ask(web, 'orders')).toBe('one');
    await write(allow('cart'));
    await until(async () => (await web.fetch('http://orders/')).status === 403);
    const { version } = {
      version: Number(/inmesh_config_generation (\d+)/.exec(await orders.metricsText())?.[1]),
    };
    expect(version).toBe(2);
  });

  it('takes a new policy also where it moves what only a restart changes', async () => {
    const own = 'apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec: {explainAllow: web}\n';
    await write(`${own}${allow('web')}`);
    const { port } = await serve('one', { configFile: file });
    const web = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    expect(await ask(web, 'orders')).toBe('one');
    await write(`# moved\n${own}${allow('cart')}`);
    await until(async () => (await web.fetch('http://orders/')).status === 403);
  });

  it('keeps the last good one, says so once, and shows it in readiness and metrics', async () => {
    await write(allow('web'));
    const complaints: string[] = [];
    const quiet = { debug() {}, info() {}, warn() {} };
    const logger = { ...quiet, error: (_fields: unknown, message: string) => void complaints.push(message) };
    const { mesh: orders, port } = await serve('one', { configFile: file, logger, logLevel: undefined });
    const web = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    await write(allow('cart').replace('rules', 'ruls'));
    await until(async () => (await orders.metricsText()).includes('\ninmesh_config_rejected 1\n'));
    expect(orders.readiness()).toMatchObject({
      isReady: true,
      checks: expect.arrayContaining([
        {
          name: 'config',
          isOk: true,
          reason: expect.stringMatching(
            /the last good one is in force: .*mesh\.yaml:\d+:\d+: .*did you mean "rules"/,
          ),
        },
      ]),
    });
    expect(await ask(web, 'orders')).toBe('one');
    // What a running mesh cannot change is refused as a whole.
    await write(
      `apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec: {mtls: permissive, drainDelay: 1s}\n${allow('cart')}`,
    );
    await until(() => complaints.length === 2);
    expect(String(orders.readiness().checks.find(({ name }) => name === 'config')?.reason)).toContain(
      'only a restart changes mtls',
    );
    await write(allow('cart'));
    await until(async () => (await web.fetch('http://orders/')).status === 403);
    expect(await orders.metricsText()).toContain('\ninmesh_config_rejected 0\n');
    expect(complaints).toEqual(Array(2).fill('configuration rejected, the last good one stays in force'));
  });

  it('leads gRPC elsewhere, too', async () => {
    const { port } = await serve('one');
    await write(entry('orders', 1));
    const web = await make('web', { configFile: file, retries: 0 });
    const client = new Client('mesh:///orders', web.grpc.credentials(), web.grpc.channelOptions());
    const call = (): Promise<number | undefined> =>
      new Promise((resolve) =>
        client.makeUnaryRequest('/a.B/C', Buffer.from, String, 'x', (error) => resolve(error?.code)),
      );
    expect(await call()).toBe(14);
    await write(entry('orders', port));
    // No gRPC server on that port: it says so.
    await until(async () => (await call()) === 12);
    client.close();
  });
});
