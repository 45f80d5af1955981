import type { FlatHeaders } from './headers.js';

/** Headers by which a caller could claim an identity. A mesh peer proves its own in TLS. */
const spoofable: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'l5d-client-id']);
/** Our own headers come from nobody else. */
const ownPrefix = 'x-inmesh-';

/** Why a request is refused as ambiguous. */
export interface Fault {
  /** For the log and the caller: it is about its own request. */
  readonly fault: string;
}

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

/** What clean headers say about where a request goes. */
export interface CleanHost {
  /** The one `Host`, if there is one. */
  readonly host: string | undefined;
}

/** First letters, in lower case, of the long names that are looked at: `authorization`, `l5d-…`, `x-…`. */
const firstLetters: ReadonlySet<number> = new Set([97, 108, 120]);
const shortestLongName = 10;

/** The name in lower case if it is one that {@link cleanHeaders} looks at; `undefined` for most, without work. */
function interesting(name: string): string | undefined {
  const { length } = name;
  if (length === 4) return name.toLowerCase();
  return length >= shortestLongName && firstLetters.has(name.charCodeAt(0) | 32)
    ? name.toLowerCase()
    : undefined;
}

/**
 * Looks once over the field lines: removes what could be mistaken for an identity, refuses what two readers could
 * read differently.
 */
export function cleanHeaders(headers: FlatHeaders): CleanHost | Fault {
  const { raw } = headers;
  let host: string | undefined;
  let hasAuthorization = false;
  let forged: string[] | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const lower = interesting(raw[i] ?? '');
    if (lower === undefined) continue;
    if (lower === 'host') {
      if (host !== undefined) return { fault: 'more than one Host' };
      host = raw[i + 1] ?? '';
    } else if (lower === 'authorization') {
      if (hasAuthorization) return { fault: 'more than one Authorization' };
      hasAuthorization = true;
    } else if (isSpoofable(lower)) (forged ??= []).push(lower);
  }
  for (const name of forged ?? []) headers.delete(name);
  return { host };
}
