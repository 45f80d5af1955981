import { createServer } from 'node:http';
import Router from '@koa/router';
import express from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { describe, expect, it } from 'vitest';
import { toHttpServer } from '../src/index.js';

const lenient = {
  isCaseInsensitive: true,
  ignoresTrailingSlash: true,
  decodesEscapes: false,
  cutsAtSemicolon: false,
};
const widest = {
  isCaseInsensitive: true,
  ignoresTrailingSlash: true,
  decodesEscapes: true,
  cutsAtSemicolon: true,
};
function routed(): Koa {
  const app = new Koa();
  app.use(new Router().get('/', () => {}).routes());
  return app;
}

describe('path equivalence', () => {
  it.each([
    ['Express 5', () => express(), lenient],
    ['Express 4', () => express4(), lenient],
    ['a server around Express', () => createServer(express()), lenient],
    ['Koa with its router', routed, lenient],
    ['Koa without a router that is known', () => new Koa().use(() => {}), widest],
    [
      'Fastify',
      () => fastify(),
      { ...widest, isCaseInsensitive: false, ignoresTrailingSlash: false, cutsAtSemicolon: false },
    ],
    [
      'Fastify told otherwise',
      () => fastify({ caseSensitive: false, ignoreTrailingSlash: true, useSemicolonDelimiter: true }),
      widest,
    ],
    ['Hono', () => new Hono(), { ...widest, isCaseInsensitive: false, cutsAtSemicolon: false }],
    ['a function', () => () => {}, widest],
    [
      'a server around Koa',
      () => createServer((request, response) => void routed().callback()(request, response)),
      widest,
    ],
    ['the server of Fastify', () => fastify().server, widest],
    ['a server without a listener', () => createServer(), widest],
    [
      'a server with one more listener than Express',
      () => createServer(express()).on('request', () => {}),
      widest,
    ],
  ] as const)('of %s', (_what, make, expected) => {
    expect(toHttpServer(make()).equivalence).toEqual(expected);
  });
});
