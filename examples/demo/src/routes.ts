import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Mesh } from 'inmesh';
import type { Hops } from './hops.js';

/** Handles a request; `views` is what the framework shows of its headers. */
type Handle = (request: IncomingMessage, response: ServerResponse, views?: unknown) => void | Promise<void>;

/** A route that every framework can mount. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Path; `/*` at its end is anything below. */
  readonly path: string;
  readonly handle: Handle;
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

/** Counts how often handlers ran: what a denied call must not change. */
export interface Counts {
  admin: number;
  calls: number;
  aborted: number;
}

export const newCounts = (): Counts => ({ admin: 0, calls: 0, aborted: 0 });

const chunkBytes = 65_536;

/** A part of what `/stream` sends; it begins with its offset, so that no part is like another. */
function streamPart(offset: number, length: number): Buffer {
  const part = Buffer.alloc(chunkBytes, 'x');
  part.writeBigUInt64BE(BigInt(offset));
  return part.subarray(0, length);
}

function numberOf(request: IncomingMessage, parameter: string): number {
  return Number(new URL(request.url ?? '/', 'http://x').searchParams.get(parameter) ?? 0);
}

function stream(request: IncomingMessage, response: ServerResponse, counts: Counts): void {
  const bytes = numberOf(request, 'bytes');
  let left = bytes;
  response.on('close', () => {
    if (!response.writableFinished) counts.aborted++;
  });
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  const write = (): void => {
    while (left > 0) {
      const part = streamPart(bytes - left, Math.min(left, chunkBytes));
      left -= part.length;
      if (!response.write(part)) {
        response.once('drain', write);
        return;
      }
    }
    response.end();
  };
  write();
}

/** Hashes what comes; with `?bytesPerSecond=` it reads no faster than that. */
function upload(request: IncomingMessage, response: ServerResponse, counts: Counts): void {
  const hash = createHash('sha256');
  const bytesPerSecond = numberOf(request, 'bytesPerSecond');
  const startMs = performance.now();
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    length += chunk.length;
    if (bytesPerSecond === 0) return;
    const waitMs = (length / bytesPerSecond) * 1000 - (performance.now() - startMs);
    if (waitMs < 2) return;
    request.pause();
    setTimeout(() => request.resume(), waitMs);
  });
  request.on('end', () => sendJson(response, { length, sha256: hash.digest('hex') }));
  request.on('close', () => {
    if (!request.complete) counts.aborted++;
  });
}

/** What every HTTP service of the demo answers. */
export function commonRoutes(mesh: Mesh, service: string, counts: Counts, hops: Hops): readonly Route[] {
  const admin: Handle = (request, response) => {
    counts.admin++;
    sendJson(response, { service, admin: counts.admin, peer: mesh.peer(request)?.id.uri });
  };
  return [
    {
      method: 'GET',
      path: '/echo',
      handle(request, response, views) {
        counts.calls++;
        sendJson(response, {
          service,
          pid: process.pid,
          peer: mesh.peer(request)?.id.uri ?? null,
          url: request.url,
          headers: request.headers,
          headersDistinct: request.headersDistinct,
          rawHeaders: request.rawHeaders,
          framework: views ?? null,
        });
      },
    },
    { method: 'GET', path: '/admin', handle: admin },
    { method: 'POST', path: '/admin', handle: admin },
    { method: 'GET', path: '/admin/*', handle: admin },
    { method: 'POST', path: '/admin/*', handle: admin },
    // Nothing below it: what of `/secret/` and `/Secret` gets here is the router's doing alone.
    { method: 'GET', path: '/secret', handle: admin },
    {
      method: 'GET',
      path: '/count',
      handle: (_request, response) =>
        sendJson(response, { service, pid: process.pid, rss: process.memoryUsage().rss, ...counts }),
    },
    {
      method: 'GET',
      path: '/stats',
      handle: (_request, response) =>
        sendJson(response, { pid: process.pid, hops: hops.report(), ...mesh.stats() }),
    },
    { method: 'PUT', path: '/upload', handle: (request, response) => upload(request, response, counts) },
    { method: 'GET', path: '/stream', handle: (request, response) => stream(request, response, counts) },
  ];
}
