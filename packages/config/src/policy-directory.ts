import { type AuthorizationPolicy, type Logger, MeshError, type Runtime } from '@inmesh/core';
import { frameError, parsePolicies } from './policy-documents.js';
import { type Files, type WatchedFiles, watchFiles } from './watched-files.js';

/** What {@link createPolicyDirectory} needs. */
export interface PolicyDirectoryOptions {
  /** The directory; its `*.yaml`, `*.yml` and `*.json` are read, nothing below it. */
  readonly dir: string;
  /** Namespace of policies that name none. */
  readonly namespace: string;
  /** Refuses a set that cannot be enforced, by throwing. */
  readonly check: (policies: readonly AuthorizationPolicy[]) => void;
  /** How often it is read, in milliseconds; a change is used when two readings agree. @defaultValue 250 */
  readonly pollMs?: number;
  /** Time. */
  readonly runtime: Runtime;
  /** Told about sets that were refused. */
  readonly logger: Logger;
}

/** The policies of a directory. Gone if the first reading fails; afterwards the last good set stays. */
export type PolicyDirectory = WatchedFiles<readonly AuthorizationPolicy[]>;

/** Watches a directory of policies. */
export function createPolicyDirectory(options: PolicyDirectoryOptions): PolicyDirectory {
  const { dir, namespace, check, pollMs, runtime, logger } = options;
  const make = (files: Files): readonly AuthorizationPolicy[] => {
    if (files.size === 0)
      throw new MeshError(
        'INMESH_ERR_POLICY_UNREADABLE',
        `policy directory ${dir} holds no policy file (*.yaml, *.yml, *.json)`,
      );
    const policies = [...files].flatMap(([file, text]) => parsePolicies(text, file, { namespace }));
    try {
      check(policies);
    } catch (error) {
      throw frameError(error, files);
    }
    return Object.freeze(policies);
  };
  return watchFiles({
    path: dir,
    what: 'policy directory',
    code: 'INMESH_ERR_POLICY_UNREADABLE',
    make,
    complaint: 'policies rejected, the last good set stays in force',
    pollMs,
    runtime,
    logger,
  });
}
