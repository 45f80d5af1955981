import { isDeepStrictEqual } from 'node:util';
import { type Kind, parseAllow, resolveConfig, settings } from '@inmesh/config';
import { readManifests } from '@inmesh/config/manifests';
import { parsePolicies } from '@inmesh/config/policies';
import { parseRetryOn, type RouteMatch } from '@inmesh/core';
import { defaultRouteRules, RouteTable } from '@inmesh/resilience';
import fc from 'fast-check';
import { promise, refusable, type Target, target } from './target.js';
import { soup, spoiled } from './texts.js';

const own = { namespace: 'default', trustDomain: 'dev.local' };
const origin = { source: 'fuzz', line: 1, column: 1 };
const yaml = [
  '\n',
  '  ',
  ': ',
  '- ',
  '{',
  '}',
  '[',
  ']',
  '"',
  '&a ',
  '*a',
  '!!int ',
  '|',
  '---\n',
  '\t',
  '\0',
  '0x1',
];
const policy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: ["dev.local/ns/a/sa/b"], ipBlocks: ["10.0.0.0/8"]}}]
    to: [{operation: {paths: ["/admin/*", "/x/{*}"], methods: [GET]}}]
    when: [{key: "request.headers[a]", values: ["b*"]}]
`;
const service = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
  - match: [{uri: {prefix: /a}}]
    timeout: 250ms
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: "5xx,reset"}
    route: [{destination: {host: orders}}]
`;
const endpoints = [
  '10.0.0.1',
  ':',
  '80',
  ',',
  '[::1]',
  'dns:',
  'srv:',
  'a.b',
  '99999',
  '@',
  '/',
  '*',
  ' ',
  'http://',
];
const durations = ['1', '0', '250', 'ms', 's', 'm', 'h', '-', '.', 'e9', ' ', '1e999', 'Infinity'];
const variable = fc.constantFrom(
  'INMESH_DRAIN_DELAY',
  'INMESH_DRAIN_TIMEOUT',
  'INMESH_HANDSHAKE_TIMEOUT',
  'INMESH_SNIFF_TIMEOUT',
  'INMESH_MTLS',
  'INMESH_SERVICE',
  'INMESH_ALLOW',
  'INMESH_MAX_CONNECTIONS',
  'INMESH_UPSTREAM_ORDERS',
  'INMESH_UPSTREAM_ORDERS_IDENTITY',
  'INMESH_DRAIN_DELAYS',
);
const words = [
  ...durations,
  'true',
  'off',
  'errors',
  '0.01',
  ',',
  '=',
  ':',
  '[::1]',
  '/',
  '\0',
  'a',
  'A',
  '-',
  '.',
];
const kinds = new Map(settings.map(({ key, kind }) => [key as string, kind as Kind<unknown>]));
const printed = settings.flatMap(({ kind, fallback }) =>
  fallback === undefined ? [] : [(kind as Kind<unknown>).print(fallback)],
);
const text = fc.oneof(soup(...durations), soup(...endpoints), fc.string({ maxLength: 8 }));

function checkSettings(lines: readonly (readonly [string, string])[]): void {
  const found = refusable(() => resolveConfig({ env: Object.fromEntries(lines), cwd: '/' }));
  if (found === undefined) return;
  for (const [name, value] of Object.entries(found.values))
    promise(
      typeof value !== 'number' || (Number.isFinite(value) && value >= 0),
      `${name} is a number in range`,
    );
}

/** What is read is written so that it is read again as the same, and is what may be given in code. */
function checkValue([key, source]: readonly [string, string]): void {
  const kind = kinds.get(key) as Kind<unknown>;
  let found: unknown;
  try {
    found = kind.parse(source);
  } catch (error) {
    // Documented: an Error saying what is allowed; who reads the setting adds the place.
    promise(error instanceof Error && !(error instanceof TypeError), 'it refuses with an Error');
    return;
  }
  if (typeof found !== 'object')
    promise(isDeepStrictEqual(kind.check(found), found), `a ${kind.name} is one in code, too`);
  promise(isDeepStrictEqual(kind.parse(kind.print(found)), found), `a ${kind.name} round-trips`);
}

function checkRoute([match, path]: readonly [RouteMatch, string]): void {
  const table = refusable(
    () =>
      new RouteTable([
        {
          name: 'r',
          matches: [match],
          action: { kind: 'forward', backends: [{ cluster: 'a' }] },
          rules: defaultRouteRules,
          origin,
        },
      ]),
  );
  const header = (): undefined => undefined;
  table?.route({ method: 'GET', target: path, scheme: 'http', authority: 'a', header }, () => 0.5);
}

const match = fc.oneof(
  fc.record({ kind: fc.constant('exact'), value: text }),
  fc.record({ kind: fc.constant('prefix'), value: soup('/', 'a', '//', '%2f', '?') }),
  fc.record({
    kind: fc.constant('regex'),
    value: soup('a', '.', '*', '(', ')', '[', '\\', '^', '$', '|', '+'),
  }),
);

/** What operators write. */
export const configTargets: readonly Target[] = [
  target('policies', fc.oneof(spoiled(yaml, policy), soup(...yaml, 'kind', 'spec')), (source) => {
    const found = refusable(() => parsePolicies(source, 'fuzz.yaml', { namespace: 'default' }));
    if (found !== undefined) promise(found.length > 0, 'a text without a policy is refused');
  }),
  target('manifests', fc.oneof(spoiled(yaml, service, policy), soup(...yaml, 'kind', 'spec')), (source) => {
    promise(readManifests(new Map([['fuzz.yaml', source]])) !== undefined, 'mistakes are told, not thrown');
  }),
  target('allow', soup('spiffe://', '/', '*', '/*', ',', ' ', 'a', 'a.b', 'web', '/ns/'), (source) => {
    const found = refusable(() => parseAllow(source, own));
    const principals = found?.rules[0]?.from?.[0]?.principals ?? [];
    if (principals.includes('*')) promise(/(?:^|,)\s*\*\s*(?:,|$)/.test(source), 'everybody was said');
  }),
  target('endpoints', fc.oneof(soup(...endpoints), spoiled(endpoints, '10.0.0.1:80,[::1]:81')), (source) =>
    checkSettings([['INMESH_UPSTREAM_ORDERS', source]]),
  ),
  target('settings', fc.array(fc.tuple(variable, text), { maxLength: 3 }), checkSettings),
  target(
    'values',
    fc.tuple(
      fc.constantFrom(...kinds.keys()),
      fc.oneof(
        soup(...words),
        spoiled(words, ...printed, 'app=web,version=v2', '/livez,/readyz', '[::1]:9100'),
      ),
    ),
    checkValue,
  ),
  target('retry-on', soup('5xx', 'reset', ',', ' ', '503', '99', '1000', 'connect-failure'), (source) => {
    let found: ReturnType<typeof parseRetryOn>;
    try {
      found = parseRetryOn(source);
    } catch (error) {
      // Documented: an Error that names the word; who reads the setting adds the place.
      promise(error instanceof Error && error.constructor === Error, 'it refuses with a plain Error');
      return;
    }
    promise(
      found.statusCodes.every((code) => code >= 100 && code <= 599),
      'statuses are statuses',
    );
  }),
  target(
    'route',
    fc.tuple(
      fc.record({ path: match }) as unknown as fc.Arbitrary<RouteMatch>,
      soup('/', 'a', '?', '#', '%2f', '='),
    ),
    checkRoute,
  ),
];
