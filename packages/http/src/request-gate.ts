import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  askedWhy,
  CallState,
  type CleanIntroduction,
  type ConnectionFacts,
  cleanAuthority,
  cleanHeaders,
  type Fault,
  type Headers,
  type LocalReply,
  type MeshError,
  type Protocol,
  tellRefused,
} from '@inmesh/core';
import { connectionFacts, plaintextFacts } from '@inmesh/identity';
import { nackHeader } from '@inmesh/resilience';
import { type CleanTarget, cleanTarget } from './clean-target.js';
import { type Exit, ResponseExit, StreamExit } from './exit.js';
import { hasUnknownRouter } from './frameworks.js';
import type { HttpListenerOptions } from './http-contract.js';
import { keepEvents } from './kept-events.js';
import { type AnyRequest, type AnyResponse, sendRawReply, sendReply } from './local-reply.js';
import { watchQueued } from './queued-calls.js';
import { RequestHeaders } from './request-headers.js';
import { guardMarkers, watchHead } from './response-headers.js';
import { ServerCall } from './server-call.js';
import { SocketExit } from './socket-exit.js';

type Emit = (event: string, ...args: unknown[]) => boolean;

/** A request whose target and headers are clean. */
interface CleanRequest extends CleanTarget {
  readonly asksWhy?: boolean | undefined;
  readonly introduction?: CleanIntroduction | undefined;
  readonly headers: RequestHeaders;
}

/** To a connection of an older trust epoch: nothing was processed, a new connection will tell who the peer is. */
const staleReply: LocalReply = {
  httpStatus: 503,
  headers: [
    [nackHeader, '1'],
    ['retry-after', '0'],
  ],
};

/** What node:http answers to what its parser refuses, where that is not 400. */
const parserStatus: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
};

function faultReply({ fault }: Fault): LocalReply {
  return { httpStatus: 400, headers: [['content-type', 'text/plain']], body: `inmesh: ${fault}\n` };
}

/**
 * Stands before every event by which a node:http server hands a request to an application: `request`,
 * `checkContinue`, `checkExpectation`, `upgrade` and `connect`. It overrides `emit`, so that listeners added later,
 * such as those of WebSocket libraries, are behind it too.
 */
export class RequestGate {
  /** Set when the listener drains: connections are asked to close. */
  isDraining = false;
  readonly #options: HttpListenerOptions;
  readonly #server: Server;
  readonly #emit: Emit;
  readonly #probePaths: ReadonlySet<string>;
  #isRouterNews: boolean;

  /** @param options - Of the listener. */
  constructor(options: HttpListenerOptions) {
    this.#options = options;
    this.#server = options.server;
    this.#probePaths = new Set(options.probePaths);
    this.#isRouterNews = hasUnknownRouter(options.server);
    this.#emit = (options.server.emit as Emit).bind(options.server);
    // Makes node:http ask before it sends `100 Continue`.
    this.#server.on('checkContinue', () => {});
    const emit = (event: string, ...args: unknown[]): boolean => this.#intercept(event, args);
    this.#server.emit = emit as Server['emit'];
  }

  /** A request of plain HTTP over HTTP/2. */
  onHttp2Request(request: AnyRequest, response: AnyResponse): void {
    this.#onRequest(request, response, 'http2', () => this.#emit('request', request, response));
  }

  #intercept(event: string, args: unknown[]): boolean {
    switch (event) {
      case 'request': {
        const [request, response] = args as [IncomingMessage, ServerResponse];
        this.#onRequest(request, response, 'http1', () => this.#emit('request', request, response));
        return true;
      }
      case 'checkContinue': {
        const [request, response] = args as [IncomingMessage, ServerResponse];
        this.#onRequest(request, response, 'http1', () => this.#continue(request, response));
        return true;
      }
      case 'checkExpectation': {
        // Without a listener node:http answers 417 by itself; no handler runs.
        const [request, response] = args as [IncomingMessage, ServerResponse];
        this.#onRequest(request, response, 'http1', () => this.#emit('checkExpectation', request, response));
        return true;
      }
      case 'upgrade':
      case 'connect': {
        const [request, socket, head] = args as [IncomingMessage, Duplex, Buffer];
        this.#onTunnel(event, request, socket, head);
        return true;
      }
      case 'clientError': {
        this.#onParserError(args[0] as NodeJS.ErrnoException, args[1] as Duplex);
        return this.#emit(event, ...args);
      }
      default: {
        return this.#emit(event, ...args);
      }
    }
  }

  #continue(request: IncomingMessage, response: ServerResponse): void {
    // The first listener is ours and does nothing.
    if (this.#server.listenerCount('checkContinue') > 1) {
      this.#emit('checkContinue', request, response);
      return;
    }
    response.writeContinue();
    this.#emit('request', request, response);
  }

  #onRequest(request: AnyRequest, response: AnyResponse, protocol: Protocol, run: () => void): void {
    const facts = this.#facts(request.socket);
    if (facts === undefined) {
      this.#onUnknownConnection(request, run);
      return;
    }
    if (this.#options.tls?.isStale(facts) === true) {
      this.#tellRefused(protocol, facts, 503);
      sendReply(response, staleReply, true);
      return;
    }
    if (this.isDraining && 'shouldKeepAlive' in response) response.shouldKeepAlive = false;
    const clean = this.#clean(request);
    if ('fault' in clean) {
      this.#refuse(protocol, facts, clean);
      sendReply(response, faultReply(clean), true);
      return;
    }
    const exit = 'stream' in response ? new StreamExit(response) : new ResponseExit(response, request.socket);
    this.#begin(request, clean, facts, protocol, exit, response, run);
  }

  #onTunnel(event: 'upgrade' | 'connect', request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const facts = this.#facts(request.socket);
    if (facts === undefined) {
      socket.destroy();
      return;
    }
    socket.on('error', () => socket.destroy());
    if (this.#options.tls?.isStale(facts) === true) {
      this.#tellRefused('http1', facts, 503);
      sendRawReply(socket, staleReply, this.#options.runtime);
      return;
    }
    const clean = event === 'connect' ? this.#cleanConnect(request) : this.#clean(request);
    if ('fault' in clean) {
      this.#refuse('http1', facts, clean);
      sendRawReply(socket, faultReply(clean), this.#options.runtime);
      return;
    }
    this.#begin(
      request,
      clean,
      facts,
      'http1',
      new SocketExit(
        socket,
        request.socket,
        this.#options.runtime,
        event === 'upgrade' && request.headers.upgrade?.toLowerCase() === 'websocket',
      ),
      undefined,
      () => {
        // Without a listener node:http closes the connection; with us in between nobody else does.
        if (!this.#emit(event, request, socket, head)) socket.destroy();
      },
    );
  }

  /** The facts of a connection that may carry requests; `undefined` for one that may not, or only for probes. */
  #facts(socket: Socket): ConnectionFacts | undefined {
    const facts = connectionFacts(socket);
    if (facts?.isEncrypted) return facts;
    if (this.#options.mode === 'strict') return undefined;
    return facts ?? plaintextFacts(socket);
  }

  /** Plaintext where the mode is strict: a probe, or nothing at all. */
  #onUnknownConnection(request: AnyRequest, run: () => void): void {
    const { method, url = '' } = request;
    const isProbe = (method === 'GET' || method === 'HEAD') && this.#probePaths.has(url);
    // As clean as every request: it still reaches the application.
    const clean = isProbe ? this.#clean(request) : undefined;
    if (clean !== undefined && !('fault' in clean) && clean.target === url) {
      run();
      return;
    }
    this.#options.onWrongSecurity?.('plaintext');
    request.socket.destroy();
  }

  #clean(request: AnyRequest): CleanRequest | Fault {
    const headers = new RequestHeaders(request);
    const checked = cleanHeaders(headers);
    if ('fault' in checked) return checked;
    const authority = 'authority' in request ? request.authority : undefined;
    if (authority !== undefined && authority !== '') {
      if (checked.host !== undefined && cleanAuthority(checked.host) !== cleanAuthority(authority))
        return { fault: 'a Host that is not :authority' };
    }
    const target = cleanTarget(request.url ?? '', authority || (checked.host ?? ''), this.#options.normalize);
    if ('fault' in target) return target;
    const { target: clean, path, authority: host } = target;
    const { asksWhy, introduction } = checked;
    if (clean !== request.url) request.url = clean;
    headers.target = clean;
    // Not a spread: Node 20 takes microseconds for one.
    return { target: clean, path, authority: host, headers, asksWhy, introduction };
  }

  #cleanConnect(request: IncomingMessage): CleanRequest | Fault {
    const headers = new RequestHeaders(request);
    const checked = cleanHeaders(headers);
    if ('fault' in checked) return checked;
    return { headers, target: '', path: '', authority: cleanAuthority(request.url ?? '') };
  }

  #tellRefused(protocol: Protocol, connection: ConnectionFacts, httpStatus: number, fault?: string): void {
    const { onRefused, runtime } = this.#options;
    tellRefused(onRefused, { protocol, connection, httpStatus, fault, nowMs: runtime.now() });
  }

  /** What the parser of node:http refuses, and answers itself, while no request is under way. */
  #onParserError(error: NodeJS.ErrnoException, socket: Duplex & { readonly _httpMessage?: unknown }): void {
    const facts = connectionFacts(socket);
    if (facts === undefined || socket._httpMessage || !error.code?.startsWith('HPE_')) return;
    this.#tellRefused('http1', facts, parserStatus[error.code] ?? 400, error.code);
  }

  #refuse(protocol: Protocol, facts: ConnectionFacts, { fault }: Fault): void {
    this.#tellRefused(protocol, facts, 400, fault);
    this.#options.logger.warn(
      { fault, peer: facts.peer?.id.uri, remoteIp: facts.remoteIp, code: 'INMESH_ERR_HTTP_BAD_REQUEST' },
      'request refused',
    );
  }

  /** Whoever says who it is learns who we are; of a tunnel, whose head is the handler's, nobody does. */
  #introduce(
    connection: ConnectionFacts,
    { id, text }: CleanIntroduction,
    response: AnyResponse | undefined,
  ): void {
    const { introductions } = this.#options;
    if (introductions === undefined || connection.peer === undefined) return;
    introductions.hear(connection, id, text);
    for (const [name, value] of introductions.own) response?.setHeader(name, value);
  }

  #begin(
    request: AnyRequest,
    clean: CleanRequest,
    connection: ConnectionFacts,
    protocol: Protocol,
    exit: Exit,
    response: AnyResponse | undefined,
    run: () => void,
  ): void {
    const { stack, live, context, logger, runtime } = this.#options;
    // With the first request: a port of gRPC alone has no router.
    if (this.#isRouterNews) {
      this.#isRouterNews = false;
      logger.info(
        {},
        'router unknown: DENY rules match any case, trailing slash, escape and semicolon of a path',
      );
    }
    if (clean.introduction !== undefined) this.#introduce(connection, clean.introduction, response);
    const target = { side: 'server', port: connection.localPort } as const;
    const plan = stack.plan(target);
    const call = new CallState({
      side: 'server',
      protocol,
      facts: { method: request.method ?? '', path: clean.path, authority: clean.authority, connection },
      headers: clean.headers,
      startedMs: runtime.now(),
      onCancel: (reason: MeshError) => serverCall.abort(reason),
    });
    if (clean.asksWhy === true) call.set(askedWhy, true);
    const proceed = (): void => {
      if (response !== undefined) {
        keepEvents(request, context, call);
        guardMarkers(response, call);
      }
      context.run(call, run);
    };
    const serverCall: ServerCall = new ServerCall(
      call,
      plan,
      () => stack.plan(target).recheck(call),
      exit,
      live,
      logger,
      proceed,
    );
    // Before anything answers: a layer's own reply has a head too.
    if (response !== undefined && plan.watchesHead) {
      watchHead(response, (status: number, headers: Headers) => serverCall.onHead(status, headers));
    }
    if (response === undefined) request.socket.once('close', () => serverCall.onClose());
    else {
      keepEvents(response, context, call, serverCall);
      if (!('stream' in response)) watchQueued(request.socket, response, serverCall);
    }
    serverCall.begin();
  }
}
