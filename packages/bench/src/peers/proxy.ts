import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { adopt, onCore } from '../children.js';
import type { Material } from '../protocol.js';

/** Where one proxy of a pair stands, and what it is told. */
export interface ProxySeat {
  /** `client` takes plaintext and sends mTLS, `server` the reverse. */
  readonly side: 'client' | 'server';
  readonly port: number;
  readonly upstream: number;
  /** A directory of its own. */
  readonly dir: string;
  readonly material: Material;
}

/** A program that can be put before both ends. */
export interface ProxyKind {
  /** Under which it is installed. */
  readonly program: string;
  /** Name of the configuration file. */
  readonly file: string;
  /** Its text. */
  configure(seat: ProxySeat): string;
  /** Arguments for it to stay in the foreground on one thread. */
  args(file: string, seat: ProxySeat): readonly string[];
}

/** Two proxies that run. */
export interface ProxyPair {
  /** Where the client calls. */
  readonly port: number;
  readonly pids: readonly number[];
  stop(): void;
}

/** Puts a pair before a server that listens on a port. */
export type StartProxies = (port: number, material: Material) => Promise<ProxyPair>;

/** Where a program is; `undefined` if it is not installed. Services live where not every PATH looks. */
export function findProgram(name: string): string | undefined {
  const peersDir = process.env['INMESH_PEERS_DIR'] ?? join(homedir(), '.cache', 'inmesh-peers');
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const own = join(peersDir, 'envoy-1.40.0', 'bin');
  return [own, ...dirs].map((dir) => join(dir, name)).find((path) => existsSync(path));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

async function start(kind: ProxyKind, seat: ProxySeat): Promise<ChildProcess> {
  mkdirSync(seat.dir, { recursive: true });
  const file = join(seat.dir, kind.file);
  writeFileSync(file, kind.configure(seat), { mode: 0o600 });
  const program = findProgram(kind.program) ?? kind.program;
  const [command, args] = onCore(seat.side === 'client' ? 0 : 1, program, kind.args(file, seat));
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  adopt(child);
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  for (let tries = 0; !(await answers(seat.port)); tries++) {
    if (child.exitCode !== null || tries === 100)
      throw new Error(`${kind.program} does not listen (exit code ${String(child.exitCode)})`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return child;
}

/** A pair of a kind: plaintext to it and from it, mTLS between. */
export function pairOf(kind: ProxyKind): StartProxies {
  return async (appPort, material) => {
    const [port, between] = [await freePort(), await freePort()];
    const seat = (side: ProxySeat['side'], own: number, upstream: number): ProxySeat => ({
      side,
      port: own,
      upstream,
      dir: join(material.dir, `${kind.program}-${side}-${own}`),
      material,
    });
    const server = await start(kind, seat('server', between, appPort));
    const client = await start(kind, seat('client', port, between));
    const children = [client, server];
    return {
      port,
      pids: children.flatMap(({ pid }) => (pid === undefined ? [] : [pid])),
      stop() {
        for (const child of children) child.kill('SIGKILL');
      },
    };
  };
}
