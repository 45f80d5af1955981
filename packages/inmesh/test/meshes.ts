import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, silentLogger } from '@inmesh/core';
import { afterEach, beforeEach } from 'vitest';
import { createMesh, type Mesh, type MeshOptions } from '../src/index.js';

/** Meshes of one test, all of one dev CA, in a directory of its own; both go with it. */
export interface TestMeshes {
  /** The directory; it has no `package.json` and no `inmesh.yaml`. */
  readonly dir: string;
  /** Makes a mesh that reads no environment, says nothing and drains at once. */
  make(serviceName: string, options?: MeshOptions): Promise<Mesh>;
}

/** A line of a log. */
export type Fields = Readonly<Record<string, unknown>>;

/** A unary method of gRPC whose messages are texts. */
export const textMethod = {
  path: '/a.B/C',
  requestStream: false,
  responseStream: false,
  requestSerialize: Buffer.from,
  requestDeserialize: String,
  responseSerialize: Buffer.from,
  responseDeserialize: String,
} as const;

/** A logger that notes the lines of the access log, as a log would hold them. */
export function noteAccess(note: (line: Fields) => void): Logger {
  return {
    ...silentLogger,
    info(fields, message) {
      if (message === 'access') note(JSON.parse(JSON.stringify(fields)) as Fields);
    },
  };
}

/** To be called where tests are described. */
export function useMeshes(): TestMeshes {
  let dir = '';
  let meshes: Mesh[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-test-'));
    meshes = [];
  });
  afterEach(async () => {
    await Promise.all(meshes.map((mesh) => mesh.close()));
    await rm(dir, { recursive: true, force: true });
  });
  return {
    get dir() {
      return dir;
    },
    async make(serviceName, options = {}) {
      const mesh = await createMesh({
        env: {},
        cwd: dir,
        serviceName,
        devCaDir: join(dir, 'ca'),
        drainDelay: 0,
        drainTimeout: '1s',
        logLevel: 'off',
        ...options,
      });
      meshes.push(mesh);
      return mesh;
    },
  };
}
