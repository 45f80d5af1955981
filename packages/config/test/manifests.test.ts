import { describe, expect, it, vi } from 'vitest';
import type { MeshSettings, ResolvedConfig } from '../src/config-sources.js';
import { readManifests } from '../src/manifests.js';
import { resolveConfig } from '../src/resolve.js';

interface Given {
  readonly env?: Readonly<Record<string, string>>;
  readonly code?: MeshSettings;
}

const resolve = (text: string, { env = {}, code }: Given = {}): ResolvedConfig =>
  resolveConfig({
    env: { INMESH_SERVICE_NAME: 'web', ...env },
    code,
    cwd: '/nonexistent',
    file: readManifests(new Map([['inmesh.yaml', text]])),
  });
const mistake = (text: string, given?: Given): string => {
  try {
    resolve(text, given);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
};
const mesh = (spec: string): string =>
  `apiVersion: inmesh.dev/v1alpha1\nkind: Mesh\nspec:\n  ${spec.replaceAll('\n', '\n  ')}\n`;
const peer = (mode: string, more = ''): string =>
  `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p${more}}\nspec: {mtls: {mode: ${mode}}}\n`;
const bank = (more = ''): string => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, uid: 1, annotations: {a: b}}
status: {x: 1}
spec:
  hosts: [bank.money.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 10.0.0.1, labels: {version: v1}}
  - {address: 10.0.0.2, labels: {version: v2}, weight: 3}
${more}`;
const rule = (spec: string): string =>
  `---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: bank}\nspec: {host: bank.money, ${spec}}\n`;
const virtual = (http: string): string =>
  `---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bank, namespace: money}\nspec:\n  hosts: [bank]\n  http:\n${http}`;

describe('a configuration file', () => {
  it('tells the first hundred of thousands of mistakes, and that there are more', () => {
    const one = 'apiVersion: v1\nkind: Service\n---\n';
    const said = mistake(one.repeat(3000));
    expect(said.match(/^error\[/gm)).toHaveLength(100);
    expect(said).toContain('there are more mistakes; these are the first 100');
    expect(mistake(one.repeat(50))).not.toContain('there are more');
  });

  it('prints nothing of its own about keys that are maps, and refuses them', () => {
    const said = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      expect(mistake(mesh('{timeout: 2s}: 1'))).toContain('there is no setting "{ timeout: 2s }"');
      expect(said).not.toHaveBeenCalled();
    } finally {
      said.mockRestore();
    }
  });

  it('gives settings, and where each stands', () => {
    const { values, provenance } = resolve(
      mesh('timeout: 2s\nlabels: {app: shop}\nupstreams:\n  orders: 127.0.0.1:1'),
    );
    expect(values.timeout).toBe(2000);
    expect(values.labels).toEqual({ app: 'shop' });
    expect(provenance.get('timeout')).toBe('inmesh.yaml:4:12');
    expect(values.upstreams.get('orders')?.identities[0]?.uri).toBe(
      'spiffe://dev.local/ns/default/sa/orders',
    );
  });

  it('shows everything that is wrong at once, each with its place, a frame, a suggestion and a page', () => {
    const text = `${mesh('timout: 2s\nretries: many')}${peer('STRIKT')}---\nkind: Gateway\napiVersion: networking.istio.io/v1\n`;
    const message = mistake(text, { env: { INMESH_TIMOUT: '1s' } });
    expect(message).toContain('there is no variable INMESH_TIMOUT; did you mean INMESH_TIMEOUT?');
    expect(
      message,
    ).toContain(`error[INMESH_ERR_CONFIG_UNKNOWN]: there is no setting "timout"; did you mean "timeout"?
 --> inmesh.yaml:4:3
  |
3 | spec:
4 |   timout: 2s
  |   ^^^^^^
  = see https://`);
    expect(message).toContain('did you mean STRICT?');
    expect(message).toContain('kind "Gateway" is not supported');
    expect(message).toContain('retries: ');
    expect(message.match(/^error\[/gm)).toHaveLength(4);
  });

  it.each([
    ['', 'there is nothing in it'],
    ['{', 'error[INMESH_ERR_CONFIG_INVALID]'],
    ['a: 1', '"apiVersion" and "kind"'],
    [`${mesh('timeout: 1s')}---\n${mesh('timeout: 2s')}`, 'is a Mesh already'],
    [mesh('timeout:'), '"timeout" has no value'],
    [mesh('timeout: 1s').replace('v1alpha1', 'v2'), 'apiVersion of Mesh'],
    [`${mesh('timeout: 1s')}spek: 1\n`, 'did you mean spec?'],
    [peer('STRICT').replace('name: p', 'name: P_'), 'Kubernetes name'],
    [peer('STRICT') + peer('PERMISSIVE', '2'), 'selects the same'],
    [peer('STRICT').replace('mode: STRICT', 'mode: 1'), 'expected one of'],
    ['a: &a [*a]\n', 'error['],
    [`&a [${'*a,'.repeat(99)}]`, 'error['],
  ])('refuses %j', (text, said) => {
    expect(mistake(text)).toContain(said);
  });

  it.each([
    ['file alone', 'PERMISSIVE', {}, 'permissive', 'inmesh.yaml:'],
    [
      'the variable is stricter',
      'PERMISSIVE',
      { env: { INMESH_MTLS: 'strict' } },
      'strict',
      'INMESH_MTLS, stricter than inmesh.yaml:',
    ],
    [
      'the file is stricter',
      'STRICT',
      { env: { INMESH_MTLS: 'disable' } },
      'strict',
      ', stricter than INMESH_MTLS',
    ],
    ['code is not above it', 'STRICT', { code: { mtls: 'permissive' } }, 'strict', ', stricter than code'],
    ['UNSET says nothing', 'UNSET', { env: { INMESH_MTLS: 'permissive' } }, 'permissive', 'INMESH_MTLS'],
  ] satisfies [string, string, Given, string, string][])(
    'never loosens what another source says of mTLS: %s',
    (_name, mode, given, mtls, said) => {
      const { values, provenance } = resolve(peer(mode), given);
      expect(values.mtls).toBe(mtls);
      expect(provenance.get('mtls')).toContain(said);
    },
  );

  it('lets code go before the environment, and that before the file, where nothing is guarded', () => {
    const text = mesh('timeout: 3s\nauthzDefault: deny\npathNormalization: REJECT_ESCAPED_SLASHES');
    const env = { INMESH_TIMEOUT: '2s', INMESH_AUTHZ_DEFAULT: 'allow', INMESH_PATH_NORMALIZATION: 'NONE' };
    expect(resolve(text, { env }).values.timeout).toBe(2000);
    expect(resolve(text, { env, code: { timeout: 1000 } }).values.timeout).toBe(1000);
    const { values, provenance } = resolve(text, { env });
    expect([values.authzDefault, values.pathNormalization]).toEqual(['deny', 'REJECT_ESCAPED_SLASHES']);
    expect(provenance.get('authzDefault')).toMatch(/^inmesh\.yaml:.*, stricter than INMESH_AUTHZ_DEFAULT$/);
  });

  it('refuses two lists of callers: whoever is in one of them only would be let in by that one', () => {
    const text = mesh('allow: a');
    expect(mistake(text, { env: { INMESH_ALLOW: 'a,b' } })).toContain('name different callers for allow');
    expect(resolve(text, { env: { INMESH_ALLOW: 'a' } }).values.allow).toBeDefined();
  });

  it('narrows identities that the file expects, and never widens them', () => {
    const text = mesh('upstreams:\n  orders:\n    endpoints: 127.0.0.1:1\n    identity: a,b');
    const narrowed = resolve(text, { env: { INMESH_UPSTREAM_ORDERS_IDENTITY: 'b' } });
    expect(narrowed.values.upstreams.get('orders')?.identities.map(({ uri }) => uri)).toEqual([
      'spiffe://dev.local/ns/default/sa/b',
    ]);
    expect(mistake(text, { env: { INMESH_UPSTREAM_ORDERS_IDENTITY: 'c' } })).toContain(
      'expects other identities',
    );
  });

  it('has policies, with the place of each rule', () => {
    const text = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, creationTimestamp: x}
spec:
  rules:
  - from: [{source: {principals: [a]}}]
`;
    expect(resolve(text).values.policies).toMatchObject([
      { name: 'p', namespace: 'default', rules: [{ origin: { source: 'inmesh.yaml', line: 6 } }] },
    ]);
    expect(mistake(text.replace('principals', 'principal'))).toContain('did you mean "principals"?');
  });
});

describe('services, rules and routes of Istio', () => {
  it('become upstreams, subsets among them, and routes with their shares', () => {
    const text =
      bank() +
      rule(
        'subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}], trafficPolicy: {outlierDetection: {}}',
      ) +
      virtual(`  - match: [{uri: {prefix: /a}, headers: {x-beta: {exact: "1"}}}]
    route: [{destination: {host: bank, subset: v2}}]
    rewrite: {uri: /b}
  - route:
    - {destination: {host: bank, subset: v1}, weight: 90}
    - {destination: {host: bank, subset: v2}, weight: 10}
    retries: {attempts: 3, perTryTimeout: 1.5s, retryOn: "5xx,reset"}
    timeout: 1m30s
`);
    const { upstreams, routes } = resolve(text).values;
    expect([...upstreams.keys()]).toEqual(['bank.money', 'bank.money|v1', 'bank.money|v2']);
    expect(upstreams.get('bank.money|v2')).toMatchObject({
      endpoints: { specs: [{ host: '10.0.0.2', port: 80, weight: 3 }] },
      identities: [{ uri: 'spiffe://dev.local/ns/money/sa/bank' }],
      rules: { outlier: { consecutive5xx: 5, maxEjectionPercent: 10 }, panicPercent: 0 },
    });
    expect(routes.get('bank.money')).toMatchObject([
      {
        matches: [{ path: { prefix: '/a' }, headers: [{ name: 'x-beta', exact: '1' }] }],
        action: { backends: [{ cluster: 'bank.money|v2', weight: 1 }], rewrite: { prefix: '/b' } },
      },
      {
        action: {
          backends: [
            { cluster: 'bank.money|v1', weight: 90 },
            { cluster: 'bank.money|v2', weight: 10 },
          ],
        },
        rules: {
          timeoutMs: 90_000,
          retry: { maxAttempts: 4, perTryTimeoutMs: 1500, conditions: ['5xx', 'reset'] },
        },
      },
    ]);
  });

  it.each([
    [bank().replace('location: MESH_INTERNAL', ''), 'write MESH_INTERNAL'],
    [bank().replace('resolution: STATIC', ''), 'write STATIC or DNS'],
    [bank().replace('10.0.0.1', 'nowhere.example'), 'is no IP address'],
    [bank().replace('number: 80', 'number: 99999'), 'is no port'],
    [bank().replace('bank.money.svc.cluster.local', '"*.example.com"'), 'wildcard'],
    [bank().replace('bank.money.svc.cluster.local', 'api.example.com'), 'whom to expect'],
    [bank() + bank(), 'describes bank.money already'],
    [`${bank()}  addresses: [10.9.0.1]\n`, '"spec.addresses" of ServiceEntry is not supported'],
    [
      bank() + rule('trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}'),
      'is not supported',
    ],
    [
      bank() + rule('subsets: [{name: v9, labels: {version: v9}}]'),
      'no endpoint of bank.money has these labels',
    ],
    [bank() + rule('trafficPolicy: {tls: {mode: DISABLE}}'), 'it may be ISTIO_MUTUAL'],
    [
      bank() + rule('trafficPolicy: {tls: {subjectAltNames: ["spiffe://dev.local/ns/x/sa/y"]}}'),
      'none of these is an identity',
    ],
    [rule('trafficPolicy: {}'), 'there is no upstream and no ServiceEntry "bank.money"'],
    [bank() + rule('trafficPolicy: {}') + rule('trafficPolicy: {}'), 'has rules for bank.money already'],
    [bank() + virtual('  - route: [{destination: {host: bnak}}]\n'), 'did you mean'],
    [bank() + virtual('  - route: [{destination: {host: bank, subset: v1}}]\n'), 'no DestinationRule'],
    [
      bank() + virtual('  - route: [{destination: {host: bank, port: {number: 81}}}]\n'),
      'reached at port 80',
    ],
    [
      bank() + virtual('  - route: [{destination: {host: bank}, weight: 0}, {destination: {host: bank}}]\n'),
      'sum to 0',
    ],
    [
      bank() +
        virtual(
          '  - fault: {abort: {httpStatus: 500, percentage: {value: 1}}}\n    route: [{destination: {host: bank}}]\n',
        ),
      '"spec.http[].fault" of VirtualService is not supported',
    ],
    [bank() + virtual('  - timeout: 90\n    route: [{destination: {host: bank}}]\n'), 'write it in quotes'],
    [bank() + virtual('  - timeout: "90"\n    route: [{destination: {host: bank}}]\n'), 'did you mean "90s"'],
    [bank() + virtual('  - retries: {retryOn: 5xxx}\n    route: [{destination: {host: bank}}]\n'), '5xxx'],
  ])('are refused where they cannot be enforced: %#', (text, said) => {
    expect(mistake(text)).toContain(said);
  });
});
