import { readFile, stat } from 'node:fs/promises';
import { createTimer, isMeshError, type Logger, MeshError, type Runtime } from '@inmesh/core';
import type { IdentitySource, RotationKind } from './identity.js';
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

/** How long files may take to be read until somebody is told, in milliseconds: a mount that hangs fails no call. */
const slowMs = 1000;

/** What was refused last. */
interface Refusal {
  readonly what: string;
  isCounted: boolean;
}

/**
 * Reads the three files as one: writers replace them one by one, so a set is used only when it fits together, and
 * the last good one stays until then. Contents are compared, not times, so symbolic links may be swapped.
 */
class FileSource extends IdentityHolder implements IdentitySource {
  readonly #options: FileIdentityOptions;
  readonly #timer = createTimer(() => void this.#poll());
  readonly #slow = createTimer(() => this.#onSlow());
  /** Files that are being read. */
  readonly #awaited = new Set<string>();
  /** Texts of certificate, key and bundle that are in force. */
  #applied: readonly string[] = [];
  #complaint = '';
  #refusal: Refusal | undefined;
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
    this.#options.runtime.disarm(this.#slow);
    this.stop();
    return Promise.resolve();
  }

  async #poll(): Promise<void> {
    const { certFile, keyFile, caFile, logger, runtime } = this.#options;
    let texts: readonly string[] | undefined;
    try {
      texts = await this.#read([certFile, keyFile, caFile]);
      const [cert, key, ca] = texts;
      if (this.#isClosed || cert === undefined || key === undefined || ca === undefined) return;
      if (texts.some((text, i) => text !== this.#applied[i])) {
        const svid = loadSvid(cert, key);
        const { trustDomain } = svid.id;
        this.publish(svid, new Map([[trustDomain, loadBundle(trustDomain, ca)]]));
        this.#applied = texts;
        this.#complaint = '';
        logger.info(
          { id: svid.id.uri, serial: svid.serial, notAfter: new Date(svid.notAfterMs).toISOString() },
          'identity files loaded',
        );
        await this.#warnAboutMode();
      } else this.#onUnchanged();
      this.#refusal = undefined;
    } catch (error) {
      this.#complain(error);
      this.#onRefused(error, texts);
    }
    if (!this.#isClosed) runtime.arm(this.#timer, this.#options.pollMs ?? 1000);
  }

  async #read(files: readonly string[]): Promise<readonly string[]> {
    const { runtime } = this.#options;
    this.#awaited.clear();
    runtime.arm(this.#slow, slowMs);
    try {
      return await Promise.all(
        files.map(async (file) => {
          this.#awaited.add(file);
          const text = await readFile(file, 'utf8');
          this.#awaited.delete(file);
          return text;
        }),
      );
    } finally {
      runtime.disarm(this.#slow);
    }
  }

  /** The reading goes on: nothing ends it, and another one would hang as well. */
  #onSlow(): void {
    this.#complain(new Error(`no answer within ${slowMs} ms from ${[...this.#awaited].join(', ')}`));
  }

  /** What could not be read, or did not fit, is what is in force again. */
  #onUnchanged(): void {
    if (this.#complaint === '') return;
    this.#complaint = '';
    this.recover();
    this.#options.logger.info({}, 'identity files are those in force again');
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

  /** Counted when it is read again unchanged, and then no more: in between writers are at work. */
  #onRefused(cause: unknown, texts: readonly string[] | undefined): void {
    const what = texts?.join('\0') ?? String(cause);
    if (this.#refusal?.what !== what) this.#refusal = { what, isCounted: false };
    else if (!this.#refusal.isCounted) {
      this.#refusal.isCounted = true;
      this.countRefusal(texts === undefined ? [this.#unreadKind(cause)] : this.#kindsOf(texts));
    }
  }

  #unreadKind(cause: unknown): RotationKind {
    return (cause as NodeJS.ErrnoException).path === this.#options.caFile ? 'root' : 'svid';
  }

  #kindsOf([cert, key, ca]: readonly string[]): readonly RotationKind[] {
    const [certBefore, keyBefore, caBefore] = this.#applied;
    const kinds: RotationKind[] = ca === caBefore ? [] : ['root'];
    if (cert !== certBefore || key !== keyBefore) kinds.push('svid');
    return kinds;
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
