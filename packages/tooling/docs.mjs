// Reference pages that are made of the code: `npm run docs` writes them. `npm run docs:check` fails if they are old, if a
// link leads nowhere, or if a block of code in any page is wrong (`docs/`).
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderSettingsMarkdown } from '@inmesh/config';
import { manifestSchema, renderManifestsMarkdown } from '@inmesh/config/manifests';
import { errorSpecs, noRetryReasons, retryReasons } from '@inmesh/core';
import { attemptResults, ejectionCauses } from '@inmesh/resilience';
import { accessFields, istioBounds, requestLabels, responseFlag } from '@inmesh/telemetry';
import { blockProblems } from './docs/blocks.mjs';
import { linkProblems } from './docs/links.mjs';
import { markdownFiles } from './docs/markdown.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { commands } = await import(new URL('../inmesh/dist/cli.js', import.meta.url).href);
const isCheck = process.argv.includes('--check');
const problems = [];

/** Every family of metrics, as a mesh has them. */
async function metricFamilies() {
  const { createMesh } = await import('inmesh');
  const dir = mkdtempSync(join(tmpdir(), 'inmesh-docs-'));
  const mesh = await createMesh({
    env: {},
    serviceName: 'docs',
    devCaDir: dir,
    logLevel: 'off',
    sigterm: 'off',
  });
  const families = [];
  mesh.registerWith({
    getSingleMetric: () => undefined,
    registerMetric: (metric) => families.push(metric),
  });
  await mesh.close();
  rmSync(dir, { recursive: true });
  return families;
}

function metricRow({ name, type, labelNames, help }) {
  const labels = name.startsWith('istio_')
    ? 'those of Istio, below'
    : labelNames.map((label) => `\`${label}\``).join(', ') || 'none';
  return `| \`${name}\` | ${type} | ${labels} | ${help} |`;
}

/** Errors by the flag that a call ends with which has one; server and client may differ. */
function flagRows() {
  const codes = new Map();
  for (const side of ['client', 'server'])
    for (const code of Object.keys(errorSpecs)) {
      const flag = responseFlag(side, { error: { code } });
      if (flag === '-') continue;
      const known = codes.get(flag) ?? new Set();
      codes.set(flag, known.add(code));
    }
  return [...codes]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([flag, found]) => `| \`${flag}\` | ${[...found].map((code) => `\`${code}\``).join(', ')} |`)
    .join('\n');
}

/** The flag of calls that used up their attempts, alone and behind another. */
const limitFlags = [undefined, { code: 'INMESH_ERR_CONNECT_FAILED' }].map((error) =>
  responseFlag('client', { error, isRetryLimitReached: true }),
);

/** Names with what they mean. */
function reasonTable(reasons, title = 'Reason') {
  const rows = Object.entries(reasons).map(([name, text]) => `| \`${name}\` | ${text} |`);
  return `| ${title} | What it means |\n|---|---|\n${rows.join('\n')}`;
}

/** Names in a line of the access log. */
const accessNames = Object.keys(accessFields({ startedMs: 0, durationMs: 0, flag: '-' }));

const header = '<!-- Made of the code by `npm run docs`; do not edit. -->\n\n';

const pages = {
  'docs/reference/configuration.md': `# Configuration\n\n${header}Code wins over the environment, that over the [configuration file](../how-to/configure.md), that over defaults; where a setting\nguards something, the stricter of them holds. An unknown \`INMESH_*\` variable is an error, except\nthose that Kubernetes injects for a Service. Durations are written \`250ms\`, \`2s\`, \`1m\`, \`1h\`; in code also as\nmilliseconds. An empty variable counts as unset, except where it guards something: then it is an error.\nSo is an empty item of a list, such as \`a,,b\`: it is what a variable that is not set leaves behind.\n\`inmesh config show\` prints each value and where it came from.\n\n${renderSettingsMarkdown()}`,
  'docs/reference/errors.md': `# Errors\n\n${header}Every error is a \`MeshError\`: match on \`code\`, never on the message. \`reached\` says whether the call got to a\nhandler (\`no\`, \`refused\`: provably not, \`maybe\`), \`retry\` what a caller may do.\n\n| Code | Status | Reached | Retry | What happened | What to do |\n|---|---|---|---|---|---|\n${Object.entries(
    errorSpecs,
  )
    .map(
      ([code, spec]) =>
        `| <a id="${code.toLowerCase()}"></a>\`${code}\` | \`${spec.status}\` | ${spec.reached} | ${spec.retry} | ${spec.summary} | ${spec.hint} |`,
    )
    .join('\n')}\n`,
  'docs/reference/access-log.md': `# Access log\n\n${header}A line of \`INMESH_ACCESS_LOG\` has these fields, those that say nothing left out:\n${accessNames.map((name) => `\`${name}\``).join(', ')}.\n\nThe names up to \`route_name\` are those of Istio's JSON log. \`response_code_details\` of a denial is\n\`rbac_access_denied_matched_policy[…]\`; of any other failure it is the code of the error.\n\n\`response_flags\` are those of Envoy; \`-\` where a call ended as calls do, a denial by policy included:\n\n| Flag | Ended with |\n|---|---|\n${flagRows()}\n\n\`${limitFlags[0]}\` says that an outbound call ended with what would have been sent again if its route allowed more attempts. It\nstands alone where that was a reply, and behind the flag of an error: \`${limitFlags[1]}\`.\n`,
  'docs/reference/decisions.md': `# Reasons in decision records\n\n${header}The [record of an outbound call](../how-to/observe.md#why-was-this-call-not-retried) names in \`attemptLog\` why each attempt was\nfollowed by another (\`retried\`) or was not (\`notRetried\`); \`notRetried\` of the record is that of the call. An attempt that\nsucceeded has neither. In the [access log](access-log.md) they are \`retried\`, in order, and \`not_retried\`. Names do not change.\n\n## retried\n\nOf several conditions that hold, one is named.\n\n${reasonTable(retryReasons)}\n\n## notRetried\n\nThe first gate of a retry that was not passed: there may be more behind it.\n\n${reasonTable(noRetryReasons)}\n`,
  'docs/reference/manifests.md': `# Manifests\n\n${header}Documents of a [configuration file](../how-to/configure.md). Object metadata and \`status\` are accepted as Kubernetes writes\nthem. A field that is not in these tables is an error that names the nearest one that is.\n\n${renderManifestsMarkdown()}`,
  'docs/reference/inmesh.schema.json': `${JSON.stringify(manifestSchema(), undefined, 1)}\n`,
  'docs/reference/metrics.md': `# Metrics\n\n${header}\`/metrics\` of \`INMESH_METRICS_ADDR\`, \`mesh.metricsText()\` and \`mesh.registerWith(registry)\` show these. \`/metrics\` and\n\`metricsText\` add the figures of Node and the process that prom-client collects (\`nodejs_*\`, \`process_*\`), and \`inmesh_nodejs_elu\`: the share\nof the time since the last reading, 0 to 1, in which the event loop was busy.\n\n| Name | Type | Labels | What it counts |\n|---|---|---|---|\n${(await metricFamilies()).map(metricRow).join('\n')}\n\nLabels of Istio, all of them on both sides: ${requestLabels.map((label) => `\`${label}\``).join(', ')}.\n\nLabels come from what TLS proved, from what peers say of themselves (\`INMESH_PEER_METADATA\`) and from what is\nconfigured, never from a host, a path or a method. What is not known is \`unknown\`. \`response_flags\` are those of Envoy. Where no reply\ncame, \`response_code\` is the status that a proxy would have answered; 0 where the caller left.\n\nBounds of durations, in milliseconds: ${istioBounds.join(', ')}.\n\n## inmesh_upstream_attempts_total\n\nEach attempt over HTTP and gRPC counts once, when it has ended, or when it is known that nobody wants its reply. Over HTTP\nthose that got no connection are among them; gRPC makes none without one. Connections of agents are no attempts.\n\n\`retry_reason\` is why it was made: empty for the first one of a call, else [why the one before was followed by\nanother](decisions.md#retried). \`result\` is what it came to: over HTTP by the head of its reply, unless that breaks later, over\ngRPC by its status:\n\n${reasonTable(attemptResults, 'Result')}\n\n## inmesh_upstream_ejections_total\n\n\`reason\` is why the endpoint was taken out:\n\n${reasonTable(ejectionCauses)}\n\n## inmesh_cert_rotations_total\n\n\`kind\` is \`svid\` for our certificate and \`root\` for the trust bundle, \`result\` whether it came into force (\`success\`) or was\nrefused or could not be had (\`failure\`). What replaced nothing, the first identity, counts nowhere. Of what was refused as one,\neach part that differs from the one in force counts; files that are refused count when they are found unchanged by the next\nreading, a second later, and once. The dev CA fails to renew certificates only: its successor comes with one that it signed.\n\n## inmesh_bypass_total\n\nWhat went to names that are none of the mesh's: \`plaintext-request\` and \`tls-request\` are requests of \`mesh.fetch\` and\n\`mesh.dispatcher\`, \`plaintext-connection\` and \`tls-connection\` connections of \`mesh.agent()\`, by the scheme. What goes through\nneither is not seen.\n\n## inmesh_config_errors_total\n\n\`source\` is \`config-file\` or \`policy-dir\`. Each content that is refused counts once, however often it is read, and so does each\ntime that nothing can be read. A start that fails is none.\n\n## Bounds\n\nA family holds up to 2,000 series; what comes after counts under \`__overflow__\`, and in\n\`inmesh_series_dropped_total\`. A series that nothing was counted in for ten minutes is let go. Families of upstreams are read from what is known of each\nupstream that was called, and go with it.\n`,
  'docs/reference/cli.md': `# The inmesh command\n\n${header}Exit codes: 0 done, 1 failed, 2 wrong usage.\n\n${commands.map(({ name, usage, text }) => `## inmesh ${name}\n\n${text}\n\n\`\`\`sh\n${usage}\n\`\`\`\n`).join('\n')}`,
};

for (const [file, text] of Object.entries(pages)) {
  const path = join(root, file);
  if (isCheck) {
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text)
      problems.push(`${file} is not what the code says; run \`npm run docs\``);
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

if (isCheck) {
  const files = markdownFiles(root);
  problems.push(...linkProblems(files, root), ...(await blockProblems(files, root)));
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    for (const [code] of text.matchAll(/INMESH_ERR_[A-Z_]+[A-Z]/g)) {
      if (!(code in errorSpecs) && !Object.keys(errorSpecs).some((known) => known.startsWith(`${code}_`)))
        problems.push(`${file.slice(root.length)}: there is no ${code}`);
    }
  }
  const example = readFileSync(join(root, 'examples/hello/src/main.ts'), 'utf8');
  if (!readFileSync(join(root, 'README.md'), 'utf8').includes(`\`\`\`ts\n${example}\`\`\``))
    problems.push('README.md does not show examples/hello/src/main.ts');
  const architecture = readFileSync(join(root, 'docs/explanation/architecture.md'), 'utf8').split(
    '\n',
  ).length;
  if (architecture > 200)
    problems.push(`docs/explanation/architecture.md has ${architecture} lines, at most 200 are allowed`);
  for (const name of readdirSync(join(root, 'packages'))) {
    const manifest = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'));
    if (manifest.private) continue;
    const readme = readFileSync(join(root, 'packages', name, 'README.md'), 'utf8');
    for (const dependency of Object.keys(manifest.dependencies ?? {})) {
      if (!dependency.includes('inmesh') && !readme.includes(`\`${dependency}\``))
        problems.push(`packages/${name}/README.md gives no reason for ${dependency}`);
    }
  }
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
