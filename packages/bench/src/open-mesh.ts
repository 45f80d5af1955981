import { createMesh } from 'inmesh';
import { deadlineMs, type RoleConfig } from './protocol.js';

/** The mesh of a client. Retries are armed by default; so is picking the better of two. */
export async function openMesh({ material, variant, ports }: RoleConfig): ReturnType<typeof createMesh> {
  return await createMesh({
    env: {},
    serviceName: 'client',
    certFile: material.cert,
    keyFile: material.key,
    caFile: material.bundle,
    upstreams: { server: ports.map((port) => `127.0.0.1:${port}`).join(',') },
    ...(variant === 'mesh-one' ? {} : { deadline: deadlineMs }),
    logLevel: 'error',
  });
}
