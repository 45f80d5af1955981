import {
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';
import { createTimer, type Halt, httpStatusOf, type LocalReply, type Runtime } from '@inmesh/core';

/** A request of either protocol. */
export type AnyRequest = IncomingMessage | Http2ServerRequest;
/** A response of either protocol. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

/** What a layer that stopped a call wants said. An error without a reply tells the caller its status only. */
export function replyOf(halt: Halt): LocalReply {
  if (halt.kind === 'reply') return halt.reply;
  return halt.reply ?? { httpStatus: httpStatusOf(halt.error.status), grpcStatus: halt.error.status };
}

/** What frames a message: whoever writes the message writes these. */
const framing: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Why a reply of a layer cannot be sent; node would throw outside of every call, or let it through as two replies. */
export function replyFault({ httpStatus, headers = [], body }: LocalReply): string | undefined {
  if (!Number.isInteger(httpStatus) || httpStatus < 200 || httpStatus > 599)
    return `status ${String(httpStatus)} is not one from 200 to 599`;
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

function sendable({ headers = [] }: LocalReply): readonly (readonly [string, string])[] {
  return headers.filter(([name]) => !framing.has(name.toLowerCase()));
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
  for (const [name, value] of sendable(reply)) names.set(name, [...(names.get(name) ?? []), value]);
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
  // Whoever waits for a callback goes on.
  const callBack = (args: readonly unknown[]): void => {
    const callback = args.findLast((one) => typeof one === 'function') as (() => void) | undefined;
    if (callback !== undefined) process.nextTick(callback);
  };
  target['write'] = (...args: unknown[]) => {
    callBack(args);
    return true;
  };
  target['end'] = (...args: unknown[]) => {
    callBack(args);
    return response;
  };
}

/** How long a client may take to read a refusal and to close, in milliseconds. */
const lingerMs = 1000;

/**
 * Answers an upgrade or CONNECT whose handler does not run, and closes. What the client still sends is read, to
 * nobody: closing on unread bytes would reset the connection before it read the answer.
 */
export function sendRawReply(socket: Duplex, reply: LocalReply, runtime: Runtime): void {
  const body = bodyOf(reply);
  const lines = sendable(reply).map(([name, value]) => `${name}: ${value}\r\n`);
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
