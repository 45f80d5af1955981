import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { Client, Server } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Mesh } from '../src/index.js';
import { useMeshes } from './meshes.js';

const asIs = (bytes: Buffer): Buffer => bytes;
const chat = {
  path: '/test.Talk/Chat',
  requestStream: true,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
} as const;

interface Wanted {
  readonly name: string;
  readonly reporter: 'destination' | 'source';
  readonly code?: number;
  readonly flags?: string;
}

/** Sum of the samples of a metric. */
async function sum(mesh: Mesh, { name, reporter, code, flags }: Wanted): Promise<number> {
  const text = await mesh.metricsText();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(`reporter="${reporter}"`))
    .filter((line) => code === undefined || line.includes(`response_code="${code}"`))
    .filter((line) => flags === undefined || line.includes(`response_flags="${flags}"`))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(setImmediate);
}

describe('sizes, messages and connections', () => {
  const { make } = useMeshes();
  const serve = async (app: (request: IncomingMessage, response: ServerResponse) => void) => {
    const orders = await make('orders');
    const server = orders.serve(app);
    const { port } = await server.listen(0, '127.0.0.1');
    const web = await make('web', { upstreams: { orders: `127.0.0.1:${port}` } });
    return { orders, web, port, server };
  };
  /** A client that is none of ours. */
  const raw = async (who: Mesh, port: number): Promise<TLSSocket> => {
    const { svid, bundles } = who.identity.current();
    const socket = connect({
      port,
      cert: svid.certPem,
      key: svid.keyPem(),
      ca: [...bundles.values()].flatMap(({ authorities }) =>
        authorities.map((der) => new X509Certificate(der).toString()),
      ),
      checkServerIdentity: () => undefined,
    });
    await once(socket, 'secureConnect');
    return socket;
  };

  it('counts what a raw client of HTTP/1.1 wrote and read, head and body', async () => {
    const { orders, web, port } = await serve((request, response) => {
      request.resume().on('end', () => response.end(Buffer.alloc(4000)));
    });
    const socket = await raw(web, port);
    let read = 0;
    let written = 0;
    let replies = 0;
    socket.on('data', (chunk: Buffer) => {
      read += chunk.length;
      if (chunk.includes('HTTP/1.1 200')) replies++;
    });
    for (const size of [0, 10, 100_000]) {
      const text = `POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
      const before = replies;
      socket.write(text);
      written += text.length;
      await until(async () => replies > before);
    }
    const count = { name: 'istio_requests_total', reporter: 'destination' } as const;
    await until(async () => (await sum(orders, count)) === 3);
    expect(await sum(orders, { ...count, name: 'istio_request_bytes_sum' })).toBe(written);
    expect(await sum(orders, { ...count, name: 'istio_response_bytes_sum' })).toBe(read);
    socket.destroy();
  });

  it('counts the same on both sides of a call', async () => {
    const { orders, web } = await serve((request, response) => {
      request.resume().on('end', () => response.end(Buffer.alloc(70_000)));
    });
    for (const body of ['', 'x'.repeat(50_000)])
      await (await web.fetch('http://orders/', body === '' ? {} : { method: 'POST', body })).arrayBuffer();
    const name = 'istio_requests_total';
    await until(async () => (await sum(orders, { name, reporter: 'destination' })) === 2);
    for (const size of ['istio_request_bytes_sum', 'istio_response_bytes_sum']) {
      const theirs = await sum(orders, { name: size, reporter: 'destination' });
      expect(theirs).toBeGreaterThan(50_000);
      expect(await sum(web, { name: size, reporter: 'source' })).toBe(theirs);
    }
  });

  it('counts messages of a stream on both sides while it goes on', async () => {
    const { orders, web, server } = await serve((_request, response) => response.end());
    const talk = new Server();
    talk.addService(
      { chat },
      {
        chat: (call: {
          on(event: string, listener: (data: Buffer) => void): void;
          write(data: Buffer): void;
          end(): void;
        }) => {
          call.on('data', (data) => {
            call.write(data);
            call.write(data);
          });
          call.on('end', () => call.end());
        },
      },
    );
    server.addGrpc(talk);
    const client = new Client('mesh:///orders', web.grpc.credentials(), web.grpc.channelOptions());
    const call = client.makeBidiStreamRequest(chat.path, asIs, asIs);
    let received = 0;
    call.on('data', () => received++);
    const both = async (): Promise<readonly number[]> => {
      const of = (mesh: Mesh, reporter: Wanted['reporter']) =>
        Promise.all(
          ['request', 'response'].map((what) =>
            sum(mesh, { name: `istio_${what}_messages_total`, reporter }),
          ),
        );
      return [...(await of(orders, 'destination')), ...(await of(web, 'source'))];
    };
    for (let i = 0; i < 3; i++) call.write(Buffer.alloc(20_000));
    await until(async () => received === 6);
    expect(await both()).toEqual([3, 6, 3, 6]);
    call.write(Buffer.alloc(0));
    call.end();
    await once(call, 'status');
    const name = 'istio_requests_total';
    await until(async () => (await sum(orders, { name, reporter: 'destination' })) === 1);
    expect(await both()).toEqual([4, 8, 4, 8]);
    // Three of 20,000 bytes and an empty one, each with its prefix.
    const size = 'istio_request_bytes_sum';
    expect(await sum(orders, { name: size, reporter: 'destination' })).toBe(60_020);
    expect(await sum(web, { name: size, reporter: 'source' })).toBe(60_020);
    client.close();
  });

  it('counts connections of the agent, of which it sees no calls', async () => {
    const { web } = await serve((_request, response) => response.end('hello'));
    const agent = web.agent();
    const [reply] = (await once(get('http://orders/', { agent }), 'response')) as [IncomingMessage];
    reply.resume();
    await once(reply, 'end');
    const count = (name: string) => sum(web, { name: `istio_tcp_${name}_total`, reporter: 'source' });
    expect([await count('connections_opened'), await count('connections_closed')]).toEqual([1, 0]);
    expect(await count('received_bytes')).toBeGreaterThan(30);
    expect(await count('sent_bytes')).toBeGreaterThan(50);
    agent.destroy();
    await until(async () => (await count('connections_closed')) === 1);
  });

  it('counts tunnels by what their handlers answer', async () => {
    const orders = await make('orders');
    const app = createServer();
    const answers = ['101 Switching Protocols', '404 Not Found'];
    app.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 ${answers.shift()}\r\n\r\n`));
    app.on('connect', (_request, socket) => {
      socket.write(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'));
      socket.end('tunnel');
    });
    const { port } = await orders.serve(app).listen(0, '127.0.0.1');
    const web = await make('web');
    const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
    for (const request of [upgrade, upgrade, 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n']) {
      const socket = await raw(web, port);
      socket.write(request);
      socket.resume().on('end', () => socket.end());
      await once(socket, 'close');
    }
    const codes = [101, 404, 200];
    const counts = (): Promise<readonly number[]> =>
      Promise.all(
        codes.map((code) => sum(orders, { name: 'istio_requests_total', reporter: 'destination', code })),
      );
    await until(async () => (await counts()).every((count) => count > 0));
    expect(await counts()).toEqual([1, 1, 1]);
  });

  it('counts plaintext that a strict listener cuts, and TLS that one without cuts', async () => {
    const strict = await make('orders');
    const probed = await make('probed', { probePaths: ['/livez'] });
    const plain = await make('plain', { mtls: 'disable' });
    const refused = async (mesh: Mesh, found: string): Promise<number> =>
      Number(
        new RegExp(`^inmesh_connections_refused_total\\{found="${found}"\\} (\\d+)$`, 'm').exec(
          await mesh.metricsText(),
        )?.[1] ?? 0,
      );
    const app = (_request: IncomingMessage, response: ServerResponse) => response.end('ok');
    for (const mesh of [strict, probed]) {
      const { port } = await mesh.serve(app).listen(0, '127.0.0.1');
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
      expect([await refused(mesh, 'plaintext'), await refused(mesh, 'tls')]).toEqual([1, 0]);
    }
    const { port } = await plain.serve(app).listen(0, '127.0.0.1');
    await expect(fetch(`https://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
    expect([await refused(plain, 'plaintext'), await refused(plain, 'tls')]).toEqual([0, 1]);
  });

  it('counts handshakes of both roles by how they ended', async () => {
    const { orders, port } = await serve((_request, response) => response.end('hello'));
    const wrong = await make('wrong', {
      upstreams: { orders: { endpoints: `127.0.0.1:${port}`, identity: 'other' } },
    });
    await wrong.fetch('http://orders/').catch(() => {});
    const nobody = connect({ port, rejectUnauthorized: false });
    nobody.on('error', () => {});
    await new Promise((resolve) => nobody.once('close', resolve));
    const counted = async (mesh: Mesh): Promise<readonly string[]> =>
      [
        ...(await mesh.metricsText()).matchAll(
          /^inmesh_tls_handshakes_total\{role="(\w+)",result="(\w+)".* (\d+)$/gm,
        ),
      ].map(([, ...parts]) => parts.join(' '));
    await until(async () =>
      (await counted(orders)).some((one) => one.startsWith('server CERTIFICATE_INVALID')),
    );
    expect(await counted(wrong)).toContainEqual(
      expect.stringMatching(/^client CERTIFICATE_HOSTNAME_MISMATCH \d+$/),
    );
  });

  it('counts what is refused before any layer sees it', async () => {
    const { orders, web, port } = await serve((_request, response) => response.end());
    for (const head of [
      // Two names for one service; and what the parser of node:http does not read at all.
      'GET / HTTP/1.1\r\nHost: orders\r\nHost: payments\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: orders\r\nContent-Length: x\r\n\r\n',
    ]) {
      const socket = await raw(web, port);
      socket.write(head);
      const [reply] = (await once(socket, 'data')) as [Buffer];
      expect(reply.toString()).toMatch(/^HTTP\/1\.1 400 /);
      socket.destroy();
    }
    expect(
      await sum(orders, { name: 'istio_requests_total', reporter: 'destination', code: 400, flags: 'DPE' }),
    ).toBe(2);
  });
});
