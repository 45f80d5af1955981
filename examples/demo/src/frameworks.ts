import type { IncomingMessage, ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import Router from '@koa/router';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import type { Route } from './routes.js';

/** Frameworks that the demo and the acceptance run. */
export type FrameworkName = 'express' | 'express4' | 'fastify' | 'hono' | 'http' | 'koa';

type ExpressMethod = (
  path: string | RegExp,
  handler: (request: IncomingMessage & { headers: object }, response: ServerResponse) => void,
) => void;

function onExpress(app: { readonly get: unknown }, routes: readonly Route[]): unknown {
  const methods = app as unknown as Record<string, ExpressMethod>;
  for (const { method, path, handle } of routes) {
    const pattern = path.endsWith('/*') ? new RegExp(`^${path.slice(0, -1)}.*$`, 'i') : path;
    methods[method.toLowerCase()]?.call(
      app,
      pattern,
      (request, response) => void handle(request, response, { headers: request.headers }),
    );
  }
  return app;
}

function onFastify(routes: readonly Route[]): unknown {
  const app = fastify();
  // Bodies are read raw.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  for (const { method, path, handle } of routes) {
    app.route({
      method,
      url: path,
      handler: (request, reply) => {
        reply.hijack();
        return handle(request.raw, reply.raw, { headers: request.headers });
      },
    });
  }
  return app;
}

function onKoa(routes: readonly Route[]): unknown {
  const router = new Router();
  for (const { method, path, handle } of routes) {
    router.register(path.replace(/\*$/, '*rest'), [method], (context) => {
      context.respond = false;
      return handle(context.req, context.res, { headers: context.headers });
    });
  }
  return new Koa().use(router.routes());
}

function onHono(routes: readonly Route[]): unknown {
  const app = new Hono<{ Bindings: { incoming: IncomingMessage; outgoing: ServerResponse } }>();
  for (const { method, path, handle } of routes) {
    app.on(method, path, async (context) => {
      await handle(context.env.incoming, context.env.outgoing, { headers: context.req.header() });
      return RESPONSE_ALREADY_SENT;
    });
  }
  return app;
}

function onHttp(routes: readonly Route[]): unknown {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const route = routes.find(
      (one) =>
        one.method === request.method &&
        (one.path.endsWith('/*') ? path.startsWith(one.path.slice(0, -1)) : path === one.path),
    );
    if (route !== undefined) void route.handle(request, response);
    else response.writeHead(404).end();
  };
}

/** An application of one framework that answers `routes`. */
export function buildApp(framework: FrameworkName, routes: readonly Route[]): unknown {
  switch (framework) {
    case 'express': {
      return onExpress(express(), routes);
    }
    case 'express4': {
      return onExpress(express4() as { readonly get: unknown }, routes);
    }
    case 'fastify': {
      return onFastify(routes);
    }
    case 'koa': {
      return onKoa(routes);
    }
    case 'hono': {
      return onHono(routes);
    }
    case 'http': {
      return onHttp(routes);
    }
  }
}
