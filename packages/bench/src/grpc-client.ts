import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { unary } from './grpc-method.js';
import { openMesh } from './open-mesh.js';
import { deadlineMs, type RoleConfig } from './protocol.js';
import { tlsOf } from './tls.js';

/** grpc-js as it comes, in turn over the same endpoints as ours. */
function openBare({ material, ports }: RoleConfig): Client {
  const { cert, key, ca } = tlsOf(material);
  const target = `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(',')}`;
  return new Client(target, credentials.createSsl(ca, key, cert), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.default_authority': 'localhost',
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  });
}

/** Unary calls, all of them with a deadline: ours by its setting, a bare one by its caller. */
export async function openGrpc(config: RoleConfig): Promise<() => Promise<void>> {
  const mesh = config.variant === 'mesh' ? await openMesh(config) : undefined;
  const client =
    mesh === undefined
      ? openBare(config)
      : new Client('mesh:///server', mesh.grpc.credentials(), mesh.grpc.channelOptions());
  const text = 'x'.repeat(64);
  const { path, requestSerialize, responseDeserialize } = unary;
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        text,
        new Metadata(),
        mesh === undefined ? { deadline: Date.now() + deadlineMs } : {},
        (error) => (error ? reject(error) : resolve()),
      );
    });
}
