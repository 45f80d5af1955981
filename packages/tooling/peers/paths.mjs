// Where real programs are installed, and in which versions.
import { homedir } from 'node:os';
import { join } from 'node:path';

export const peersDir = process.env.INMESH_PEERS_DIR ?? join(homedir(), '.cache', 'inmesh-peers');

const envoyHome = join(peersDir, 'envoy-1.40.0');
export const envoy = {
  version: '1.40.0',
  home: envoyHome,
  binary: join(envoyHome, 'bin', 'envoy'),
  // x86_64 and arm64.
  hashes: [
    'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
    '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
  ],
};

const grpcioHome = join(peersDir, 'grpcio-1.85.1');
export const grpcio = {
  version: '1.85.1',
  home: grpcioHome,
  python: join(grpcioHome, 'bin', 'python'),
  marker: join(grpcioHome, '.complete'),
};

const otelcolVersion = '0.161.0';
const otelcolHome = join(peersDir, `otelcol-${otelcolVersion}`);
/** The OpenTelemetry Collector: `otelcol/go.mod` has the version of each module, `otelcol/go.sum` its hash. */
export const otelcol = {
  version: otelcolVersion,
  home: otelcolHome,
  source: join(import.meta.dirname, 'otelcol'),
  binary: join(otelcolHome, 'bin', 'otelcol'),
};
