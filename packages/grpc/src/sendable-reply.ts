import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { MeshError } from '@inmesh/core';
import { hopByHop, maxMetadataBytes, pairOverheadBytes } from './hop-by-hop.js';

/** `grpc-message` at most, in bytes as it is sent. */
const maxMessageBytes = 8192;
/**
 * Pairs of a head or of trailers at most. A client of node:http2 takes 128 and resets the stream for more; it cannot be
 * told otherwise through grpc-js. One is left for the `date` that node:http2 adds.
 */
const maxReplyPairs = 127;

const messageKey = 'grpc-message';

/** Cuts a percent-encoded message, between two characters. */
function shorten(message: string): string {
  if (message.length <= maxMessageBytes) return message;
  let end = maxMessageBytes;
  if (message[end - 1] === '%') end -= 1;
  else if (message[end - 2] === '%') end -= 2;
  // What follows is not the first octet of a character.
  while (end > 0 && /^%[89AB]/i.test(message.slice(end, end + 2))) end -= 3;
  return message.slice(0, Math.max(end, 0));
}

/**
 * Makes a head or trailers fit for a connection that other calls share: names of HTTP/1.1 are taken out, and a long
 * `grpc-message` is cut.
 *
 * @param headers - Changed in place.
 * @returns Why it cannot be sent all the same.
 */
export function makeReplySendable(headers: OutgoingHttpHeaders): string | undefined {
  let pairs = 0;
  let bytes = 0;
  for (const name of Object.keys(headers)) {
    if (hopByHop.has(name) || name === 'te') {
      delete headers[name];
      continue;
    }
    const value = headers[name];
    if (name === messageKey && typeof value === 'string') headers[name] = shorten(value);
    const sent = headers[name];
    if (Array.isArray(sent)) {
      pairs += sent.length;
      for (const one of sent) bytes += name.length + one.length + pairOverheadBytes;
    } else {
      pairs++;
      bytes += name.length + String(sent).length + pairOverheadBytes;
    }
  }
  if (bytes > maxMetadataBytes)
    return `the metadata of the reply is ${bytes} bytes long; at most ${maxMetadataBytes} are sent`;
  if (pairs > maxReplyPairs)
    return `the metadata of the reply has ${pairs} pairs; at most ${maxReplyPairs} are sent`;
  return undefined;
}

/**
 * Sends a head or trailers, if they fit a connection that other calls share.
 *
 * @returns Why they were not sent.
 */
export function sendReply(
  headers: OutgoingHttpHeaders,
  stream: ServerHttp2Stream,
  send: () => void,
): MeshError | undefined {
  const excess = makeReplySendable(headers);
  if (excess !== undefined)
    return new MeshError('INMESH_ERR_OVERFLOW', excess, {
      status: 'resource-exhausted',
      retry: 'never',
      stackless: true,
    });
  try {
    send();
    return undefined;
  } catch (thrown) {
    if (stream.destroyed || stream.closed) throw thrown;
    // Trailers are asked for by an event: it would end the process.
    return new MeshError('INMESH_ERR_BAD_REPLY', 'the metadata of the reply cannot be sent', {
      status: 'internal',
      retry: 'never',
      cause: thrown,
    });
  }
}
