import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';
import { type Halt, httpStatusOf, type LocalReply } from '@inmesh/core';

/** A request of either protocol. */
export type AnyRequest = IncomingMessage | Http2ServerRequest;
/** A response of either protocol. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

/** What a layer that stopped a call wants said. An error without a reply tells the caller its status only. */
export function replyOf(halt: Halt): LocalReply {
  if (halt.kind === 'reply') return halt.reply;
  return halt.reply ?? { httpStatus: httpStatusOf(halt.error.status), grpcStatus: halt.error.status };
}

function bodyOf(reply: LocalReply): Uint8Array {
  return typeof reply.body === 'string' ? Buffer.from(reply.body) : (reply.body ?? new Uint8Array());
}

/** Answers a request whose handler does not run. */
export function sendReply(response: AnyResponse, reply: LocalReply, closes: boolean): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = bodyOf(reply);
  response.statusCode = reply.httpStatus;
  const names = new Map<string, string[]>();
  for (const [name, value] of reply.headers ?? []) names.set(name, [...(names.get(name) ?? []), value]);
  for (const [name, values] of names)
    response.setHeader(name, values.length === 1 ? (values[0] ?? '') : values);
  if (reply.httpStatus >= 200 && reply.httpStatus !== 204 && reply.httpStatus !== 304)
    response.setHeader('content-length', body.byteLength);
  // Whoever sends an ambiguous request does not get to send another on this connection.
  if (closes && 'shouldKeepAlive' in response) response.shouldKeepAlive = false;
  response.end(body);
}

/** What a handler may still call on a response that was answered without it; each would throw. */
const headMethods = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'writeHead',
  'flushHeaders',
  'addTrailers',
] as const;

/** Lets a handler that is still at work write to nobody instead of throwing into the application. */
export function mute(response: AnyResponse): void {
  const target = response as unknown as Record<string, unknown>;
  for (const name of headMethods) if (name in target) target[name] = () => response;
  target['write'] = () => true;
  target['end'] = () => response;
}

/** Answers an upgrade or CONNECT whose handler does not run, and closes. */
export function sendRawReply(socket: Duplex, reply: LocalReply): void {
  const body = bodyOf(reply);
  const lines = (reply.headers ?? []).map(
    ([name, value]) => `${name}: ${value.replaceAll(/[\r\n\0]/g, ' ')}\r\n`,
  );
  socket.write(
    `HTTP/1.1 ${reply.httpStatus} ${STATUS_CODES[reply.httpStatus] ?? ''}\r\n${lines.join('')}content-length: ${body.byteLength}\r\nconnection: close\r\n\r\n`,
  );
  socket.end(body);
}
