import { type ContextKey, contextKey } from './call.js';
import type { FlatHeaders } from './headers.js';
import { peerMetadataHeader, peerMetadataIdHeader } from './peer-metadata.js';

/**
 * Headers by which a caller could claim an identity: those of Envoy, Linkerd and Istio, RFC 7239 and RFC 9440. A mesh
 * peer proves its own in TLS. `baggage` is not among them: it is the application's, and no identity is read from it.
 */
const spoofable: ReadonlySet<string> = new Set([
  'client-cert',
  'client-cert-chain',
  'forwarded',
  'l5d-client-id',
  peerMetadataHeader,
  peerMetadataIdHeader,
  'x-forwarded-client-cert',
]);
/** Our own headers come from nobody else. */
const ownPrefix = 'x-inmesh-';

/** Header by which a caller asks what was decided about its call, and in which it is told. */
export const explainHeader = 'x-inmesh-explain';
/** Set on a call whose caller asked. */
export const askedWhy: ContextKey<true> = contextKey('inmesh.asked-why');

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

/** Whether {@link cleanHeaders} removes a header. @param lower - Its name, lower case. */
export function isRemovedHeader(lower: string): boolean {
  return spoofable.has(lower) || lower.startsWith(ownPrefix);
}

/** What clean headers say about where a request goes. */
export interface CleanHost {
  /** The one `Host`, if there is one. */
  readonly host: string | undefined;
  /** Whether the caller asks what is decided about its call: {@link explainHeader} was there, and is not any more. */
  readonly asksWhy?: boolean;
  /** What the caller says of itself, which is not in the headers any more. */
  readonly introduction?: CleanIntroduction | undefined;
}

/** What a caller says of itself: see {@link peerMetadataHeader}. */
export interface CleanIntroduction {
  /** Name for the text. */
  readonly id: string;
  /** The text. */
  readonly text: string;
}

/** The name in lower case if it may be one that {@link cleanHeaders} looks at; `undefined` for most, without work. */
function interesting(name: string): string | undefined {
  const { length } = name;
  let isWanted = false;
  switch (name.charCodeAt(0) | 32) {
    // a: authorization
    case 97: {
      isWanted = length === 13;
      break;
    }
    // c: client-cert, client-cert-chain
    case 99: {
      isWanted = length === 11 || length === 17;
      break;
    }
    // f: forwarded
    case 102: {
      isWanted = length === 9;
      break;
    }
    // h: host
    case 104: {
      isWanted = length === 4;
      break;
    }
    // l: l5d-client-id
    case 108: {
      isWanted = length === 13;
      break;
    }
    // x: x-inmesh-… and others
    case 120: {
      isWanted = length >= ownPrefix.length;
      break;
    }
    default:
  }
  return isWanted ? name.toLowerCase() : undefined;
}

function introductionIn(headers: FlatHeaders): CleanIntroduction | undefined {
  const text = headers.get(peerMetadataHeader);
  return text === undefined ? undefined : { id: headers.get(peerMetadataIdHeader) ?? '', text };
}

function removeForged(
  headers: FlatHeaders,
  names: readonly string[],
  host: string | undefined,
  asksWhy: boolean,
): CleanHost {
  const introduction = introductionIn(headers);
  for (const name of names) headers.delete(name);
  return {
    host,
    ...(asksWhy ? { asksWhy } : {}),
    ...(introduction === undefined ? {} : { introduction }),
  };
}

/**
 * Looks once over the field lines: removes what could be mistaken for an identity, refuses what two readers could
 * read differently.
 */
export function cleanHeaders(headers: FlatHeaders): CleanHost | Fault {
  const { raw } = headers;
  let host: string | undefined;
  let hasAuthorization = false;
  let asksWhy = false;
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
    } else if (isRemovedHeader(lower)) {
      asksWhy ||= lower === explainHeader;
      (forged ??= []).push(lower);
    }
  }
  return forged === undefined ? { host } : removeForged(headers, forged, host, asksWhy);
}
