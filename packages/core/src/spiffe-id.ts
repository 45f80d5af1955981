import { MeshError } from './errors.js';

/**
 * Name of a workload: `spiffe://<trust domain>/<path>`.
 *
 * @see {@link https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity | SPIFFE-ID §2}
 */
export interface SpiffeId {
  /** The whole text, as it stands in a certificate. */
  readonly uri: string;
  /** Trust domain: lower case, at most 255 characters. */
  readonly trustDomain: string;
  /** Path with its leading slash, or empty for the ID of the trust domain itself. */
  readonly path: string;
  /** Namespace, where the path is `/ns/<namespace>/sa/<service account>` (Istio's form). */
  readonly namespace: string | undefined;
  /** Service account, under the same condition. */
  readonly serviceAccount: string | undefined;
}

const scheme = 'spiffe://';
/** SPIFFE-ID §2.3: support of 2048 bytes is a MUST; longer ones are refused. */
const maxBytes = 2048;

function isTrustDomainChar(code: number): boolean {
  return (
    (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 45 || code === 46 || code === 95
  );
}

function isPathChar(code: number): boolean {
  return isTrustDomainChar(code) || (code >= 65 && code <= 90);
}

function invalid(text: string, why: string): MeshError {
  return new MeshError('INMESH_ERR_SPIFFE_ID_INVALID', `"${printable(text)}" is not a SPIFFE ID: ${why}`);
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 200)).slice(1, -1);
}

/**
 * Checks a trust domain name.
 *
 * @throws MeshError `INMESH_ERR_SPIFFE_ID_INVALID` unless it is 1 to 255 of `[a-z0-9.-_]` (SPIFFE-ID §2.1).
 */
export function parseTrustDomain(text: string): string {
  if (text.length === 0 || text.length > 255) throw invalid(text, 'a trust domain has 1 to 255 characters');
  for (let i = 0; i < text.length; i++) {
    if (!isTrustDomainChar(text.charCodeAt(i))) {
      throw invalid(text, `character ${i + 1} of the trust domain is not one of a-z 0-9 . - _`);
    }
  }
  return text;
}

function checkPath(text: string, path: string): void {
  let start = 1;
  for (let i = 1; i <= path.length; i++) {
    const code = i === path.length ? 47 : path.charCodeAt(i);
    if (code !== 47) {
      if (!isPathChar(code)) throw invalid(text, 'the path has a character outside a-z A-Z 0-9 . - _ /');
      continue;
    }
    const segment = path.slice(start, i);
    if (segment === '') throw invalid(text, 'the path has an empty segment');
    if (segment === '.' || segment === '..') throw invalid(text, 'the path has a dot segment');
    start = i + 1;
  }
}

/**
 * Reads a SPIFFE ID strictly; nothing is normalized, decoded or trimmed (`new URL` would do all three).
 *
 * @throws MeshError `INMESH_ERR_SPIFFE_ID_INVALID` with the rule that is broken (SPIFFE-ID §2.1 to §2.4).
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > maxBytes) throw invalid(text, `it is longer than ${maxBytes} bytes`);
  if (!text.startsWith(scheme)) throw invalid(text, 'it does not begin with spiffe://');
  const slash = text.indexOf('/', scheme.length);
  const trustDomain = parseTrustDomain(text.slice(scheme.length, slash === -1 ? undefined : slash));
  const path = slash === -1 ? '' : text.slice(slash);
  if (path !== '') checkPath(text, path);
  const parts = path.split('/');
  const istio = parts.length === 5 && parts[1] === 'ns' && parts[3] === 'sa';
  return Object.freeze({
    uri: text,
    trustDomain,
    path,
    namespace: istio ? parts[2] : undefined,
    serviceAccount: istio ? parts[4] : undefined,
  });
}

/** The ID `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, Istio's form. */
export function workloadSpiffeId(trustDomain: string, namespace: string, serviceAccount: string): SpiffeId {
  return parseSpiffeId(`${scheme}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
}
