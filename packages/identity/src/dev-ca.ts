import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isMeshError, type Logger, MeshError, type Runtime } from '@inmesh/core';
import { parseCertificate } from './certificate.js';
import { type Minted, mint } from './mint.js';
import { certificatesOfPem, pemOfCertificate } from './pem.js';

const dayMs = 86_400_000;
const backdateMs = 60_000;
/** Life of an authority. */
const authorityMs = 30 * dayMs;
/** A successor is made this long before an authority expires, so that every process knows it before it signs. */
const overlapMs = 7 * dayMs;
const maxFileBytes = 65_536;

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the dev CA of a trust domain is and who watches it. */
export interface DevCaOptions {
  /** Base directory. @defaultValue `$XDG_STATE_HOME/inmesh/dev-ca`, or `~/.local/state/inmesh/dev-ca` */
  readonly dir?: string | undefined;
  /** Trust domain; each has its own authority. */
  readonly trustDomain: string;
  /** Whether somebody asked for it by name (`INMESH_IDENTITY=dev`); then it runs in production too. */
  readonly isForced: boolean;
  /** Environment: tells production and the state directory. */
  readonly env: Environment;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about a CA that nobody shares. */
  readonly logger: Logger;
}

interface Authority extends Minted {
  readonly notAfterMs: number;
}

/** The authorities of one trust domain, oldest first. */
export interface DevCa {
  /** Directory; `undefined` for a CA in memory. */
  readonly dir: string | undefined;
  /** PEM certificates of every authority in force. */
  readonly bundlePem: string;
  /** The authority that signs what lives for `ttlMs` from now. */
  signer(ttlMs: number): Minted;
}

/**
 * Refuses to run where an identity that nobody vouches for would be a hole.
 *
 * @throws MeshError `INMESH_ERR_DEV_CA_REFUSED`
 */
function refuseProduction({ env, isForced }: Pick<DevCaOptions, 'env' | 'isForced'>): void {
  if (isForced) return;
  const sign =
    env['NODE_ENV'] === 'production'
      ? 'NODE_ENV=production'
      : env['KUBERNETES_SERVICE_HOST'] === undefined
        ? undefined
        : 'KUBERNETES_SERVICE_HOST';
  if (sign === undefined) return;
  throw new MeshError(
    'INMESH_ERR_DEV_CA_REFUSED',
    `no identity is configured and the embedded dev CA does not start in production (${sign} is set); set INMESH_CERT_FILE, INMESH_KEY_FILE and INMESH_CA_FILE, or INMESH_IDENTITY=dev if you mean it`,
  );
}

/** Directory of the authorities of `trustDomain`. */
export function devCaDirectory({
  dir,
  trustDomain,
  env,
}: Pick<DevCaOptions, 'dir' | 'trustDomain' | 'env'>): string {
  const state = env['XDG_STATE_HOME'] || join(env['HOME'] || homedir(), '.local', 'state');
  return join(dir ?? join(state, 'inmesh', 'dev-ca'), trustDomain);
}

function unsafe(message: string): MeshError {
  return new MeshError('INMESH_ERR_DEV_CA_UNSAFE', message);
}

function checkOwner(path: string, what: { readonly uid: number; readonly mode: number }): void {
  const uid = process.getuid?.();
  if (uid === undefined) return;
  if (what.uid !== uid) throw unsafe(`${path} belongs to user ${what.uid}, not to ${uid}`);
  if ((what.mode & 0o077) !== 0)
    throw unsafe(
      `${path} has mode ${(what.mode & 0o777).toString(8)}; others than its owner may read or write it`,
    );
}

async function prepareDirectory(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const stat = await lstat(dir);
  if (!stat.isDirectory()) throw unsafe(`${dir} is not a directory`);
  checkOwner(dir, stat);
}

async function readAuthority(path: string, trustDomain: string): Promise<Authority> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOOP') throw unsafe(`${path} is a symbolic link`);
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > maxFileBytes)
      throw unsafe(`${path} is not a file of at most ${maxFileBytes} bytes`);
    checkOwner(path, stat);
    const text = await file.readFile('utf8');
    const [der] = certificatesOfPem(text);
    const key = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/.exec(text)?.[0];
    if (der === undefined || key === undefined)
      throw unsafe(`${path} holds no certificate and key; remove it`);
    const certificate = parseCertificate(der);
    if (!certificate.isCa || certificate.uris[0] !== `spiffe://${trustDomain}`) {
      throw unsafe(`${path} is not an authority of ${trustDomain}; remove it`);
    }
    return { certPem: pemOfCertificate(der), keyPem: key, notAfterMs: certificate.notAfterMs };
  } finally {
    await file.close();
  }
}

async function mintAuthority(trustDomain: string, wallMs: number): Promise<Authority> {
  const notAfterMs = wallMs + authorityMs;
  const minted = await mint({
    uris: [`spiffe://${trustDomain}`],
    commonName: `inmesh dev CA ${trustDomain}`,
    notBeforeMs: wallMs - backdateMs,
    notAfterMs,
    isCa: true,
  });
  return { ...minted, notAfterMs };
}

function temporaryName(dir: string, name: string): string {
  return join(dir, `.${name}.${randomBytes(8).toString('hex')}`);
}

/** Writes key and certificate as one file that appears whole; `link` lets exactly one of several writers win. */
async function storeAuthority(dir: string, name: string, authority: Minted): Promise<void> {
  const temporary = temporaryName(dir, name);
  await writeFile(temporary, authority.keyPem + authority.certPem, { mode: 0o600, flag: 'wx' });
  try {
    await link(temporary, join(dir, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
}

function generationOf(name: string): number {
  return Number(/^ca-(\d{1,9})\.key$/.exec(name)?.[1] ?? 0);
}

async function readAuthorities(
  dir: string,
  { trustDomain, runtime }: DevCaOptions,
): Promise<{ last: number; inForce: Authority[] }> {
  const generations = (await readdir(dir))
    .map(generationOf)
    .filter((n) => n > 0)
    .sort((a, b) => a - b);
  const inForce: Authority[] = [];
  for (const generation of generations) {
    const authority = await readAuthority(join(dir, `ca-${generation}.key`), trustDomain);
    if (authority.notAfterMs > runtime.wallMs()) inForce.push(authority);
  }
  return { last: generations.at(-1) ?? 0, inForce };
}

function createCa(dir: string | undefined, authorities: readonly Authority[], runtime: Runtime): DevCa {
  return {
    dir,
    bundlePem: authorities.map((one) => one.certPem).join(''),
    // The oldest that lives long enough: by the time a successor signs, every process has read it.
    signer(ttlMs) {
      const untilMs = runtime.wallMs() + ttlMs;
      const signer = authorities.find((one) => one.notAfterMs > untilMs) ?? authorities.at(-1);
      if (signer === undefined) throw new MeshError('INMESH_ERR_INTERNAL', 'the dev CA has no authority');
      return signer;
    },
  };
}

/** For programs that are not ours. Written only when it changes: a full disk need not matter at a renewal. */
async function storeBundle(dir: string, bundlePem: string): Promise<void> {
  const path = join(dir, 'ca.crt');
  if ((await readFile(path, 'utf8').catch(() => '')) === bundlePem) return;
  const temporary = temporaryName(dir, 'ca.crt');
  await writeFile(temporary, bundlePem, { mode: 0o644 });
  await rename(temporary, path);
}

async function openDirectory(dir: string, options: DevCaOptions): Promise<DevCa> {
  const { trustDomain, runtime } = options;
  await prepareDirectory(dir);
  const found = await readAuthorities(dir, options);
  let { inForce } = found;
  const newest = inForce.at(-1);
  if (newest === undefined || newest.notAfterMs - runtime.wallMs() < overlapMs) {
    await storeAuthority(dir, `ca-${found.last + 1}.key`, await mintAuthority(trustDomain, runtime.wallMs()));
    ({ inForce } = await readAuthorities(dir, options));
  }
  const ca = createCa(dir, inForce, runtime);
  await storeBundle(dir, ca.bundlePem);
  return ca;
}

const unwritable = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'ENOSPC', 'EDQUOT', 'ENOENT']);

/** Opens, or makes, the CA that the processes of this user share. @throws MeshError `INMESH_ERR_DEV_CA_*` */
export async function openSharedDevCa(options: DevCaOptions): Promise<DevCa> {
  refuseProduction(options);
  const dir = devCaDirectory(options);
  try {
    return await openDirectory(dir, options);
  } catch (error) {
    if (isMeshError(error)) throw error;
    throw unsafe(
      `the dev CA directory ${dir} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/**
 * Like {@link openSharedDevCa}; where the directory cannot be written, a CA in memory and a loud line. For a start
 * only: who has an identity of the shared CA keeps it, because nobody would trust the other.
 */
export async function openDevCa(options: DevCaOptions): Promise<DevCa> {
  refuseProduction(options);
  const dir = devCaDirectory(options);
  try {
    return await openDirectory(dir, options);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (isMeshError(error) || !unwritable.has(code)) throw error;
    options.logger.warn(
      { dir, reason: message },
      'THE DEV CA DIRECTORY CANNOT BE WRITTEN: using a CA in memory that NO OTHER PROCESS WILL TRUST; set INMESH_DEV_CA_DIR to a directory of this user',
    );
    return createCa(
      undefined,
      [await mintAuthority(options.trustDomain, options.runtime.wallMs())],
      options.runtime,
    );
  }
}
