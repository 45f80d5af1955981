import { renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { curl } from './clients.js';
import type { Context, Line } from './context.js';
import { check, logLines, metricsPort, run, type Service, until } from './harness.js';

const script = fileURLToPath(new URL('rolling-service.js', import.meta.url));

/** A start that must fail. */
interface Mistake {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** What the last words of the process must hold. */
  readonly said: readonly (RegExp | string)[];
}

function allow(account: string): string {
  return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: callers
spec:
  rules:
    - from:
        - source:
            serviceAccounts: ["default/${account}"]
`;
}

function write(file: string, text: string): string {
  // As editors and Kubernetes do: whole, under the name that is read.
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  return file;
}

function mistakes({ bench, web }: Context): readonly Mistake[] {
  const typo = write(bench.path('typo.yaml'), allow('web').replace('serviceAccounts', 'serviceAcounts'));
  const broken = write(bench.path('broken.pem'), 'no certificate\n');
  return [
    {
      name: 'a YAML typo',
      env: { INMESH_CONFIG: typo },
      said: [
        'error[INMESH_ERR_POLICY_INVALID]: unknown field "serviceAcounts"; did you mean "serviceAccounts"?',
        `--> ${typo}:9:13`,
        /\n +\| +\^{14}\n/,
      ],
    },
    {
      name: 'an unknown variable',
      env: { INMESH_TIMOUT: '1s' },
      said: ['INMESH_ERR_CONFIG_UNKNOWN', 'there is no variable INMESH_TIMOUT; did you mean INMESH_TIMEOUT?'],
    },
    {
      name: 'a broken certificate',
      env: { INMESH_CERT_FILE: broken, INMESH_KEY_FILE: web.key, INMESH_CA_FILE: web.bundle },
      said: [broken, /INMESH_ERR_(?:CERTIFICATE|IDENTITY)_/],
    },
  ];
}

/** Starts a service that must not start, and reads why. */
async function refuse(context: Context, { name, env, said }: Mistake): Promise<void> {
  const { code, stderr } = await run(process.execPath, [script], {
    env: {
      PATH: process.env['PATH'],
      INMESH_SERVICE_NAME: 'wrong',
      INMESH_DEV_CA_DIR: context.fleet.caDir,
      INMESH_STARTUP_TIMEOUT: '2s',
      LEDGER: context.bench.path('wrong.txt'),
      ...env,
    },
  });
  check(code !== 0, `${name}: it starts`);
  for (const one of said)
    check(
      typeof one === 'string' ? stderr.includes(one) : one.test(stderr),
      `${name}: it does not say ${String(one)} but ${stderr}`,
    );
}

async function statusOf({ web }: Context, { port }: Service): Promise<number> {
  return (await curl(web, port, '/')).status;
}

/** A service whose configuration goes bad while it runs. */
async function reload(context: Context): Promise<void> {
  const { bench, fleet } = context;
  const file = write(bench.path('live.yaml'), allow('web'));
  const { service } = await bench.running(
    'live',
    {
      INMESH_DEV_CA_DIR: fleet.caDir,
      INMESH_METRICS_ADDR: '127.0.0.1:0',
      INMESH_CONFIG: file,
      LEDGER: bench.path('live.txt'),
    },
    script,
  );
  const metrics = await metricsPort(service);
  const read = async (path: string): Promise<string> => {
    const reply = await fetch(`http://127.0.0.1:${metrics}${path}`);
    check(reply.ok, `${path}: ${reply.status}`);
    return await reply.text();
  };
  check((await statusOf(context, service)) === 200, 'the policy of the file does not hold');
  write(file, allow('admin').replace('rules', 'ruls'));
  await until('the metric says that it is wrong', 10_000, async () =>
    (await read('/metrics')).includes('\ninmesh_config_rejected 1\n'),
  );
  const ready = await read('/readyz');
  check(
    ready.includes('[+]config ok: the last good one is in force') && ready.includes(`${file}:6:3`),
    `readiness says ${ready}`,
  );
  check((await statusOf(context, service)) === 200, 'the old policy is not in force any more');
  const complaints = logLines(service.log).filter((one) =>
    String(one['msg']).startsWith('configuration rejected'),
  );
  check(complaints.length === 1, `it was said ${complaints.length} times`);
  write(file, allow('admin'));
  await until('the corrected policy holds', 10_000, async () => (await statusOf(context, service)) === 403);
  check(
    (await read('/metrics')).includes('\ninmesh_config_rejected 0\n'),
    'the metric still says it is wrong',
  );
}

export const configuration: Line = {
  title:
    'a YAML typo, an unknown variable, a broken certificate end the start with a frame and a suggestion; a bad reload changes nothing and is seen',
  async run(context) {
    const all = mistakes(context);
    for (const mistake of all) await refuse(context, mistake);
    await reload(context);
    return `${all.length} starts refused, 1 reload refused, then 1 taken`;
  },
};
