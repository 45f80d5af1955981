import type { HeaderEdits } from '@inmesh/core';
import { type Check, listOf, objectOf, recordOf, text } from './shape.js';

/** What HTTP and gRPC both take as a name. gRPC over HTTP/2, Header-Name; RFC 9110 §5.1 allows more. */
const nameForm = /^[0-9A-Za-z_.-]+$/;

/** What HTTP and gRPC both take as a value. gRPC over HTTP/2, ASCII-Value. */
const editValue = text(
  'the value of a header: visible ASCII and spaces, which HTTP and gRPC both take',
  /^[\x20-\x7e]*$/,
);

/** Hop-by-hop and framing fields. RFC 9110 §7.6.1, RFC 9113 §8.2.2. */
const framing = new Set([
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const ofMesh = new Set(['x-envoy-attempt-count', 'x-envoy-expected-rq-timeout-ms']);

/** Why a header is not for routes to change; `undefined` if it is. */
function whyNot(name: string, side: 'request' | 'response'): string | undefined {
  if (name.startsWith(':'))
    return 'pseudo-headers cannot be changed; rewrite.path and rewrite.authority say what is asked for';
  if (framing.has(name) || name.startsWith('proxy-'))
    return 'it belongs to one connection or frames the message; headers of the application are allowed';
  if (name === 'host' && side === 'request') return 'use rewrite.authority';
  if (name.startsWith('grpc-')) return 'it belongs to gRPC; headers of the application are allowed';
  if (name.startsWith('x-inmesh-') || ofMesh.has(name))
    return 'the mesh sets it; headers of the application are allowed';
  return undefined;
}

/** The name of a header that a route may change. */
function editName(side: 'request' | 'response'): Check {
  const form = text('the name of a header: A-Z, a-z, 0-9, "-", "_" and "."', nameForm);
  return (given, where, problems) => {
    const reason = typeof given === 'string' ? whyNot(given.toLowerCase(), side) : undefined;
    if (reason === undefined) form(given, where, problems);
    else problems.push(`${where} is ${JSON.stringify(given)}: ${reason}`);
  };
}

function editsOf(side: 'request' | 'response'): Check {
  const name = editName(side);
  const plain = recordOf(editValue, name);
  const lines: Check = (given, where, problems) => {
    const before = problems.length;
    plain(given, where, problems);
    if (problems.length > before) return;
    for (const [key, value] of Object.entries(given as Readonly<Record<string, string>>))
      if (key.toLowerCase() === 'content-type' && /^\s*application\/grpc/i.test(value))
        problems.push(
          `${where}[${JSON.stringify(key)}] is ${JSON.stringify(value)}: a call is not made a gRPC call; other types are allowed`,
        );
  };
  return objectOf<HeaderEdits>({
    set: lines,
    add: lines,
    remove: listOf(name),
  });
}

/** Changes of a request's headers, given in code. */
export const requestEdits: Check = editsOf('request');

/** Changes of a reply's headers, given in code. */
export const responseEdits: Check = editsOf('response');
