import { fileURLToPath } from 'node:url';
import { type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';

/** The proto file, loaded. */
export const definition: PackageDefinition = loadSync(
  fileURLToPath(new URL('../proto/echo.proto', import.meta.url)),
  { keepCase: true, longs: Number, defaults: true },
);

/** Client of `demo.v1.Echo`, service definition attached. */
export const EchoClient = ((loadPackageDefinition(definition)['demo'] as GrpcObject)['v1'] as GrpcObject)[
  'Echo'
] as ServiceClientConstructor;
