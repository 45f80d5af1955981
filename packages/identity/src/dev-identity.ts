import { createTimer, isMeshError, MeshError } from '@inmesh/core';
import { type DevCa, type DevCaOptions, openDevCa, openSharedDevCa } from './dev-ca.js';
import type { IdentitySource } from './identity.js';
import { IdentityHolder } from './identity-holder.js';
import { type Minted, mint, svidUsages } from './mint.js';
import { loadBundle, loadSvid } from './svid.js';

const backdateMs = 60_000;
const firstRetryMs = 1000;
const lastRetryMs = 30_000;

/** Whom the dev CA vouches for. */
export interface DevWorkload {
  /** Namespace. */
  readonly namespace: string;
  /** Service; its SPIFFE ID is `spiffe://<trust domain>/ns/<namespace>/sa/<service>`. */
  readonly service: string;
  /** DNS names beside `<service>`, `<service>.<namespace>` and `localhost`. @defaultValue none */
  readonly dnsNames?: readonly string[];
  /** Life of a certificate, in milliseconds; renewed at half of it. */
  readonly ttlMs: number;
}

/** What {@link createDevIdentity} needs. */
export type DevIdentityOptions = DevCaOptions & DevWorkload;

function mintSvid(ca: DevCa, options: DevIdentityOptions): Promise<Minted> {
  const { trustDomain, namespace, service, dnsNames = [], ttlMs, runtime } = options;
  const now = runtime.wallMs();
  return mint({
    uris: [`spiffe://${trustDomain}/ns/${namespace}/sa/${service}`],
    // For curl, grpcio and Prometheus, which check names; our own verification ignores them.
    dnsNames: [...new Set([service, `${service}.${namespace}`, 'localhost', ...dnsNames])],
    notBeforeMs: now - backdateMs,
    notAfterMs: now + ttlMs,
    extendedKeyUsage: svidUsages,
    issuer: ca.signer(ttlMs),
  });
}

class DevSource extends IdentityHolder implements IdentitySource {
  readonly #options: DevIdentityOptions;
  readonly #timer = createTimer(() => {
    this.#renewal = this.#renew();
  });
  /** The last one that began; ends well whatever becomes of it. */
  #renewal: Promise<void>;
  #memory: DevCa | undefined;
  #isShared = false;
  #retryMs = firstRetryMs;
  #isClosed = false;

  constructor(options: DevIdentityOptions) {
    super(options.runtime, 'dev-ca', options.logger);
    this.#options = options;
    this.#renewal = this.#renew();
  }

  /** Ends when nothing is written any more: whoever owns the directory may remove it then. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#options.runtime.disarm(this.#timer);
    this.stop();
    return this.#renewal;
  }

  /** Opened each time: another process may have made a successor of the authority. */
  async #open(): Promise<DevCa> {
    if (this.#isShared) return await openSharedDevCa(this.#options);
    const ca = this.#memory ?? (await openDevCa(this.#options));
    if (ca.dir === undefined) this.#memory = ca;
    return ca;
  }

  async #renew(): Promise<void> {
    const { runtime, trustDomain, logger } = this.#options;
    let nextMs: number;
    try {
      const ca = await this.#open();
      const minted = await mintSvid(ca, this.#options);
      if (this.#isClosed) return;
      const svid = loadSvid(minted.certPem, minted.keyPem);
      this.publish(svid, new Map([[trustDomain, loadBundle(trustDomain, ca.bundlePem)]]));
      this.#isShared = ca.dir !== undefined;
      logger.info(
        {
          id: svid.id.uri,
          serial: svid.serial,
          notAfter: new Date(svid.notAfterMs).toISOString(),
          dir: ca.dir,
        },
        'dev identity issued',
      );
      this.#retryMs = firstRetryMs;
      // Of what is left, not of what was asked for: certificates end at whole seconds.
      nextMs = (svid.notAfterMs - runtime.wallMs()) * (0.49 + 0.02 * runtime.random());
    } catch (error) {
      if (this.#isClosed) return;
      this.#complain(error);
      nextMs = this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, lastRetryMs);
    }
    runtime.arm(this.#timer, nextMs);
  }

  #complain(cause: unknown): void {
    // The authority is not renewed by us: another one comes with the certificate that it signed.
    this.countRefusal(['svid']);
    const error = isMeshError(cause)
      ? cause
      : new MeshError('INMESH_ERR_INTERNAL', 'the dev CA could not issue an identity', { cause });
    this.#options.logger.error({ error }, 'dev identity not issued');
    // Before the first identity nothing will get better by waiting; afterwards the last one is good until it expires.
    if (this.state.kind === 'pending') this.withdraw(error);
    else this.fail(error);
  }
}

/**
 * An identity of the embedded dev CA, which the processes of one user share through a directory. Gone, with
 * `INMESH_ERR_DEV_CA_REFUSED` or `INMESH_ERR_DEV_CA_UNSAFE`, where it must not or cannot run.
 */
export function createDevIdentity(options: DevIdentityOptions): IdentitySource {
  return new DevSource(options);
}

/** What {@link mintDevSvid} made. */
export interface DevSvid {
  /** SPIFFE ID. */
  readonly id: string;
  /** PEM certificate. */
  readonly certPem: string;
  /** PKCS#8 PEM private key. */
  readonly keyPem: string;
  /** PEM trust bundle. */
  readonly bundlePem: string;
}

/**
 * Mints one SVID of the shared dev CA, for a program that is not ours.
 *
 * @throws MeshError `INMESH_ERR_DEV_CA_REFUSED`, `INMESH_ERR_DEV_CA_UNSAFE`
 */
export async function mintDevSvid(options: DevIdentityOptions): Promise<DevSvid> {
  const ca = await openSharedDevCa(options);
  const { certPem, keyPem } = await mintSvid(ca, options);
  return { id: loadSvid(certPem, keyPem).id.uri, certPem, keyPem, bundlePem: ca.bundlePem };
}
