import { createMesh, type Mesh, type MeshServer } from 'inmesh';
import { WebSocketServer } from 'ws';
import { buildApp, type FrameworkName } from './frameworks.js';
import { Hops } from './hops.js';
import { type Counts, commonRoutes, newCounts, type Route } from './routes.js';

/** What a service of the demo is beside what they all are. */
export interface ServiceSpec {
  readonly framework: FrameworkName;
  /** Times of its calls to others. */
  readonly hops?: Hops;
  readonly routes?: (mesh: Mesh, counts: Counts) => readonly Route[];
  readonly extend?: (mesh: Mesh, server: MeshServer, counts: Counts) => void;
}

/** Runs a service in this process, configured by its environment alone; tells its parent where it listens. */
export async function runService({
  framework,
  routes,
  extend,
  hops = new Hops(),
}: ServiceSpec): Promise<void> {
  const mesh = await createMesh();
  const { serviceName, mtls } = mesh.config.values;
  const counts = newCounts();
  const app = buildApp(framework, [
    ...commonRoutes(mesh, serviceName, counts, hops),
    ...(routes?.(mesh, counts) ?? []),
  ]);
  const server = mesh.serve(app);
  const sockets = new WebSocketServer({ server: server.http, path: '/ws' });
  sockets.on('connection', (socket, request) => {
    socket.send(`hello ${mesh.peer(request)?.id.uri ?? 'nobody'}`);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  extend?.(mesh, server, counts);
  const { port } = await server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1');
  const identity = mesh.identity.current().svid.id.uri;
  process.send?.({
    name: serviceName,
    pid: process.pid,
    host: '127.0.0.1',
    port,
    framework,
    mode: mtls,
    identity,
    metricsPort: mesh.metricsAddress()?.port,
  });
  // SIGTERM is the mesh's; Ctrl-C of a demo is to be as gentle.
  process.on('SIGINT', () => process.kill(process.pid, 'SIGTERM'));
}
