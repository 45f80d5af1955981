import { readFile, stat } from 'node:fs/promises';
import { createTimer, isMeshError, type Logger, MeshError, type Runtime } from '@inmesh/core';
import type { IdentitySource } from './identity.js';
import { IdentityHolder } from './identity-holder.js';
import { loadBundle, loadSvid } from './svid.js';

/** What {@link createFileIdentity} needs. */
export interface FileIdentityOptions {
  /** PEM chain, leaf first. */
  readonly certFile: string;
  /** PEM private key. */
  readonly keyFile: string;
  /** PEM trust bundle of the certificate's own trust domain. */
  readonly caFile: string;
  /** How often the files are read again, in milliseconds. @defaultValue 1000 */
  readonly pollMs?: number;
  /** Time. */
  readonly runtime: Runtime;
  /** Told when files change or stop fitting together. */
  readonly logger: Logger;
}

/**
 * Reads the three files as one: writers replace them one by one, so a set is used only when it fits together, and
 * the last good one stays until then. Contents are compared, not times, so symbolic links may be swapped.
 */
class FileSource extends IdentityHolder implements IdentitySource {
  readonly #options: FileIdentityOptions;
  readonly #timer = createTimer(() => void this.#poll());
  #applied = '';
  #complaint = '';
  #isModeKnown = false;
  #isClosed = false;

  constructor(options: FileIdentityOptions) {
    super(options.runtime, 'files', options.logger);
    this.#options = options;
    void this.#poll();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#options.runtime.disarm(this.#timer);
    this.stop();
    return Promise.resolve();
  }

  async #poll(): Promise<void> {
    const { certFile, keyFile, caFile, logger, runtime } = this.#options;
    try {
      const [cert, key, ca] = await Promise.all(
        [certFile, keyFile, caFile].map((file) => readFile(file, 'utf8')),
      );
      if (this.#isClosed || cert === undefined || key === undefined || ca === undefined) return;
      const content = [cert, key, ca].join('\0');
      if (content !== this.#applied) {
        const svid = loadSvid(cert, key);
        const { trustDomain } = svid.id;
        this.publish(svid, new Map([[trustDomain, loadBundle(trustDomain, ca)]]));
        this.#applied = content;
        this.#complaint = '';
        logger.info(
          { id: svid.id.uri, serial: svid.serial, notAfter: new Date(svid.notAfterMs).toISOString() },
          'identity files loaded',
        );
        await this.#warnAboutMode();
      }
    } catch (error) {
      this.#complain(error);
    }
    if (!this.#isClosed) runtime.arm(this.#timer, this.#options.pollMs ?? 1000);
  }

  /** Only said, once: a Secret of Kubernetes has the mode 0644 by design. */
  async #warnAboutMode(): Promise<void> {
    const { keyFile, logger } = this.#options;
    if (this.#isModeKnown) return;
    this.#isModeKnown = true;
    const mode = await stat(keyFile).then(
      (found) => found.mode,
      () => 0,
    );
    if ((mode & 0o007) === 0) return;
    logger.warn(
      { keyFile, mode: (mode & 0o777).toString(8) },
      'every user of this host may read the private key',
    );
  }

  #complain(cause: unknown): void {
    if (this.#isClosed) return;
    const { certFile, keyFile, caFile, logger } = this.#options;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = new MeshError(
      'INMESH_ERR_IDENTITY_FILES',
      `identity files ${certFile}, ${keyFile}, ${caFile}: ${reason}`,
      {
        cause,
      },
    );
    this.fail(error);
    // The same complaint every second would bury the log.
    if (reason === this.#complaint) return;
    this.#complaint = reason;
    logger.warn(
      { error, code: isMeshError(cause) ? cause.code : error.code },
      'identity files do not fit, last good identity stays',
    );
  }
}

/** An identity in three PEM files, read again as they change. Becomes ready when they first fit together. */
export function createFileIdentity(options: FileIdentityOptions): IdentitySource {
  return new FileSource(options);
}
