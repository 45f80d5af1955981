// Programs of the system's own package manager (Debian and its kin), system-wide: needs root, or sudo without a
// password. Mirrors drop old revisions, so what is checked is the upstream version that a release carries.
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Tells the scripts of packages not to start services. */
const serviceGuard = '/usr/sbin/policy-rc.d';
const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };

/** Where a program is; services live where not every PATH looks. */
function find(program) {
  for (const dir of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    const path = join(dir, program);
    if (dir === '' || !existsSync(path)) continue;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not for us.
    }
  }
  return undefined;
}

function asRoot(command, args) {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status !== 0)
    throw new Error(`root is needed: ${command} ${args.join(' ')}`);
  execFileSync(isRoot ? command : 'sudo', isRoot ? args : ['-n', command, ...args], quiet);
}

function fetchPackage(name) {
  if (find('apt-get') === undefined) throw new Error(`there is no apt-get here; install ${name} by hand`);
  const isGuarded = existsSync(serviceGuard);
  if (!isGuarded && process.getuid?.() === 0)
    writeFileSync(serviceGuard, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    asRoot('apt-get', ['-q', 'update']);
    const wait = ['-o', 'DPkg::Lock::Timeout=300'];
    asRoot('env', [
      'DEBIAN_FRONTEND=noninteractive',
      'apt-get',
      '-q',
      'install',
      '-y',
      '--no-install-recommends',
      ...wait,
      name,
    ]);
  } finally {
    if (!isGuarded && process.getuid?.() === 0) rmSync(serviceGuard, { force: true });
  }
}

/** Installs a package unless its program, of the same name, is there; returns version and path. */
export function installFromSystem(name) {
  if (find(name) === undefined) fetchPackage(name);
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not there after the install`);
  // Some know one of them, some the other.
  const told = ['-v', '--version'].map((flag) => spawnSync(path, [flag], { encoding: 'utf8' }));
  const version = told
    .map(({ stdout, stderr }) => /\d+\.\d+(?:\.\d+)*/.exec(`${stdout}${stderr}`)?.[0])
    .find((one) => one !== undefined);
  if (version === undefined) throw new Error(`${path} does not tell its version`);
  return [version, path];
}
