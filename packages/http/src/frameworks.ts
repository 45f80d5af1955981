import { createServer, type RequestListener, Server } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { MeshError } from '@inmesh/core';
import { noteOperation } from './operation.js';

/** Which spellings of a path a router takes for the same route; see `RouterEquivalence` of `@inmesh/authz`. */
export interface PathEquivalence {
  /** `/Admin` reaches `/admin`. */
  readonly isCaseInsensitive: boolean;
  /** `/admin/` reaches `/admin`. */
  readonly ignoresTrailingSlash: boolean;
  /** `/%61dmin` reaches `/admin`. */
  readonly decodesEscapes: boolean;
  /** `/admin;x` reaches `/admin`. */
  readonly cutsAtSemicolon: boolean;
}

/** Frameworks that are known. */
export type Framework = 'express' | 'fastify' | 'function' | 'hono' | 'http' | 'koa';

/** An application as a server, and what its framework is like. */
export interface HttpApplication {
  /** The server that will listen. */
  readonly server: Server;
  /** What it is made with. */
  readonly framework: Framework;
  /** What its router takes for the same path; everything that any router may, where it is not known. */
  readonly equivalence: PathEquivalence;
  /** Whether it can answer plain HTTP over HTTP/2. */
  readonly canHttp2: boolean;
  /** Waits until it can take requests; before `listen`. */
  ready(): Promise<void>;
}

const exact: PathEquivalence = Object.freeze({
  isCaseInsensitive: false,
  ignoresTrailingSlash: false,
  decodesEscapes: false,
  cutsAtSemicolon: false,
});
/** A router that is not known: a DENY too many is seen, one too few is not. */
const widest: PathEquivalence = Object.freeze({
  isCaseInsensitive: true,
  ignoresTrailingSlash: true,
  decodesEscapes: true,
  cutsAtSemicolon: true,
});
/** Express and the Koa router; both can be told otherwise per router, so the wider counts. */
const lenient: PathEquivalence = Object.freeze({
  ...exact,
  isCaseInsensitive: true,
  ignoresTrailingSlash: true,
});
/** Hono decodes; whether it is strict about slashes it does not tell. */
const honoRouter: PathEquivalence = Object.freeze({
  ...exact,
  decodesEscapes: true,
  ignoresTrailingSlash: true,
});

const readyAtOnce = (): Promise<void> => Promise.resolve();

type Members = Readonly<Record<string, unknown>>;

function members(value: unknown): Members {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
    ? (value as Members)
    : {};
}

function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  return names.every((name) => typeof members(value)[name] === 'function');
}

function isExpress(app: unknown): boolean {
  return typeof app === 'function' && hasMethods(app, 'handle', 'set', 'use', 'listen');
}

interface FastifyLike {
  readonly server: Server;
  readonly initialConfig?: { readonly routerOptions?: Members } & Members;
  ready(): Promise<unknown>;
  listen: unknown;
  addHook?(
    name: 'onRequest',
    hook: (request: FastifyRequestLike, reply: unknown, done: () => void) => void,
  ): void;
}

interface FastifyRequestLike {
  readonly raw: object;
  readonly routeOptions?: { readonly url?: string };
}

function isFastify(app: unknown): app is FastifyLike {
  return members(app)['server'] instanceof Server && hasMethods(app, 'ready', 'inject', 'route');
}

const hooked = new WeakSet<object>();

/** Fastify tells the route of a request to its own hooks only. Once it has started it takes no more of them. */
function noteRoutes(app: FastifyLike): void {
  if (hooked.has(app)) return;
  hooked.add(app);
  try {
    app.addHook?.('onRequest', ({ raw, routeOptions }, _reply, done) => {
      noteOperation(raw, routeOptions?.url);
      done();
    });
  } catch {
    // Its calls have no name then; nothing else depends on it.
  }
}

function fromFastify(app: FastifyLike): HttpApplication {
  const { server, initialConfig = {} } = app;
  const option = (name: string): unknown => initialConfig.routerOptions?.[name] ?? initialConfig[name];
  const equivalence = Object.freeze({
    isCaseInsensitive: option('caseSensitive') === false,
    ignoresTrailingSlash: option('ignoreTrailingSlash') === true,
    decodesEscapes: true,
    cutsAtSemicolon: option('useSemicolonDelimiter') === true,
  });
  const ready = async (): Promise<void> => {
    await app.ready();
  };
  noteRoutes(app);
  // Its own listen() opens a second, bare server for each further address of "localhost".
  const listen = async (
    options: { readonly port?: number; readonly host?: string } = {},
  ): Promise<string> => {
    await ready();
    const { port = 0, host = '127.0.0.1' } = options;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    const address = server.address();
    return typeof address === 'object' && address !== null
      ? `http://${host}:${address.port}`
      : String(address);
  };
  app.listen = listen;
  return { server, framework: 'fastify', equivalence, canHttp2: true, ready };
}

interface KoaLike {
  callback(): RequestListener;
  readonly middleware?: unknown;
}

interface HonoLike {
  readonly fetch: (request: Request, env?: unknown) => Response | Promise<Response>;
}

type GetRequestListener = (fetch: HonoLike['fetch']) => RequestListener;

/** Turns a Fetch-style application into a request listener with the library of its own users. */
function honoListener(app: HonoLike): RequestListener {
  const places = [join(process.cwd(), 'package.json'), import.meta.url];
  for (const place of places) {
    try {
      const { getRequestListener } = createRequire(place)('@hono/node-server') as {
        getRequestListener: GetRequestListener;
      };
      return getRequestListener((request, env) => app.fetch(request, env));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new MeshError('INMESH_ERR_CONFIG_INVALID', 'to serve a Hono application, install @hono/node-server');
}

const unknownRouters = new WeakSet<Server>();

/** Whether nobody knows which spellings of a path reach the same handler of `server`. */
export function hasUnknownRouter(server: Server): boolean {
  return unknownRouters.has(server);
}

/** Frameworks show in a server only by their listener, and of those only that of Express says what it is. */
function fromServer(server: Server): HttpApplication {
  const listeners = server.listeners('request');
  const isLenient = listeners.length > 0 && listeners.every((listener) => isExpress(listener));
  if (!isLenient) unknownRouters.add(server);
  return {
    server,
    framework: isLenient ? 'express' : 'http',
    equivalence: isLenient ? lenient : widest,
    canHttp2: !listeners.some((listener) => isExpress(listener)),
    ready: readyAtOnce,
  };
}

function fromListener(
  listener: RequestListener,
  framework: Framework,
  equivalence: PathEquivalence,
  canHttp2: boolean,
): HttpApplication {
  const server = createServer(listener);
  if (equivalence === widest) unknownRouters.add(server);
  return { server, framework, equivalence, canHttp2, ready: readyAtOnce };
}

/**
 * Makes a server of an application: a `(req, res)` function, Express 4 or 5, Koa, Fastify, Hono, or a server.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID` if it is none of these.
 */
export function toHttpServer(app: unknown): HttpApplication {
  if (app instanceof Server) return fromServer(app as Server);
  if (isFastify(app)) return fromFastify(app);
  if (isExpress(app)) return fromListener(app as RequestListener, 'express', lenient, false);
  if (hasMethods(app, 'callback', 'use') && !hasMethods(app, 'fetch')) {
    const koa = app as KoaLike;
    // The dispatcher of @koa/router has it as `router`; who routes otherwise does not say how.
    const isKnown = Array.isArray(koa.middleware) && koa.middleware.some((one) => 'router' in members(one));
    return fromListener(koa.callback(), 'koa', isKnown ? lenient : widest, true);
  }
  if (hasMethods(app, 'fetch')) return fromListener(honoListener(app as HonoLike), 'hono', honoRouter, true);
  if (typeof app === 'function') return fromListener(app as RequestListener, 'function', widest, true);
  throw new MeshError(
    'INMESH_ERR_CONFIG_INVALID',
    'serve() takes a (req, res) function, an Express, Koa, Fastify or Hono application, or an http.Server',
  );
}
