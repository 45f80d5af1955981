import { cleanAuthority, type Fault } from '@inmesh/core';

/** What a request says about where it goes, after cleaning. */
export interface CleanTarget {
  /** Normalized target: path and query. */
  readonly target: string;
  /** Path of it. */
  readonly path: string;
  /** Authority: lower case, no trailing dot, port as sent. */
  readonly authority: string;
}

/** Reads and normalizes a request target; see the option `normalize` of the listener. */
export type Normalize = (target: string) => string | undefined;

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
    if (named === undefined || named === '' || named.includes('@'))
      return { fault: 'a request target that is no path' };
    if (host !== '' && cleanAuthority(named) !== cleanAuthority(host))
      return { fault: 'a Host that is not the authority of the request target' };
    authority = named;
    target = rest.startsWith('/') ? rest : `/${rest}`;
  }
  const normal = normalize(target);
  if (normal === undefined) return { fault: 'a path with escaped slashes, a NUL or no leading slash' };
  return { target: normal, path: pathOf(normal), authority: cleanAuthority(authority) };
}
