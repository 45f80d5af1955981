import {
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  createTimer,
  type Halt,
  httpStatusOf,
  type LocalReply,
  type Runtime,
  replyStatusFault,
  sendableHeaders,
} from '@inmesh/core';
import { sentType } from './sent-type.js';

/** A request of either protocol. */
export type AnyRequest = IncomingMessage | Http2ServerRequest;
/** A response of either protocol. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

/** What a layer that stopped a call wants said. An error without a reply tells the caller its status only. */
export function replyOf(halt: Halt): LocalReply {
  if (halt.kind === 'reply') return halt.reply;
  return halt.reply ?? { httpStatus: httpStatusOf(halt.error.status), grpcStatus: halt.error.status };
}

/** Why a reply of a layer cannot be sent; node would throw outside of every call, or let it through as two replies. */
export function replyFault(reply: LocalReply): string | undefined {
  const { headers = [], body } = reply;
  const statusFault = replyStatusFault(reply);
  if (statusFault !== undefined) return statusFault;
  if (body !== undefined && typeof body !== 'string' && !((body as unknown) instanceof Uint8Array))
    return 'the body is neither text nor bytes';
  try {
    for (const [name, value] of headers) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
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
  for (const [name, value] of sendableHeaders(reply)) names.set(name, [...(names.get(name) ?? []), value]);
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
function mute(response: AnyResponse): void {
  const target = response as unknown as Record<string, unknown>;
  const keepSilent = (): AnyResponse => response;
  for (const name of headMethods) if (name in target) target[name] = keepSilent;
  // Whoever waits for a callback goes on.
  const callBack = (args: readonly unknown[]): void => {
    const callback = args.findLast((one) => typeof one === 'function') as (() => void) | undefined;
    if (callback !== undefined) process.nextTick(callback);
  };
  const write = (...args: unknown[]): boolean => {
    callBack(args);
    return true;
  };
  const end = (...args: unknown[]): AnyResponse => {
    callBack(args);
    return response;
  };
  target['write'] = write;
  target['end'] = end;
}

/** Answers although a handler is at work: it may go on writing, to nobody. Cuts where an answer has begun. */
export function overrule(response: AnyResponse, halt: Halt): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // What the handler has set so far is about a body that is not sent.
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  sendReply(response, replyOf(halt), true);
  mute(response);
}

/**
 * Ends a reply of server-sent events, which has no other end; its handler may go on writing, to nobody. A reply of
 * another type is left alone: cut, it is known to be incomplete, ended it would look whole.
 */
export function concludeResponse(response: AnyResponse): void {
  if (!response.headersSent || response.writableEnded || response.destroyed) return;
  if (!/^text\/event-stream(?:$|[; ])/i.test(sentType(response) ?? '')) return;
  response.end();
  mute(response);
}

/** How long a client may take to read a refusal and to close, in milliseconds. */
const lingerMs = 1000;

/**
 * Answers an upgrade or CONNECT whose handler does not run, and closes. What the client still sends is read, to
 * nobody: closing on unread bytes would reset the connection before it read the answer.
 */
export function sendRawReply(socket: Duplex, reply: LocalReply, runtime: Runtime): void {
  const body = bodyOf(reply);
  const lines = sendableHeaders(reply).map(([name, value]) => `${name}: ${value}\r\n`);
  const timer = createTimer(() => socket.destroy());
  runtime.arm(timer, lingerMs);
  socket.once('close', () => runtime.disarm(timer));
  socket.write(
    `HTTP/1.1 ${reply.httpStatus} ${STATUS_CODES[reply.httpStatus] ?? ''}\r\n${lines.join('')}content-length: ${body.byteLength}\r\nconnection: close\r\n\r\n`,
    'latin1',
  );
  socket.end(body);
  socket.resume();
}
