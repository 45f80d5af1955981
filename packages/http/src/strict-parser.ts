import type { Server } from 'node:http';
import { MeshError } from '@inmesh/core';

/** Where Node.js may have been told to parse leniently. */
export interface ParserFlags {
  /** Of the server; counts before the others. */
  readonly option: boolean | undefined;
  /** `NODE_OPTIONS`. */
  readonly nodeOptions: string | undefined;
  /** Arguments of `node` itself; count before `NODE_OPTIONS`. */
  readonly execArgv: readonly string[];
}

/** Whether the HTTP parser accepts what two parsers may read differently; the last flag counts. */
export function isLenientParser({ option, nodeOptions = '', execArgv }: ParserFlags): boolean {
  if (option !== undefined) return option;
  const flags = [...nodeOptions.split(/[\s"']+/), ...execArgv].map((flag) => flag.replaceAll('_', '-'));
  return flags.lastIndexOf('--insecure-http-parser') > flags.lastIndexOf('--no-insecure-http-parser');
}

/**
 * Refuses a server whose parser is lenient: what it and a proxy before it read differently is a way past policies.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
 */
export function requireStrictParser(server: Server): void {
  const { insecureHTTPParser: option } = server as { readonly insecureHTTPParser?: boolean };
  const nodeOptions = process.env['NODE_OPTIONS'];
  if (!isLenientParser({ option, nodeOptions, execArgv: process.execArgv })) return;
  throw new MeshError(
    'INMESH_ERR_CONFIG_INVALID',
    'the HTTP parser is lenient (insecureHTTPParser); remove the option or the flag --insecure-http-parser',
  );
}
