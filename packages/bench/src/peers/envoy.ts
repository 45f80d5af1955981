import type { Material } from '../protocol.js';
import { istioInbound, istioRetries, outlierDetection } from './envoy-istio.js';
import type { ProxyKind, ProxySeat } from './proxy.js';

const types = 'type.googleapis.com/envoy.extensions';

/** An extension as Envoy wants it. */
function extension(name: string, type: string, fields: object): object {
  return { name, typed_config: { '@type': `${types}.${type}`, ...fields } };
}

function address(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function tlsContext({ cert, key, bundle }: Material): object {
  const version = 'TLSv1_3';
  const id = { san_type: 'URI', matcher: { prefix: 'spiffe://dev.local/' } };
  return {
    alpn_protocols: ['http/1.1'],
    tls_params: { tls_minimum_protocol_version: version, tls_maximum_protocol_version: version },
    tls_certificates: [{ certificate_chain: { filename: cert }, private_key: { filename: key } }],
    validation_context: { trusted_ca: { filename: bundle }, match_typed_subject_alt_names: [id] },
  };
}

function listener({ side, port, material }: ProxySeat, isIstio: boolean): object {
  const inbound = isIstio && side === 'server' ? istioInbound() : { filters: [], manager: {} };
  const route = { match: { prefix: '/' }, route: { cluster: 'out', timeout: isIstio ? '10s' : '0s' } };
  const retries = isIstio && side === 'client' ? istioRetries : {};
  const manager = extension('hcm', 'filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: side,
    generate_request_id: isIstio,
    normalize_path: isIstio,
    ...inbound.manager,
    http_filters: [...inbound.filters, extension('router', 'filters.http.router.v3.Router', {})],
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], ...retries, routes: [route] }] },
  });
  const tls = extension('tls', 'transport_sockets.tls.v3.DownstreamTlsContext', {
    require_client_certificate: true,
    common_tls_context: tlsContext(material),
  });
  const chain = { filters: [manager], ...(side === 'server' ? { transport_socket: tls } : {}) };
  return { name: 'in', address: address(port), filter_chains: [chain] };
}

function cluster({ side, upstream, material }: ProxySeat, isIstio: boolean): object {
  const most = { max_connections: 1e6, max_pending_requests: 1e6, max_requests: 1e6, max_retries: 1e6 };
  const endpoint = { lb_endpoints: [{ endpoint: { address: address(upstream) } }] };
  const tls = extension('tls', 'transport_sockets.tls.v3.UpstreamTlsContext', {
    sni: 'localhost',
    common_tls_context: tlsContext(material),
  });
  return {
    name: 'out',
    type: 'STATIC',
    lb_policy: 'LEAST_REQUEST',
    circuit_breakers: { thresholds: [most] },
    ...(isIstio ? outlierDetection : {}),
    load_assignment: { cluster_name: 'out', endpoints: [endpoint] },
    ...(side === 'client' ? { transport_socket: tls } : {}),
  };
}

function kind(isIstio: boolean): ProxyKind {
  return {
    program: 'envoy',
    file: 'envoy.json',
    configure: (seat) =>
      JSON.stringify({
        static_resources: { listeners: [listener(seat, isIstio)], clusters: [cluster(seat, isIstio)] },
      }),
    args: (file) => ['-c', file, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'],
  };
}

/** TLS and routing alone. */
export const envoyLean = kind(false);
/** What a sidecar of Istio does: policies, XFCC, request ids, retries, outlier detection, statistics. */
export const envoyIstio = kind(true);
