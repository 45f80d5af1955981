import {
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { ConnectionFacts, Logger, Runtime } from '@inmesh/core';
import { type Http2Bounds, isLost, watchHttp2 } from '@inmesh/identity';
import type { GrpcSeat, OnHttpStream } from './http-contract.js';
import { http2SessionOf } from './http2-session-of.js';

/** Runs a request of plain HTTP over HTTP/2. */
export type OnHttp2Request = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const notEnabled = 'inmesh: this service does not serve plain HTTP over HTTP/2; use HTTP/1.1\n';

/** Streams of one connection at once; node:http2 has no bound of its own. */
const maxConcurrentStreams = 100;

function isGrpc(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/grpc(?:$|[+; ])/i.test(contentType);
}

/**
 * HTTP/2 of a listener. Without a gRPC server it terminates the connections itself; streams of plain HTTP become
 * requests if the application opted in, and get a clear answer if it did not.
 */
export class Http2FrontEnd {
  readonly #own: Http2Server;
  readonly #compat: Http2Server | undefined;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #bounds: Http2Bounds;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  #hasWarned = false;
  #isLast = false;

  /** @param onRequest - `undefined` where the application did not opt in. */
  constructor(onRequest: OnHttp2Request | undefined, bounds: Http2Bounds, runtime: Runtime, logger: Logger) {
    this.#bounds = bounds;
    this.#runtime = runtime;
    this.#logger = logger;
    this.#own = createServer({ settings: { maxConcurrentStreams } });
    this.#own.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    const onStream: OnHttpStream = (stream, headers, flags, rawHeaders) => {
      stream.on('error', () => {});
      if (isLost(stream)) return;
      if (isGrpc(headers['content-type'])) {
        stream.respond(
          {
            ':status': 200,
            'content-type': 'application/grpc',
            'grpc-status': '12',
            'grpc-message': 'no gRPC server on this port',
          },
          { endStream: true },
        );
      } else this.onStream(stream, headers, flags, rawHeaders);
    };
    this.#own.on('stream', onStream);
    if (onRequest !== undefined) this.#compat = createServer(onRequest);
  }

  /** Takes streams of plain HTTP, also those of a gRPC server's connections. */
  readonly onStream: OnHttpStream = (stream, headers, flags, rawHeaders) => {
    if (this.#compat !== undefined) {
      // The compatibility API is made of a stream by the listener that a request listener installs.
      this.#compat.emit('stream', stream, headers, flags, rawHeaders);
      return;
    }
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      this.#logger.warn(
        { path: headers[':path'] },
        'plain HTTP over HTTP/2 refused: not enabled for this service',
      );
    }
    stream.on('error', () => {});
    stream.respond({ ':status': 505, 'content-type': 'text/plain' });
    stream.end(notEnabled);
  };

  /** Takes a connection. */
  accept(socket: Socket, facts: ConnectionFacts, seat: GrpcSeat | undefined): void {
    if (seat === undefined) this.#own.emit('connection', socket);
    else seat.accept(socket, facts, this.onStream);
    const session = http2SessionOf(socket);
    if (session !== undefined) {
      watchHttp2(session, socket, this.#bounds, this.#runtime);
      if (this.#isLast) session.close();
    } else if (!socket.destroyed)
      this.#logger.error({}, 'HTTP/2 connections are not watched: this Node.js is not known');
  }

  /**
   * Sends GOAWAY; streams under way end normally.
   *
   * @param isLast - Whether nobody listens any more: then it is sent on connections that are still being made, too. As
   * long as somebody does, their clients would only come back.
   */
  drain(isLast: boolean): void {
    this.#isLast = isLast;
    for (const session of this.#sessions) session.close();
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
  }
}
