import { normalizeTarget, pathNormalizations } from '@inmesh/authz';
import { cleanAuthority, cleanHeaders, FlatHeaders, plainIp } from '@inmesh/core';
import { formatDeadline, parseDeadline, parsePushback, retryAfterMs } from '@inmesh/resilience';
import fc from 'fast-check';
import { promise, type Target, target } from './target.js';
import { soup, spoiled } from './texts.js';

const numbers = ['0', '1', '9', '-', '+', '.', 'e', ' ', '99999999999', '\u0660'];
const fieldName = fc.constantFrom(
  'Host',
  'host',
  'authorization',
  'X-Forwarded-Client-Cert',
  'forwarded',
  'client-cert',
  'x-inmesh-nack',
  'X-INMESH-',
  'l5d-client-id',
  'x-envoy-peer-metadata',
  'cookie',
);
const claims =
  /^(?:x-inmesh-.*|x-forwarded-client-cert|forwarded|client-cert|l5d-client-id|x-envoy-peer-metadata)$/i;
const paths = [
  '/',
  '//',
  '.',
  '..',
  '%2e',
  '%2F',
  '%5c',
  '\\',
  '%00',
  '%',
  '?',
  '#',
  ';',
  'a',
  'A',
  '%41',
  'é',
];

function checkPath(text: string): void {
  for (const mode of pathNormalizations) {
    const once = normalizeTarget(text, mode);
    if (once === undefined) continue;
    promise(once === '*' || once.startsWith('/'), `${mode} gives an origin form`);
    const [path = ''] = once.split('?');
    if (mode === 'NONE') continue;
    promise(!/(?:^|\/)\.{1,2}(?:\/|$)/.test(path), `${mode} leaves no dot segment`);
    promise(!path.includes('\\') && !path.includes('#'), `${mode} leaves no backslash and no fragment`);
    if (mode !== 'BASE') promise(!path.includes('//'), `${mode} merges slashes`);
    if (mode === 'REJECT_ESCAPED_SLASHES') promise(!/%(?:2f|5c)/i.test(path), 'no escaped slash passes');
  }
}

function checkHeaders(lines: readonly (readonly [string, string])[]): void {
  const headers = new FlatHeaders(lines.flat());
  const found = cleanHeaders(headers);
  const hosts = lines.filter(([name]) => name.toLowerCase() === 'host');
  const tokens = lines.filter(([name]) => name.toLowerCase() === 'authorization');
  if ('fault' in found) {
    promise(hosts.length > 1 || tokens.length > 1, 'only what is ambiguous is refused');
    return;
  }
  promise(hosts.length <= 1 && tokens.length <= 1, 'two Host or Authorization lines are refused');
  promise(found.host === hosts[0]?.[1], 'the Host is the one that was sent');
  const names = headers.raw.filter((_, i) => i % 2 === 0);
  promise(!names.some((name) => claims.test(name)), 'no line that claims an identity stays');
  promise(names.length === lines.filter(([name]) => !claims.test(name)).length, 'every other line stays');
}

/** What peers write into lines of a request or a reply. */
export const headerTargets: readonly Target[] = [
  target('deadline', fc.oneof(soup(...numbers), fc.nat().map(String)), (text) => {
    const ms = parseDeadline(text);
    promise(
      ms === undefined ? !/^\d{1,9}$/.test(text) : ms === Number(text),
      'it is the number that was sent',
    );
    if (ms !== undefined && ms > 1) promise(formatDeadline(ms + 1, 0) === String(ms), 'it round-trips');
  }),
  target(
    'retry-after',
    fc.oneof(
      soup(...numbers),
      fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
      spoiled(numbers, 'Wed, 21 Oct 2015 07:28:00 GMT', '120'),
    ),
    (text) => {
      const ms = retryAfterMs(text, 1_000_000);
      promise(ms === undefined || ms >= 0, 'a wait is never negative and never NaN');
    },
  ),
  target('pushback', fc.oneof(soup(...numbers), fc.nat().map(String)), (text) => {
    const found = parsePushback(text);
    promise(found !== undefined, 'what is there says something');
    if (typeof found === 'number')
      promise(found === Number(text) && found <= 2_147_483_647, 'it is the number');
  }),
  target('path', fc.oneof(soup(...paths), spoiled(paths, '/a/b/../c?x=/../y', '/admin/%2e%2e/x')), checkPath),
  target(
    'headers',
    fc.array(fc.tuple(fieldName, fc.string({ maxLength: 6 })), { maxLength: 8 }),
    checkHeaders,
  ),
  target('authority', soup('a', 'B', '.', ':', '80', '[', '::1', ']', '@', '..'), (text) => {
    const clean = cleanAuthority(text);
    promise(clean === clean.toLowerCase(), 'it is lower case');
    promise(
      text.length - clean.length <= 1 + text.length - text.toLowerCase().length,
      'at most the dot goes',
    );
  }),
  target('plain ip', soup('::ffff:', '::FFFF:', '10.0.0.1', '%', 'eth0', 'fe80::1', ':'), (text) => {
    promise(!plainIp(text).includes('%'), 'no zone is left');
  }),
];
