import { connect } from 'node:tls';
import type { RoleConfig } from './protocol.js';
import { tlsOf } from './tls.js';

/** Opens idle connections, each after one request, and keeps them. */
export async function holdConnections({ material, ports }: RoleConfig, count: number): Promise<void> {
  const tls = tlsOf(material);
  const openOne = (): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({
        ...tls,
        port: ports[0] ?? 0,
        host: '127.0.0.1',
        servername: 'localhost',
        ALPNProtocols: ['http/1.1'],
      });
      socket.on('error', reject);
      socket.on('secureConnect', () => socket.write('GET /s1/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n'));
      socket.once('data', () => resolve());
    });
  for (let opened = 0; opened < count; opened += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - opened) }, openOne));
}
