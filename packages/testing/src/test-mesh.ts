import { type Endpoint, WatchSource } from '@inmesh/core';
import type { Mesh } from 'inmesh';
import {
  createTestNetwork,
  type ServiceOptions,
  type TestNetworkOptions,
  type TestService,
} from './test-network.js';

/** What {@link testMesh} is told. */
export interface TestMeshOptions extends TestNetworkOptions {
  /** Services by name. Each of them knows every other one by its name, in whichever order they stand. */
  readonly services: Readonly<Record<string, ServiceOptions>>;
}

/** Services that call each other, in one process. */
export interface TestMesh {
  /** Services by name. */
  readonly services: Readonly<Record<string, TestService>>;
  /** The mesh of a service, to call others as it. @throws Error if there is no such service */
  as(name: string): Mesh;
  /** Closes all of them. */
  close(): Promise<void>;
  /** So that `await using` closes them. */
  [Symbol.asyncDispose](): Promise<void>;
}

// Node has it from 20.4 on, and TypeScript's library does not say so for this target.
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose;

/** Starts services that call each other by name over mTLS, each with its own identity; no files, no environment. */
export async function testMesh({ services, ...options }: TestMeshOptions): Promise<TestMesh> {
  const network = await createTestNetwork(options);
  const names = Object.entries(services)
    .filter(([, { app, grpc }]) => app !== undefined || grpc !== undefined)
    .map(([name]) => name);
  const endpoints = new Map(names.map((name) => [name, new WatchSource<readonly Endpoint[]>()]));
  const started: Record<string, TestService> = {};
  const close = (): Promise<void> => network.close();
  try {
    for (const [name, service] of Object.entries(services)) {
      const others = Object.fromEntries(
        [...endpoints].map(([other, watch]) => [
          services[other]?.namespace === undefined ? other : `${other}.${services[other].namespace}`,
          { endpoints: watch },
        ]),
      );
      const one = await network.join(name, { ...service, upstreams: { ...others, ...service.upstreams } });
      started[name] = one;
      endpoints.get(name)?.set([{ host: '127.0.0.1', port: one.port }]);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    services: started,
    as(name) {
      const service = started[name];
      if (service === undefined)
        throw new Error(`there is no service ${name}; there are ${Object.keys(started).join(', ')}`);
      return service.mesh;
    },
    close,
    [asyncDispose]: close,
  };
}
