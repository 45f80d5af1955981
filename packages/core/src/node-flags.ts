import { MeshError } from './errors.js';

/**
 * Whether Node was started with a flag, on its command line or in `NODE_OPTIONS`. The command line wins, and the last
 * one of a flag and its `--no-` form; `_` is as good as `-`.
 *
 * @param flag - Such as `--tls-keylog`; found with and without a value.
 */
export function hasNodeFlag(
  flag: string,
  execArgv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const off = flag.replace('--', '--no-');
  const words = [...(env['NODE_OPTIONS'] ?? '').split(/[\s"]+/), ...execArgv];
  let isOn = false;
  for (const word of words) {
    const [name = ''] = word.split('=', 1);
    const plain = name.replaceAll('_', '-');
    if (plain === flag) isOn = true;
    else if (plain === off) isOn = false;
  }
  return isOn;
}

/**
 * Refuses an `http.Server` whose parser is lenient: what it lets through is read differently by whoever stands in front
 * (request smuggling), so no policy holds.
 *
 * @param server - The `http.Server`; its own `insecureHTTPParser` wins over the flag.
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
 */
export function assertStrictHttpParser(
  server: object,
  execArgv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): void {
  const { insecureHTTPParser: own } = server as { readonly insecureHTTPParser?: unknown };
  const isLenient = own === undefined ? hasNodeFlag('--insecure-http-parser', execArgv, env) : Boolean(own);
  if (!isLenient) return;
  throw new MeshError(
    'INMESH_ERR_CONFIG_INVALID',
    own === undefined
      ? 'Node runs with --insecure-http-parser: policies do not hold for what it lets through; start it without'
      : 'the http.Server has insecureHTTPParser: policies do not hold for what it lets through; make it without',
  );
}
