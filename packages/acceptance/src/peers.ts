import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { peerFiles, Skip } from './harness.js';

const peersDir = process.env['INMESH_PEERS_DIR'] ?? join(homedir(), '.cache', 'inmesh-peers');

/** Envoy's binary. @throws Skip */
export function envoyBinary(): string {
  const binary = join(peersDir, 'envoy-1.40.0', 'bin', 'envoy');
  if (!existsSync(binary)) throw new Skip('Envoy is not installed; run `npm run peers -- envoy`');
  return binary;
}

/** The OpenTelemetry Collector. @throws Skip */
export function collectorBinary(): string {
  const binary = join(peersDir, 'otelcol-0.161.0', 'bin', 'otelcol');
  if (!existsSync(binary))
    throw new Skip('the OpenTelemetry Collector is not installed; run `npm run peers -- otelcol`');
  return binary;
}

/** A script to run with grpcio's Python. @throws Skip */
export function grpcPython(name: string): { readonly python: string; readonly script: string } {
  const home = join(peersDir, 'grpcio-1.85.1');
  if (!existsSync(join(home, '.complete')))
    throw new Skip('grpcio is not installed; run `npm run peers -- grpcio`');
  return { python: join(home, 'bin', 'python'), script: join(peerFiles, name) };
}

/** A program of the system. @throws Skip */
export function systemProgram(name: string): string {
  const dirs = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const found = dirs.map((dir) => join(dir, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Skip(`${name} is not installed; run \`npm run peers -- ${name}\``);
  return found;
}
