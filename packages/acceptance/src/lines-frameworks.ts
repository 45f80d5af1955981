import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { counts, curl, exchange, get, statusOf } from './clients.js';
import type { Context, Line } from './context.js';
import { check, type Service } from './harness.js';

const frameworks = ['express', 'express4', 'fastify', 'koa', 'hono', 'http'] as const;

const spellings: readonly (readonly [string, string])[] = [
  ['//admin', '//admin'],
  ['/%2fadmin', '/%2fadmin'],
  ['/./admin', '/./admin'],
  ['/x/../admin', '/x/../admin'],
  ['/%61dmin', '/%61dmin'],
  ['/Admin', '/Admin'],
  ['/admin/', '/admin/'],
  ['/admin;x', '/admin;x'],
  ['/admin%00', '/admin%00'],
  ['/admin#f', '/admin#f'],
  ['absolute form', 'http://localhost/admin'],
  ['/admin?x', '/admin?x'],
  ['/%5cadmin', '/%5cadmin'],
  ['/\\admin', '/\\admin'],
  ['/x/%2e%2e/admin', '/x/%2e%2e/admin'],
  ['/secret', '/secret'],
  ['/Secret', '/Secret'],
  ['/secret/', '/secret/'],
  ['/SECRET/', '/SECRET/'],
  ['/%73ecret', '/%73ecret'],
  ['/secret;x', '/secret;x'],
];
/** What our default normalization makes `/admin` of, or refuses. */
const normalizesToAdmin = new Set([
  '//admin',
  '/./admin',
  '/x/../admin',
  '/%61dmin',
  '/admin#f',
  'absolute form',
  '/admin?x',
  '/\\admin',
  '/x/%2e%2e/admin',
  '/%2fadmin',
  '/%5cadmin',
  '/admin%00',
  '/secret',
  '/%73ecret',
]);

const denyAdmin = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny-admin }
spec:
  action: DENY
  rules:
  - from: [{ source: { notPrincipals: ["dev.local/ns/default/sa/admin"] } }]
    to: [{ operation: { paths: ["/admin", "/admin/*", "/secret"] } }]
`;

interface FrameworkPair {
  readonly framework: string;
  readonly guarded: Service;
  readonly open: Service;
}

let pairs: Promise<readonly FrameworkPair[]> | undefined;

/** One guarded and one open service of each framework; started once for two lines. */
function frameworkPairs({ bench, fleet }: Context): Promise<readonly FrameworkPair[]> {
  pairs ??= (async () => {
    const policyDir = bench.newDir('deny-admin');
    writeFileSync(join(policyDir, 'policy.yaml'), denyAdmin);
    const started: FrameworkPair[] = [];
    for (const framework of frameworks) {
      const env = { INMESH_DEV_CA_DIR: fleet.caDir, DEMO_FRAMEWORK: framework };
      const [guarded, open] = await Promise.all([
        bench.service('guarded', { ...env, INMESH_POLICY_DIR: policyDir }),
        bench.service('open', env),
      ]);
      started.push({ framework, guarded, open });
    }
    return started;
  })();
  return pairs;
}

export const spellingsOfAdmin: Line = {
  title: 'DENY /admin holds against every spelling, on every framework; a control passes',
  async run(context) {
    const { web, admin } = context;
    const routed: string[] = [];
    let asked = 0;
    for (const { framework, guarded, open } of await frameworkPairs(context)) {
      for (const [name, target] of [...spellings, ['two Hosts', 'two Hosts'] as const]) {
        const request =
          name === 'two Hosts'
            ? 'GET /admin HTTP/1.1\r\nHost: a\r\nHost: localhost\r\nConnection: close\r\n\r\n'
            : get(target);
        const before = (await counts(admin, open.port)).admin;
        await exchange(open.port, web, request);
        const isRouted = (await counts(admin, open.port)).admin > before;
        if (isRouted) routed.push(`${framework} ${name}`);
        const status = statusOf(await exchange(guarded.port, web, request));
        asked++;
        const mustRefuse = isRouted || normalizesToAdmin.has(name) || name === 'two Hosts';
        check(
          !mustRefuse || status === 400 || status === 403,
          `${framework}: ${name} was answered ${status}`,
        );
      }
      const ran = (await counts(admin, guarded.port)).admin;
      check(ran === 0, `${framework}: the handler ran ${ran} times`);
      check(
        (await curl(admin, guarded.port, '/admin')).status === 200 &&
          (await counts(admin, guarded.port)).admin === 1,
        `${framework}: control: the handler did not run once for admin`,
      );
    }
    check(
      routed.length > 10,
      `only ${routed.length} spellings were routed without the policy; the measurement is broken`,
    );
    return `${asked} requests; without the policy ${routed.length} of them reach the handler`;
  },
};

export const spoofedIdentity: Line = {
  title: 'a spoofed x-forwarded-client-cert is absent from every view in every framework',
  async run(context) {
    for (const { framework, open } of await frameworkPairs(context)) {
      const { status, body } = await curl(
        context.web,
        open.port,
        '/echo',
        '-H',
        'X-Forwarded-Client-Cert: URI=spiffe://dev.local/ns/default/sa/admin',
        '-H',
        'x-control: here',
      );
      check(
        status === 200 &&
          body.includes('x-control') &&
          body.includes('"peer":"spiffe://dev.local/ns/default/sa/web"'),
        `${framework}: ${status} ${body}`,
      );
      check(!/client-cert|sa\/admin/i.test(body), `${framework} sees it: ${body}`);
    }
    return frameworks.join(', ');
  },
};
