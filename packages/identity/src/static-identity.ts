import type { Logger, Runtime } from '@inmesh/core';
import type { IdentitySource } from './identity.js';
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

class StaticSource extends IdentityHolder implements StaticIdentitySource {
  readonly #logger: Logger;

  constructor(options: StaticIdentityOptions) {
    super(options.runtime, 'code', options.logger);
    this.#logger = options.logger;
    this.update(options);
  }

  update({ certPem, keyPem, bundles }: StaticIdentity): void {
    try {
      const loaded = new Map([...bundles].map(([name, pem]) => [name, loadBundle(name, pem)] as const));
      this.publish(loadSvid(certPem, keyPem), loaded);
    } catch (error) {
      this.#logger.error({ error }, 'identity rejected');
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
