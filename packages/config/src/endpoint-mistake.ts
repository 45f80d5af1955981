import { isIP } from 'node:net';
import { show } from './problems.js';

const schemeForm = /^(?:dns\+|dnssrv\+)?([A-Za-z][A-Za-z0-9.-]*:\/\/+)/;
const prefixForm = /^([A-Za-z]+\+)/;

/** What is wrong with what follows `dnssrv+`. */
function srvMistake(name: string): string {
  const port = /:\d*$/.exec(name)?.[0];
  return port === undefined
    ? 'has no _service._proto.name after dnssrv+'
    : `has a port: leave out "${port}", SRV records say it`;
}

function portMistake(port: string): string {
  if (port === '') return 'has no port after ":"';
  return /^\d+$/.test(port)
    ? `has the port ${port}, which is not from 1 to 65535`
    : `has the port ${show(port)}, which is not a number`;
}

/** What is wrong with `[host]:port`. */
function bracketMistake(host: string, rest: string): string {
  if (isIP(host) !== 6) return 'has brackets, which are for IPv6 addresses';
  return rest.startsWith(':') ? portMistake(rest.slice(1)) : 'has no port';
}

function addressMistake(address: string): string {
  const [, bracketed, rest = ''] = /^\[([^[\]]*)\](.*)$/.exec(address) ?? [];
  if (bracketed !== undefined) return bracketMistake(bracketed, rest);
  const colon = address.lastIndexOf(':');
  if (colon === -1) return 'has no port';
  if (colon === 0) return 'has no host before ":"';
  const host = address.slice(0, colon);
  if (isIP(address) === 6 || isIP(host) === 6)
    return 'has an IPv6 address without brackets: write [address]:port';
  const port = address.slice(colon + 1);
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) return portMistake(port);
  return `has the host ${show(host)}, which is neither an IP address nor a DNS name`;
}

/** What is wrong with text that is no endpoint, as far as it can be told. To follow the text itself. */
export function endpointMistake(item: string): string {
  const scheme = schemeForm.exec(item)?.[1];
  if (scheme !== undefined) return `has a scheme: leave out "${scheme}"`;
  const separator = (/;/.exec(item) ?? /\s/.exec(item))?.[0];
  if (separator !== undefined) return `has ${show(separator)} in it: endpoints are separated by ","`;
  const slash = item.indexOf('/');
  if (slash !== -1) return `has a path: leave out ${show(item.slice(slash))}`;
  if (item.startsWith('dnssrv+')) return srvMistake(item.slice('dnssrv+'.length));
  const address = item.replace(/^dns\+/, '');
  const prefix = prefixForm.exec(address)?.[1];
  if (prefix !== undefined) return `begins with "${prefix}": there are dns+ and dnssrv+`;
  return addressMistake(address);
}

/** Text for an error: whoever pasted a URL with a password must not find it in a log. */
export function withoutPassword(item: string): string {
  return item.replace(/^((?:[A-Za-z][A-Za-z0-9+.-]*:\/\/)?).*@/s, '$1…@');
}
