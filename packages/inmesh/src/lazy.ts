import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * Loads a package when it is first needed, at once: `mesh.grpc` is no promise, and a service without gRPC should not
 * pay for it.
 */
export const lazy = {
  httpClient: (): typeof import('@inmesh/http/client') =>
    require('@inmesh/http/client') as typeof import('@inmesh/http/client'),
  manifests: (): Promise<typeof import('@inmesh/config/manifests')> => import('@inmesh/config/manifests'),
  grpc: (): typeof import('@inmesh/grpc') => require('@inmesh/grpc') as typeof import('@inmesh/grpc'),
};
