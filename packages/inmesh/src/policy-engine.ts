import { compilePolicies, type PolicySet, refuseTwins } from '@inmesh/authz';
import type { MeshConfig, ResolvedConfig } from '@inmesh/config';
import type { PolicyDirectory } from '@inmesh/config/policies';
import { type AuthorizationPolicy, type Logger, MeshError, type Runtime, type Workload } from '@inmesh/core';
import type { PathEquivalence } from '@inmesh/http';

/** What the policies of a mesh come from. */
export interface PolicyInputs {
  /** The configuration. */
  readonly config: MeshConfig;
  /** Texts of the configuration file, for mistakes in its policies. @defaultValue none */
  readonly texts?: ReadonlyMap<string, string>;
  /** Policies in code. */
  readonly objects: readonly unknown[];
  /** Who we are. */
  readonly workload: Workload;
  /** Time. */
  readonly runtime: Runtime;
  /** Told when a set is in force. */
  readonly logger: Logger;
}

/** Policies that a change of the policy directory leaves as they are. */
function fixedOf(
  { allow, policies }: MeshConfig,
  objects: readonly AuthorizationPolicy[],
): readonly AuthorizationPolicy[] {
  return [...(allow === undefined ? [] : [allow]), ...objects, ...policies];
}

/** The policies of a mesh, from every source, as one list that changes as one. */
export class PolicyEngine {
  readonly #inputs: PolicyInputs;
  /** Those in code. */
  readonly #objects: readonly AuthorizationPolicy[];
  /** Those of the configuration, and those in code. */
  #fixed: readonly AuthorizationPolicy[];
  #directory: PolicyDirectory | undefined;
  readonly #listeners = new Set<() => void>();
  #policies: readonly AuthorizationPolicy[];
  #version = 0;

  private constructor(inputs: PolicyInputs, objects: readonly AuthorizationPolicy[]) {
    this.#inputs = inputs;
    this.#objects = objects;
    this.#fixed = fixedOf(inputs.config, objects);
    this.#policies = this.#fixed;
  }

  /**
   * Reads what there is; a directory is ready, or the start fails.
   *
   * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if the policies in code are no array; `INMESH_ERR_POLICY_*`
   */
  static async start(
    inputs: PolicyInputs,
    waitFor: (directory: PolicyDirectory) => Promise<void>,
  ): Promise<PolicyEngine> {
    const { config, objects, workload, runtime, logger } = inputs;
    // Whatever else has no length would be a set of policies that enforces nothing.
    if (!Array.isArray(objects))
      throw new MeshError(
        'INMESH_ERR_CONFIG_INVALID',
        'policies must be an array of AuthorizationPolicy objects',
      );
    // YAML and schemas are loaded only where there is something to read with them.
    const isNeeded = objects.length > 0 || config.policyDir !== undefined;
    const module = isNeeded ? await import('@inmesh/config/policies') : undefined;
    const { namespace } = workload;
    const parsed = objects.flatMap(
      (json, i) => module?.parsePolicyObject(json, `policies[${i}]`, { namespace }) ?? [],
    );
    const engine = new PolicyEngine(inputs, parsed);
    if (module !== undefined && config.policyDir !== undefined) {
      const directory = module.createPolicyDirectory({
        dir: config.policyDir,
        namespace,
        check: (policies) => engine.#checkAll([...engine.#fixed, ...policies]),
        runtime,
        logger,
      });
      engine.#directory = directory;
      await waitFor(directory);
    }
    await engine.check({ values: config, texts: inputs.texts ?? new Map<string, string>() });
    engine.#directory?.subscribe((state) => {
      if (state.kind === 'ready' && state.error === undefined) engine.#apply(state.value);
    });
    if (engine.#directory === undefined) engine.#apply([]);
    return engine;
  }

  /**
   * Refuses the policies of another configuration where they cannot be enforced.
   *
   * @throws MeshError `INMESH_ERR_POLICY_*`
   */
  async check({ values, texts }: Pick<ResolvedConfig, 'texts' | 'values'>): Promise<void> {
    try {
      this.#checkAll([...fixedOf(values, this.#objects), ...this.#ofDirectory()]);
    } catch (error) {
      const { frameError } = await import('@inmesh/config/policies');
      throw frameError(error, texts);
    }
  }

  /** Puts the policies of another configuration in force; {@link PolicyEngine.check} has let them pass. */
  configure(config: MeshConfig): void {
    this.#fixed = fixedOf(config, this.#objects);
    this.#apply(this.#ofDirectory());
  }

  /** @throws MeshError `INMESH_ERR_POLICY_*` */
  #checkAll(policies: readonly AuthorizationPolicy[]): void {
    refuseTwins(policies);
    void compilePolicies(policies, this.#inputs.workload);
  }

  #ofDirectory(): readonly AuthorizationPolicy[] {
    const state = this.#directory?.state;
    return state?.kind === 'ready' ? state.value : [];
  }

  /** How many sets have come into force. */
  get version(): number {
    return this.#version;
  }

  /** Why what is on disk now is not in force, if it is not. */
  get error(): unknown {
    return this.#directory?.state.error;
  }

  /** How often what was on disk was refused while the last good one was in force. */
  get refusals(): number {
    return this.#directory?.refusals ?? 0;
  }

  /** Every policy, not yet selected. */
  get policies(): readonly AuthorizationPolicy[] {
    return this.#policies;
  }

  /** Compiles what applies to a server, whose router takes some paths for the same. */
  compile(equivalence: PathEquivalence): PolicySet {
    const { workload, config } = this.#inputs;
    return compilePolicies(this.#policies, workload, { defaultAction: config.authzDefault, equivalence });
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stops watching. */
  close(): void {
    this.#directory?.close();
  }

  #apply(fromDirectory: readonly AuthorizationPolicy[]): void {
    const { workload, config, logger } = this.#inputs;
    const policies = Object.freeze([...this.#fixed, ...fromDirectory]);
    if (
      this.#version > 0 &&
      policies.length === this.#policies.length &&
      policies.every((one, i) => one === this.#policies[i])
    )
      return;
    this.#policies = policies;
    this.#version++;
    for (const listener of this.#listeners) listener();
    const set = compilePolicies(policies, workload, { defaultAction: config.authzDefault });
    for (const warning of set.warnings) logger.warn({}, warning);
    if (!set.hasAllow && config.authzDefault === 'allow') {
      logger.warn(
        { INMESH_AUTHZ_DEFAULT: 'allow' },
        'no ALLOW policy applies: every caller is allowed that no DENY policy names; set INMESH_ALLOW, or INMESH_AUTHZ_DEFAULT=deny',
      );
    }
    logger.info(
      { version: this.#version, policies: policies.length, clauses: set.size, default: config.authzDefault },
      'policy set in force',
    );
  }
}
