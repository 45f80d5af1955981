import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProxyKind } from './proxy.js';

/** HAProxy on one thread, connections kept and shared. */
export const haproxy: ProxyKind = {
  program: 'haproxy',
  file: 'haproxy.cfg',
  configure({ side, port, upstream, dir, material }) {
    const pem = join(dir, 'identity.pem');
    writeFileSync(pem, readFileSync(material.cert, 'utf8') + readFileSync(material.key, 'utf8'), {
      mode: 0o600,
    });
    const tls = `ssl crt ${pem} ca-file ${material.bundle} verify required alpn http/1.1`;
    return `global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:${port} ${side === 'server' ? tls : ''}
  default_backend out
backend out
  server one 127.0.0.1:${upstream} ${side === 'client' ? `${tls} sni str(localhost) verifyhost localhost` : ''}
`;
  },
  args: (file) => ['-db', '-f', file],
};
