// Packs every public package, installs the tarballs into a fresh TypeScript project and a fresh CommonJS project
// outside the repository, and runs the README's example in both; then looks at the spans of a call in a third, with the
// oldest API of OpenTelemetry that is supported and an SDK of its time.
import { execFileSync, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'inmesh-package-'));
const quiet = { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' };
const manifestOf = (name) => JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'));
const names = readdirSync(join(root, 'packages')).filter((name) => !manifestOf(name).private);
const example = readFileSync(join(root, 'examples/hello/src/main.ts'), 'utf8');
const expressVersion = JSON.parse(readFileSync(join(root, 'examples/hello/package.json'), 'utf8'))
  .dependencies.express;

function createProject(name, type, more = {}) {
  const project = join(dir, name);
  mkdirSync(project);
  const tarballs = Object.fromEntries(
    names.map((one) => [manifestOf(one).name, `file:${join(dir, tarballOf(one))}`]),
  );
  const dependencies = { ...tarballs, express: expressVersion, ...more };
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: `fresh-${name}`, private: true, type, dependencies, overrides: tarballs }),
  );
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--silent', '--prefix', project], {
    ...quiet,
    cwd: project,
  });
  return project;
}

const packed = new Map();
function tarballOf(name) {
  if (!packed.has(name)) {
    const [{ filename, files }] = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', dir], {
        ...quiet,
        cwd: join(root, 'packages', name),
      }),
    );
    for (const wanted of ['LICENSE', 'README.md', 'package.json'])
      if (!files.some(({ path }) => path === wanted)) throw new Error(`${name} is packed without ${wanted}`);
    packed.set(name, filename);
  }
  return packed.get(name);
}

/** Starts the example on a free port, asks it with curl as somebody who may and somebody who may not. */
async function check(project, script) {
  const env = {
    PATH: process.env.PATH,
    INMESH_SERVICE_NAME: 'hello',
    INMESH_ALLOW: 'alice',
    INMESH_DEV_CA_DIR: join(project, 'ca'),
  };
  const child = fork(script, [], { cwd: project, env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  try {
    const { port } = await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`${script} ended with ${code}`)));
    });
    const ask = (who) => {
      const out = join(project, who);
      execFileSync('npx', ['inmesh', 'identity', 'mint', '--service', who, '--out', out], {
        ...quiet,
        cwd: project,
        env,
      });
      return execFileSync(
        'curl',
        [
          '-sS',
          '--cacert',
          join(out, 'bundle.pem'),
          '--cert',
          join(out, 'svid.pem'),
          '--key',
          join(out, 'key.pem'),
          `https://localhost:${port}/`,
        ],
        quiet,
      );
    };
    const [allowed, denied] = [ask('alice'), ask('mallory')];
    if (allowed !== 'hello spiffe://dev.local/ns/default/sa/alice\n') throw new Error(`alice got ${allowed}`);
    if (denied !== 'RBAC: access denied') throw new Error(`mallory got ${denied}`);
  } finally {
    child.kill('SIGKILL');
  }
}

const onFreePort = (code) =>
  code.replace(
    'await mesh.serve(app).listen(8443)',
    "process.send!(await mesh.serve(app).listen(0, '127.0.0.1'))",
  );

/** Calls a service of the mesh and says what spans that made, parents first. */
const traced = `
import { readFileSync } from 'node:fs';
import { context, propagation, SpanKind, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { createMesh } from 'inmesh';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider();
provider.addSpanProcessor(new SimpleSpanProcessor(exporter));
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(provider);
const options = { env: {}, devCaDir: process.argv[2], logLevel: 'error', drainDelay: 0 };
const orders = await createMesh({ ...options, serviceName: 'orders' });
const { port } = await orders
  .serve((request, response) => response.end(request.headers.traceparent))
  .listen(0, '127.0.0.1');
const web = await createMesh({ ...options, serviceName: 'web', upstreams: { orders: '127.0.0.1:' + port } });
const sent = await (await web.fetch('http://orders/')).text();
await Promise.all([web.close(), orders.close()]);
const spans = exporter.getFinishedSpans();
const below = (parent) => spans.find((span) => span.parentSpanId === parent?.spanContext().spanId);
const call = spans.find((span) => span.parentSpanId === undefined);
const tree = [call, below(call), below(below(call))];
const { version } = JSON.parse(readFileSync('node_modules/@opentelemetry/api/package.json', 'utf8'));
const isSent = sent.includes(tree[1].spanContext().spanId);
console.log([version, ...tree.map((span) => SpanKind[span.kind] + ' ' + span.name), isSent].join(', '));
`;

try {
  const typed = createProject('typescript', 'module');
  mkdirSync(join(typed, 'src'));
  writeFileSync(join(typed, 'src/main.ts'), onFreePort(example));
  writeFileSync(
    join(typed, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2023',
        strict: true,
        outDir: 'dist',
        rootDir: 'src',
        skipLibCheck: false,
        types: ['node'],
      },
      include: ['src'],
    }),
  );
  execFileSync(
    'npm',
    [
      'install',
      '--no-audit',
      '--no-fund',
      '--silent',
      '--save-dev',
      'typescript@5.9',
      '@types/node@20',
      '@types/express@5',
      '@grpc/grpc-js@1.14.7',
    ],
    { ...quiet, cwd: typed },
  );
  execFileSync(process.execPath, [join(typed, 'node_modules/typescript/bin/tsc'), '-p', typed], {
    stdio: 'inherit',
  });
  await check(typed, join(typed, 'dist/main.js'));
  process.stdout.write(
    `TypeScript: ${names.length} packages packed, installed, compiled, and the README's example runs\n`,
  );

  const common = createProject('commonjs', 'commonjs');
  const body = onFreePort(example)
    .replace("import express from 'express';", "const express = require('express');")
    .replace("import { createMesh } from 'inmesh';", "const { createMesh } = require('inmesh');")
    .replace('process.send!', 'process.send');
  const [imports, ...rest] = body.split('\n\n');
  writeFileSync(join(common, 'main.js'), `${imports}\n(async () => {\n${rest.join('\n\n')}})();\n`);
  await check(common, join(common, 'main.js'));
  process.stdout.write("CommonJS: require('inmesh') works, and the README's example runs\n");

  const old = createProject('traced', 'module', {
    '@opentelemetry/api': '1.3.0',
    '@opentelemetry/context-async-hooks': '1.8.0',
    '@opentelemetry/core': '1.8.0',
    '@opentelemetry/sdk-trace-base': '1.8.0',
  });
  writeFileSync(join(old, 'main.js'), traced);
  const told = execFileSync(process.execPath, ['main.js', join(old, 'ca')], { ...quiet, cwd: old }).trim();
  if (told !== '1.3.0, INTERNAL GET orders, CLIENT GET, SERVER GET, true') throw new Error(`spans: ${told}`);
  process.stdout.write('OpenTelemetry API 1.3.0: a call, its attempt and what it reaches are one trace\n');
} finally {
  rmSync(dir, { recursive: true, force: true });
}
