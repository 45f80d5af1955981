import type { ProxyKind } from './proxy.js';

const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** nginx on one process, connections kept, nothing logged. */
export const nginx: ProxyKind = {
  program: 'nginx',
  file: 'nginx.conf',
  configure({ side, port, upstream, dir, material: { cert, key, bundle } }) {
    const tlsIn = `ssl_certificate ${cert}; ssl_certificate_key ${key}; ssl_protocols TLSv1.3;
    ssl_client_certificate ${bundle}; ssl_verify_client on; ssl_verify_depth 3;`;
    const tlsOut = `proxy_ssl_certificate ${cert}; proxy_ssl_certificate_key ${key}; proxy_ssl_protocols TLSv1.3;
      proxy_ssl_trusted_certificate ${bundle}; proxy_ssl_verify on; proxy_ssl_verify_depth 3;
      proxy_ssl_name localhost; proxy_ssl_server_name on;`;
    return `daemon off; master_process off; worker_processes 1;
pid ${dir}/nginx.pid; error_log ${dir}/error.log warn;
events { worker_connections 4096; }
http {
  ${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join(' ')}
  access_log off; tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000;
  upstream out {
    server 127.0.0.1:${upstream};
    keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s;
  }
  server {
    listen 127.0.0.1:${port} ${side === 'server' ? 'ssl' : ''};
    ${side === 'server' ? tlsIn : ''}
    location / {
      proxy_pass ${side === 'client' ? 'https' : 'http'}://out;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      ${side === 'client' ? tlsOut : ''}
    }
  }
}
`;
  },
  args: (file, { dir }) => ['-p', dir, '-c', file, '-e', `${dir}/error.log`],
};
