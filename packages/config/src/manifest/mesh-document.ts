import { canonicalName, checkClusterName, type OwnScope } from '../cluster-names.js';
import type { FileUpstream, FileValue } from '../config-file.js';
import { nearest } from '../nearest.js';
import { messageOf } from '../problems.js';
import { settings } from '../settings.js';
import { isPlainObject } from '../shape.js';
import { type UpstreamInput, upstreamInput } from '../upstream.js';
import type { Report } from './diagnostic.js';
import type { Locate, Path } from './locate.js';

/** Names in the `spec` of a `Mesh`: every setting of the environment, and what the environment has families of variables for. */
export const meshFields: readonly string[] = Object.freeze([
  ...settings.map(({ key }) => key).filter((key) => key !== 'configFile'),
  'allow',
  'explainAllow',
  'metricsAllow',
  'upstreams',
]);

/** The `Mesh` of `inmesh.dev`: settings. */
export interface MeshDocument {
  /** What it says, by name. */
  readonly values: ReadonlyMap<string, FileValue>;
  /** Upstreams, not yet checked. */
  readonly upstreams: Readonly<Record<string, unknown>>;
  /** Finds places in it. */
  readonly locate: Locate;
}

/** Reads the `spec` of a `Mesh`: its names. Values are checked with those of other sources. */
export function readMesh(spec: unknown, locate: Locate, report: Report): MeshDocument | undefined {
  if (!isPlainObject(spec)) {
    report({
      code: 'INMESH_ERR_CONFIG_INVALID',
      origin: locate(['spec']),
      message: 'spec must be a mapping',
    });
    return undefined;
  }
  const values = new Map<string, FileValue>();
  for (const [key, value] of Object.entries(spec)) {
    const path = ['spec', key];
    if (!meshFields.includes(key)) {
      const meant = nearest(key, meshFields);
      const message = `there is no setting "${key}"${meant === undefined ? '' : `; did you mean "${meant}"?`}`;
      report({ code: 'INMESH_ERR_CONFIG_UNKNOWN', origin: locate(path, true), message });
    } else if (value === null)
      report({
        code: 'INMESH_ERR_CONFIG_INVALID',
        origin: locate(path, true),
        message: `"${key}" has no value; give it one or leave it out`,
      });
    else values.set(key, { value, origin: locate(path) });
  }
  const upstreams = spec['upstreams'] ?? {};
  if (!isPlainObject(upstreams)) {
    const message = 'upstreams must be a mapping of names to endpoints';
    report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: locate(['spec', 'upstreams']), message });
    return { values, upstreams: {}, locate };
  }
  return { values, upstreams, locate };
}

/** The path that a message of a check begins with: `upstreams.orders.rules.limits.maxPending`. */
function pathOf(message: string, top: Path, where: string): Path {
  if (!message.startsWith(where)) return top;
  const rest = /^(?:\.[\w-]+|\[\d+\]|\["[^"]*"\])*/.exec(message.slice(where.length))?.[0] ?? '';
  const keys = [...rest.matchAll(/\.([\w-]+)|\[(\d+)\]|\["([^"]*)"\]/g)];
  return [...top, ...keys.map(([, name, index, quoted]) => name ?? quoted ?? Number(index))];
}

/** Upstreams of a `Mesh`, by canonical name. */
export function meshUpstreams(
  { upstreams, locate }: MeshDocument,
  own: OwnScope,
  report: Report,
): ReadonlyMap<string, FileUpstream> {
  const found = new Map<string, FileUpstream>();
  for (const [key, given] of Object.entries(upstreams)) {
    const top = ['spec', 'upstreams', key];
    const where = `upstreams.${key}`;
    const input = typeof given === 'string' ? { endpoints: given } : given;
    const problems: string[] = [];
    upstreamInput(input, where, problems);
    for (const message of problems)
      report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: locate(pathOf(message, top, where)), message });
    try {
      checkClusterName(key);
    } catch (error) {
      const message = messageOf(error);
      report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: locate(top, true), message });
      continue;
    }
    const name = canonicalName(key, own);
    const other = found.get(name);
    if (other !== undefined)
      report({
        code: 'INMESH_ERR_CONFIG_INVALID',
        origin: locate(top, true),
        message: `line ${other.origin.line} says ${name} already`,
      });
    if (problems.length > 0) continue;
    found.set(name, {
      input: input as UpstreamInput,
      endpoints: undefined,
      identities: undefined,
      origin: locate(top),
    });
  }
  return found;
}
