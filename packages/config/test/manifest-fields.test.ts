import { describe, expect, it } from 'vitest';
import { type FieldRow, type IstioKind, istioKinds } from '../src/manifest/field-tree.js';
import { type Support, supportRows } from '../src/manifest/support.js';
import { readManifests } from '../src/manifests.js';
import { resolveConfig } from '../src/resolve.js';

type Json = Record<string, unknown>;

const group = (kind: string): string =>
  /Policy$|^Peer/.test(kind) ? 'security.istio.io/v1' : 'networking.istio.io/v1';
const documentOf = (kind: string, spec: Json, name = 'it', more: Json = {}): Json => ({
  apiVersion: group(kind),
  kind,
  metadata: { name, ...more },
  spec,
});
const bank = 'bank.money.svc.cluster.local';
const idOf = (account: string): string => `spiffe://dev.local/ns/money/sa/${account}`;
const serviceEntry = {
  hosts: [bank],
  location: 'MESH_INTERNAL',
  resolution: 'STATIC',
  ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
  subjectAltNames: [idOf('bank'), idOf('teller')],
  endpoints: [
    { address: '10.0.0.1', labels: { version: 'v1' } },
    { address: '10.0.0.2', labels: { version: 'v2' } },
  ],
};
const files = {
  ...serviceEntry,
  hosts: ['files.shop.svc.cluster.local'],
  endpoints: undefined,
  subjectAltNames: undefined,
  workloadSelector: { labels: { app: 'files' } },
};
const subsets = [
  { name: 'v1', labels: { version: 'v1' } },
  { name: 'v2', labels: { version: 'v2' } },
];
const destinations = [
  { destination: { host: bank, subset: 'v1' }, weight: 50 },
  { destination: { host: bank, subset: 'v2' }, weight: 50 },
];

/** What each kind is tried in; others stand beside it, because documents name each other. */
const bases: Readonly<Record<IstioKind, Json>> = {
  AuthorizationPolicy: {
    action: 'ALLOW',
    rules: [
      { from: [{ source: {} }], to: [{ operation: {} }], when: [{ key: 'source.namespace', values: ['a'] }] },
    ],
  },
  PeerAuthentication: { mtls: { mode: 'PERMISSIVE' } },
  ServiceEntry: serviceEntry,
  WorkloadEntry: { address: '10.0.1.1', labels: { app: 'files' }, serviceAccount: 'files' },
  VirtualService: { hosts: [bank], http: [{ match: [{ uri: { prefix: '/a' } }], route: destinations }] },
  DestinationRule: { host: bank, subsets },
};
const beside: Readonly<Record<string, readonly Json[]>> = {
  WorkloadEntry: [
    documentOf('ServiceEntry', files, 'files', { namespace: 'shop' }),
    documentOf('WorkloadEntry', { address: '10.0.1.2', labels: { app: 'files' } }, 'other', {
      namespace: 'shop',
    }),
  ],
  ServiceEntry: [documentOf('WorkloadEntry', { address: '10.0.1.1', labels: { app: 'files' } })],
  VirtualService: [
    documentOf('ServiceEntry', serviceEntry),
    documentOf('DestinationRule', bases.DestinationRule, 'rule'),
  ],
  DestinationRule: [
    documentOf('ServiceEntry', serviceEntry),
    documentOf('ServiceEntry', { ...serviceEntry, hosts: [`other.${bank}`] }, 'other'),
  ],
};

/** What a field needs beside it, and its value where any of its type will not do. First match. */
interface Sample {
  readonly path: RegExp;
  readonly value?: unknown;
  readonly given?: Json;
}
const redirect = (more: Json): Json => ({ http: [{ match: [{ uri: { prefix: '/a' } }], redirect: more }] });
const samples: readonly Sample[] = [
  { path: /ipBlocks|notIpBlocks|IpBlocks\[\]$/, value: '10.0.0.0/8' },
  { path: /rincipals\[\]$/, value: 'dev.local/ns/a/sa/b' },
  { path: /erviceAccounts\[\]$/, value: 'a/b' },
  { path: /operation\.(?:ports|notPorts)/, value: '80' },
  { path: /operation\.(?:paths|notPaths)/, value: '/x' },
  { path: /when\[\]\.key$/, value: 'source.principal' },
  { path: /^rules.*trustDomains|notTrustDomains/, value: 'other.org' },
  { path: /^mtls\.mode$/, value: 'DISABLE' },
  { path: /^endpoints\[\]\.address$/, value: '10.9.9.9' },
  { path: /^address$/, value: '10.9.9.9' },
  { path: /^selector\.matchLabels/, value: 'other' },
  { path: /ocality$/, value: 'eu/a/b' },
  { path: /ports\{\}$/, value: 7001 },
  { path: /^endpoints\[\]\.serviceAccount$/, value: 'clerk', given: { subjectAltNames: undefined } },
  { path: /^serviceAccount$/, value: 'clerk' },
  { path: /^exportTo/, value: 'elsewhere' },
  {
    path: /^ports\[\]\.name$/,
    value: 'web',
    given: { endpoints: [{ address: '10.0.0.1', ports: { http: 81, web: 82 } }] },
  },
  { path: /^ports\[\]\.number$/, value: 81 },
  { path: /^ports\[\]\.protocol$/, value: 'GRPC' },
  { path: /^ports\[\]\.targetPort$/, value: 8080 },
  { path: /^subjectAltNames/, value: idOf('clerk') },
  { path: /^workloadSelector\.labels/, value: 'files', given: { endpoints: undefined } },
  { path: /^hosts\[\]$/, value: `other.${bank}` },
  { path: /^host$/, value: `other.${bank}` },
  { path: /gateways\[\]$/, value: 'ingress' },
  { path: /directResponse\.status$/, value: 418, given: { http: [{ directResponse: { status: 200 } }] } },
  { path: /directResponse\.body/, value: 'hello', given: { http: [{ directResponse: { status: 200 } }] } },
  { path: /redirect\.redirectCode/, value: 308, given: redirect({ authority: 'x' }) },
  { path: /redirect\.scheme/, value: 'https', given: redirect({ authority: 'x' }) },
  { path: /redirect\.authority/, value: 'y', given: redirect({ scheme: 'https' }) },
  { path: /redirect\.prefixRewrite/, value: '/b', given: redirect({ authority: 'x' }) },
  { path: /redirect\.uri/, value: '/b', given: redirect({ authority: 'x' }) },
  { path: /rewrite\.uri/, value: '/b' },
  { path: /retries\.attempts/, value: 5 },
  { path: /retries\.(?:backoff|perTryTimeout)/, value: '70ms' },
  { path: /retryIgnorePreviousHosts/, value: false },
  { path: /retryOn/, value: 'connect-failure' },
  { path: /match\[\]\.uri/, value: '/b', given: { http: [{ match: [{}], route: destinations }] } },
  { path: /method\.exact/, value: 'PUT' },
  {
    path: /destination\.host/,
    value: bank,
    given: { http: [{ route: [{ destination: { host: `other.${bank}` } }] }] },
  },
  { path: /destination\.port/, value: 80 },
  { path: /destination\.subset/, value: 'v2' },
  { path: /route\[\]\.weight/, value: 90 },
  { path: /^http\[\]\.timeout/, value: '7s' },
  { path: /subsets\[\]\.labels/, value: 'v2' },
  { path: /subsets\[\]\.name/, value: 'v3' },
  { path: /warmup\.(?:aggression|minimumPercent)/, value: 2 },
  { path: /\.duration$|DurationSecs$|Time$|interval$/, value: '7s' },
  { path: /tls\.subjectAltNames/, value: idOf('teller') },
];

/** What must be there for these, in the traffic policy at `at`. */
const company: readonly (readonly [RegExp, string, unknown])[] = [
  [/warmup\.(?:aggression|minimumPercent)/, 'loadBalancer.warmup.duration', '1s'],
  [/consecutiveLocalOriginFailures/, 'outlierDetection.splitExternalLocalOriginErrors', true],
];

function partsOf(path: string): readonly string[] {
  return path.match(/\[\]|\{\}|[^.[\]{}]+/g) ?? [];
}

/** A copy with a value at a path; of lists the first element is changed, and made where there is none. */
function put(target: unknown, parts: readonly string[], value: unknown): unknown {
  const [part, ...rest] = parts;
  if (part === undefined) return value;
  if (part === '[]') {
    const [first, ...others] = Array.isArray(target) ? (target as readonly unknown[]) : [];
    return [put(first, rest, value), ...others];
  }
  const key = part === '{}' ? (Object.keys((target as Json | undefined) ?? {})[0] ?? 'app') : part;
  const known = (target as Json | undefined) ?? {};
  return { ...known, [key]: put(known[key], rest, value) };
}

function valueOf({ path, type, support }: Row): unknown {
  if (support.kind === 'fixed') return support.values.at(-1);
  const sample = samples.find((one) => one.path.test(path));
  if (sample?.value !== undefined) return sample.value;
  if (type.includes('|')) return type.split('|').at(-1);
  return { string: 'x', boolean: true, integer: 7, number: 7 }[type];
}

type Row = FieldRow & { readonly support: Support };

/** Keys of maps as a header or a label has them. */
function keyed(path: string): readonly string[] {
  return partsOf(path).map((part, i, all) => {
    const before = all[i - 1] ?? '';
    if (part !== '{}') return part;
    if (/abels$/i.test(before))
      return path.startsWith('subsets') || path.startsWith('endpoints') ? 'version' : 'app';
    return before === 'ports' ? 'http' : 'x-it';
  });
}

interface Outcome {
  readonly values: string;
  readonly problems: string;
}

function outcomeOf(kind: IstioKind, spec: unknown): Outcome {
  const namespace = kind === 'WorkloadEntry' ? { namespace: 'shop' } : {};
  const documents = [documentOf(kind, spec as Json, 'it', namespace), ...(beside[kind] ?? [])];
  const file = readManifests(
    new Map([['it.yaml', documents.map((one) => JSON.stringify(one)).join('\n---\n')]]),
  );
  try {
    const { values } = resolveConfig({
      env: { INMESH_SERVICE_NAME: 'web', INMESH_LABELS: 'app=web' },
      cwd: '/nonexistent',
      file,
    });
    const { mtls, policies, upstreams, routes } = values;
    const plain = { mtls, policies, upstreams: [...upstreams], routes: [...routes] };
    return { values: JSON.stringify(plain), problems: '' };
  } catch (error) {
    return { values: '', problems: (error as Error).message };
  }
}

/** The document without the field, and with it. */
function pairOf(kind: IstioKind, row: Row): readonly [unknown, unknown] {
  const sample = samples.find((one) => one.path.test(row.path));
  let base: unknown = { ...bases[kind], ...sample?.given };
  for (const [path, at, value] of company) {
    if (!path.test(row.path)) continue;
    const top = row.path.slice(0, row.path.indexOf(at.split('.')[0] ?? ''));
    base = put(base, partsOf(top + at), value);
  }
  return [base, put(base, keyed(row.path), valueOf(row))];
}

const rows = istioKinds.flatMap((kind) => supportRows(kind).map((row) => ({ kind, ...row })));

/** What Istio lets one say and what makes no difference here, and why. */
const withoutEffect: ReadonlyMap<string, string> = new Map([
  ['ServiceEntry ports[].protocol', 'HTTP and gRPC are both served by every port'],
  ['ServiceEntry endpoints[].labels{}', 'subsets of a DestinationRule select by them: manifests.test.ts'],
  ['ServiceEntry resolution', 'names are looked up where there are names, and an address is one either way'],
  [
    'VirtualService http[].route[].destination.port.number',
    'a service has one port, and another one is an error',
  ],
]);

describe('every field of every kind of Istio', () => {
  it('is in the table', () => {
    expect(rows.length).toBeGreaterThan(300);
  });

  for (const kind of istioKinds)
    it(`is accepted in the document that fields of ${kind} are tried in`, () => {
      expect(outcomeOf(kind, bases[kind]).problems).toBe('');
    });

  it.each(rows.filter(({ support }) => support.kind === 'refused'))(
    '$kind $path is refused by name',
    (row) => {
      const [, withIt] = pairOf(row.kind, row);
      const { problems } = outcomeOf(row.kind, withIt);
      expect(problems).toMatch(/not supported/);
      // Named itself, or by what holds it and is refused as a whole.
      const names = partsOf(row.path).filter((part) => !/^[[{]/.test(part));
      expect(names.some((name) => new RegExp(`["./]${name}["\\[.]|"${name}"`).test(problems))).toBe(true);
    },
  );

  it.each(rows.filter(({ support }) => support.kind !== 'refused'))('$kind $path has an effect', (row) => {
    const [without, withIt] = pairOf(row.kind, row);
    const [before, after] = [outcomeOf(row.kind, without), outcomeOf(row.kind, withIt)];
    expect(after.problems).toBe('');
    const why = withoutEffect.get(`${row.kind} ${row.path}`);
    // What may say only what holds anyway changes nothing.
    const holdsAnyway = row.support.kind === 'fixed' && !/\.simple$|^action$/.test(row.path);
    if (why === undefined && !holdsAnyway) expect(after.values).not.toBe(before.values);
  });

  it.each(rows.filter(({ support }) => support.kind === 'fixed'))(
    '$kind $path refuses other words',
    (row) => {
      const words = row.type === 'boolean' ? [true, false] : row.type.split('|');
      const allowed = row.support.kind === 'fixed' ? row.support.values : [];
      for (const word of words.filter((one) => !allowed.includes(one))) {
        const { problems } = outcomeOf(row.kind, put(bases[row.kind], keyed(row.path), word));
        expect(problems).toMatch(/not supported/);
      }
    },
  );
});
