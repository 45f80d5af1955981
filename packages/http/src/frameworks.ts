import { createServer, type RequestListener, Server } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { MeshError } from '@inmesh/core';

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
  /** What its router takes for the same path. */
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
/** Express and the Koa router; both can be told otherwise per router, so the widest counts. */
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
}

function isFastify(app: unknown): app is FastifyLike {
  return members(app)['server'] instanceof Server && hasMethods(app, 'ready', 'inject', 'route');
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
  // Its own listen() opens a second, bare server for each further address of "localhost".
  app.listen = async (options: { readonly port?: number; readonly host?: string } = {}): Promise<string> => {
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
  return { server, framework: 'fastify', equivalence, canHttp2: true, ready };
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

function fromServer(server: Server): HttpApplication {
  const isLenient = server.listeners('request').some((listener) => isExpress(listener));
  return {
    server,
    framework: isLenient ? 'express' : 'http',
    equivalence: isLenient ? lenient : exact,
    canHttp2: !isLenient,
    ready: readyAtOnce,
  };
}

function fromListener(
  listener: RequestListener,
  framework: Framework,
  equivalence: PathEquivalence,
  canHttp2: boolean,
): HttpApplication {
  return { server: createServer(listener), framework, equivalence, canHttp2, ready: readyAtOnce };
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
    return fromListener((app as { callback(): RequestListener }).callback(), 'koa', lenient, true);
  }
  if (hasMethods(app, 'fetch')) return fromListener(honoListener(app as HonoLike), 'hono', honoRouter, true);
  if (typeof app === 'function') return fromListener(app as RequestListener, 'function', exact, true);
  throw new MeshError(
    'INMESH_ERR_CONFIG_INVALID',
    'serve() takes a (req, res) function, an Express, Koa, Fastify or Hono application, or an http.Server',
  );
}
