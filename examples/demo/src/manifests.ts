/** A service as manifests describe it: its name, what it speaks, and where its replicas are. */
export interface Entry {
  readonly name: string;
  readonly protocol: 'grpc' | 'http';
  readonly ports: readonly number[];
}

/** What every service goes by. */
export const settings = `apiVersion: inmesh.dev/v1alpha1
kind: Mesh
spec:
  drainDelay: 100ms
  headersTimeout: 5s
`;

/** Who may call whom. */
export const policies = `# Who may call whom. The one identity that may use /admin is admin.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: callers
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["dev.local/ns/default/sa/web", "dev.local/ns/default/sa/orders", "dev.local/ns/default/sa/admin"]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: admin-only
spec:
  action: DENY
  rules:
  - from:
    - source:
        notPrincipals: ["dev.local/ns/default/sa/admin"]
    to:
    - operation:
        paths: ["/admin", "/admin/*"]
`;

/** A policy that comes while everything runs. */
export const freeze = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: freeze
spec:
  action: DENY
  rules:
  - to:
    - operation:
        paths: ["/frozen"]
`;

function entry({ name, protocol, ports }: Entry): string {
  const endpoints = ports.map((port) => `  - address: 127.0.0.1\n    ports: { main: ${port} }\n`).join('');
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: ${name}
spec:
  hosts: [${name}.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - { number: 80, name: main, protocol: ${protocol.toUpperCase()} }
  endpoints:
${endpoints}`;
}

const retries = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: orders
spec:
  hosts: [orders]
  http:
  - retries:
      attempts: 2
      retryOn: connect-failure,refused-stream,reset,unavailable,cancelled,503
    route:
    - destination: { host: orders }
`;

/** Where services are, and how they are called. */
export function services(entries: readonly Entry[]): string {
  const hasOrders = entries.some(({ name }) => name === 'orders');
  return entries.map(entry).join('') + (hasOrders ? retries : '');
}
