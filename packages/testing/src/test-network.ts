import type { Server as GrpcServer } from '@grpc/grpc-js';
import { silentLogger } from '@inmesh/core';
import { createTestCa, type TestCa } from '@inmesh/identity/testing';
import { createMesh, type Mesh, type MeshOptions, type MeshServer } from 'inmesh';

/** What a service of a test network is. */
export interface ServiceOptions extends Omit<MeshOptions, 'serviceName' | 'svid' | 'trustDomain'> {
  /** Its application, or a function of one parameter, the mesh, that makes it. It listens if there is one. */
  readonly app?: unknown;
  /** A gRPC server, services added, or what makes one of the mesh. */
  readonly grpc?: GrpcServer | ((mesh: Mesh) => GrpcServer);
}

/** A service of a test network. */
export interface TestService {
  /** Its name. */
  readonly name: string;
  /** Its mesh. */
  readonly mesh: Mesh;
  /** Its server; `undefined` if it only calls. */
  readonly server: MeshServer | undefined;
  /** Its port on 127.0.0.1; 0 if it only calls. */
  readonly port: number;
}

/** What {@link createTestNetwork} may be told. */
export interface TestNetworkOptions {
  /** Trust domain. @defaultValue `test.local` */
  readonly trustDomain?: string;
}

/** Several meshes with identities of their own in one process, on loopback. */
export interface TestNetwork {
  /** The throwaway authority. */
  readonly ca: TestCa;
  /** Starts a service; it knows by name every service that joined before it. */
  join(name: string, options?: ServiceOptions): Promise<TestService>;
  /** Closes every service, the last first. */
  close(): Promise<void>;
}

/** An `app` with the parameters of a request listener is one; a function of the mesh takes one parameter. */
function applicationOf(app: unknown, mesh: Mesh): unknown {
  return typeof app === 'function' && app.length === 1 && !('handle' in app)
    ? (app as (mesh: Mesh) => unknown)(mesh)
    : app;
}

/** Makes an empty {@link TestNetwork} with an authority in memory. No files, no environment. */
export async function createTestNetwork({
  trustDomain = 'test.local',
}: TestNetworkOptions = {}): Promise<TestNetwork> {
  const ca = await createTestCa(trustDomain);
  const services: TestService[] = [];
  return {
    ca,
    async join(name, { app, grpc, namespace = 'default', ...options } = {}) {
      const { certPem, keyPem } = await ca.issue(`/ns/${namespace}/sa/${name}`);
      const known = Object.fromEntries(
        services.filter(({ port }) => port !== 0).map((one) => [one.name, `127.0.0.1:${one.port}`]),
      );
      const mesh = await createMesh({
        env: {},
        serviceName: name,
        namespace,
        trustDomain,
        svid: { certPem, keyPem, bundles: new Map([[trustDomain, ca.bundlePem]]) },
        drainDelay: 0,
        drainTimeout: '5s',
        logger: silentLogger,
        ...options,
        upstreams: { ...known, ...options.upstreams },
      });
      const server =
        app === undefined && grpc === undefined ? undefined : mesh.serve(applicationOf(app, mesh));
      if (grpc !== undefined) server?.addGrpc(typeof grpc === 'function' ? grpc(mesh) : grpc);
      const port = (await server?.listen(0, '127.0.0.1'))?.port ?? 0;
      const service: TestService = { name, mesh, server, port };
      services.push(service);
      return service;
    },
    async close() {
      for (const { mesh } of services.toReversed()) await mesh.close();
    },
  };
}
