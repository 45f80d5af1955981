import {
  createTimer,
  type Logger,
  MeshError,
  type Runtime,
  type WatchListener,
  WatchSource,
  type WatchState,
} from '@inmesh/core';
import type {
  IdentityOrigin,
  IdentitySnapshot,
  RotationCount,
  RotationKind,
  TrustBundle,
  X509Svid,
} from './identity.js';
import { hasLostAuthority, rotated } from './rotations.js';
import { checkOwnSvid } from './svid.js';
import { proveContext } from './tls-options.js';

/** Longest delay that is armed at once; a certificate that lives longer is looked at again. */
const longestMs = 86_400_000;

/**
 * What all sources share: counts generations and trust epochs, validates before it publishes, and withdraws the
 * identity at the end of its validity (fail closed).
 */
export class IdentityHolder extends WatchSource<IdentitySnapshot> {
  /** How often its parts were replaced. */
  readonly rotations: Readonly<Record<RotationKind, RotationCount>> = {
    svid: { success: 0, failure: 0 },
    root: { success: 0, failure: 0 },
  };
  readonly #runtime: Runtime;
  readonly #origin: IdentityOrigin;
  readonly #expiry = createTimer(() => this.#onExpiry());
  #last: IdentitySnapshot | undefined;

  /**
   * @param origin - Where its identities come from.
   * @param logger - Told of subscribers that throw: their fault is not the identity's.
   */
  constructor(runtime: Runtime, origin: IdentityOrigin, logger: Logger) {
    super((error) => logger.error({ error }, 'a subscriber of the identity threw'));
    this.#runtime = runtime;
    this.#origin = origin;
  }

  override get state(): WatchState<IdentitySnapshot> {
    this.#checkExpiry();
    return super.state;
  }

  override current(): IdentitySnapshot {
    this.#checkExpiry();
    return super.current();
  }

  override subscribe(listener: WatchListener<IdentitySnapshot>): () => void {
    this.#checkExpiry();
    return super.subscribe(listener);
  }

  /**
   * Validates and publishes.
   *
   * @throws MeshError `INMESH_ERR_CERTIFICATE_INVALID`; what was published before stays.
   */
  publish(svid: X509Svid, bundles: ReadonlyMap<string, TrustBundle>): void {
    checkOwnSvid(svid, bundles, this.#runtime.wallMs());
    const last = this.#last;
    const lost = last !== undefined && hasLostAuthority(last.bundles, bundles);
    const snapshot: IdentitySnapshot = Object.freeze({
      generation: (last?.generation ?? 0) + 1,
      trustEpoch: (last?.trustEpoch ?? 0) + (lost ? 1 : 0),
      svid,
      bundles: new Map(bundles),
      origin: this.#origin,
    });
    proveContext(snapshot, this.#runtime.wallMs());
    for (const kind of last === undefined ? [] : rotated(last, snapshot)) this.rotations[kind].success++;
    this.#last = snapshot;
    this.#armExpiry(svid);
    this.set(snapshot);
  }

  /** Stops the expiry timer. */
  stop(): void {
    this.#runtime.disarm(this.#expiry);
  }

  /** What was to replace what is in force was refused, or could not be had. The first identity replaces nothing. */
  protected countRefusal(kinds: readonly RotationKind[]): void {
    if (this.#last !== undefined) for (const kind of kinds) this.rotations[kind].failure++;
  }

  #onExpiry(): void {
    this.#checkExpiry();
    const state = super.state;
    if (state.kind === 'ready') this.#armExpiry(state.value.svid);
  }

  #armExpiry(svid: X509Svid): void {
    this.#runtime.arm(this.#expiry, Math.min(svid.notAfterMs - this.#runtime.wallMs(), longestMs));
  }

  /** On use and not by the timer alone: timers are late after a suspend, and the clock may be set. */
  #checkExpiry(): void {
    const state = super.state;
    if (state.kind !== 'ready') return;
    const { svid } = state.value;
    if (this.#runtime.wallMs() < svid.notAfterMs) return;
    this.stop();
    this.withdraw(
      new MeshError(
        'INMESH_ERR_IDENTITY_GONE',
        `the certificate of ${svid.id.uri} expired at ${new Date(svid.notAfterMs).toISOString()} and was not renewed`,
      ),
    );
  }
}
