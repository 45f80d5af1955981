import type { Logger, Runtime } from '@inmesh/core';
import type { IdentitySource, RotationKind } from './identity.js';
import { IdentityHolder } from './identity-holder.js';
import { loadBundle, loadSvid } from './svid.js';

/** An identity given in code. */
export interface StaticIdentity {
  /** PEM chain, leaf first. */
  readonly certPem: string;
  /** PEM private key. */
  readonly keyPem: string;
  /** PEM trust bundles by trust domain. */
  readonly bundles: ReadonlyMap<string, string>;
}

/** What {@link createStaticIdentity} needs. */
export interface StaticIdentityOptions extends StaticIdentity {
  /** Time. */
  readonly runtime: Runtime;
  /** Told about a rejected update. */
  readonly logger: Logger;
}

/** An identity that its owner replaces. */
export interface StaticIdentitySource extends IdentitySource {
  /**
   * Replaces the identity.
   *
   * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID`; the one before stays.
   */
  update(identity: StaticIdentity): void;
}

/** What was to change. */
function changed(before: StaticIdentity, { certPem, keyPem, bundles }: StaticIdentity): RotationKind[] {
  const isSameRoot =
    bundles.size === before.bundles.size &&
    [...bundles].every(([name, pem]) => before.bundles.get(name) === pem);
  const isSameSvid = certPem === before.certPem && keyPem === before.keyPem;
  if (isSameRoot) return ['svid'];
  return isSameSvid ? ['root'] : ['svid', 'root'];
}

class StaticSource extends IdentityHolder implements StaticIdentitySource {
  readonly #logger: Logger;
  #given: StaticIdentity | undefined;

  constructor(options: StaticIdentityOptions) {
    super(options.runtime, 'code', options.logger);
    this.#logger = options.logger;
    this.update(options);
  }

  update(identity: StaticIdentity): void {
    const { certPem, keyPem, bundles } = identity;
    try {
      const loaded = new Map([...bundles].map(([name, pem]) => [name, loadBundle(name, pem)] as const));
      this.publish(loadSvid(certPem, keyPem), loaded);
      this.#given = { ...identity, bundles: new Map(bundles) };
    } catch (error) {
      this.#logger.error({ error }, 'identity rejected');
      if (this.#given !== undefined) this.countRefusal(changed(this.#given, identity));
      throw error;
    }
  }

  close(): Promise<void> {
    this.stop();
    return Promise.resolve();
  }
}

/**
 * An identity given in code, ready at once.
 *
 * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID` if the parts are malformed or do not fit together.
 */
export function createStaticIdentity(options: StaticIdentityOptions): StaticIdentitySource {
  return new StaticSource(options);
}
