import type { FlatHeaders } from '@inmesh/core';

/** Headers by which a caller could claim an identity. A mesh peer proves its own in TLS. */
const spoofable: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'l5d-client-id']);
/** Our own headers come from nobody else. */
const ownPrefix = 'x-inmesh-';

/** What a request says about where it goes, after cleaning. */
export interface CleanTarget {
  /** Normalized target: path and query. */
  readonly target: string;
  /** Path of it. */
  readonly path: string;
  /** Authority: lower case, no trailing dot, port as sent. */
  readonly authority: string;
}

/** Why a request is refused with 400. */
export interface Fault {
  /** For the log and the caller: it is about its own request. */
  readonly fault: string;
}

/** Reads and normalizes a request target; see the option `normalize` of the listener. */
export type Normalize = (target: string) => string | undefined;

/** Lower case, without the trailing dot of a fully qualified name. */
export function cleanAuthority(authority: string): string {
  const lower = authority.toLowerCase();
  if (!lower.includes('.')) return lower;
  if (lower.endsWith('.')) return lower.slice(0, -1);
  return lower.replace(/\.(?=:\d*$)/, '');
}

function isSpoofable(lower: string): boolean {
  return spoofable.has(lower) || lower.startsWith(ownPrefix);
}

/**
 * Looks once over the field lines: removes what could be mistaken for an identity, refuses what two readers could
 * read differently.
 */
export function cleanHeaders(headers: FlatHeaders): Fault | { readonly host: string | undefined } {
  const { raw } = headers;
  let host: string | undefined;
  let hasAuthorization = false;
  let forged: string[] | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const { length } = name;
    if (length === 4 && name.toLowerCase() === 'host') {
      if (host !== undefined) return { fault: 'more than one Host' };
      host = raw[i + 1] ?? '';
    } else if (length >= 10) {
      const first = name.charCodeAt(0) | 32;
      if (first !== 97 && first !== 120 && first !== 108) continue;
      const lower = name.toLowerCase();
      if (lower === 'authorization') {
        if (hasAuthorization) return { fault: 'more than one Authorization' };
        hasAuthorization = true;
      } else if (isSpoofable(lower)) (forged ??= []).push(lower);
    }
  }
  if (forged !== undefined) for (const name of forged) headers.delete(name);
  return { host };
}

const absolute = /^https?:\/\/([^/?#]*)(.*)$/i;

function pathOf(target: string): string {
  const question = target.indexOf('?');
  return question === -1 ? target : target.slice(0, question);
}

/** Brings a request target into origin form and normalizes it. */
export function cleanTarget(url: string, host: string, normalize: Normalize): CleanTarget | Fault {
  let target = url;
  let authority = host;
  if (!url.startsWith('/') && url !== '*') {
    const [, named, rest = ''] = absolute.exec(url) ?? [];
    if (named === undefined || named === '' || named.includes('@')) return { fault: 'a request target that is no path' };
    if (host !== '' && cleanAuthority(named) !== cleanAuthority(host)) return { fault: 'a Host that is not the authority of the request target' };
    authority = named;
    target = rest.startsWith('/') ? rest : `/${rest}`;
  }
  const normal = normalize(target);
  if (normal === undefined) return { fault: 'a path with escaped slashes, a NUL or no leading slash' };
  return { target: normal, path: pathOf(normal), authority: cleanAuthority(authority) };
}
