import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('fixtures/stoppable.mjs', import.meta.url));

interface Running {
  readonly child: ChildProcess;
  readonly port: number;
  readonly exit: Promise<readonly [code: number | null, signal: string | null]>;
}

interface Reply {
  readonly status: number | undefined;
  readonly body: string;
  /** Whether it came to its end. */
  readonly isWhole: boolean;
}

/** Reads a reply to whatever end it has. */
function ask(port: number, path: string): Promise<Reply> {
  return new Promise((resolve) => {
    get({ port, path, host: '127.0.0.1' }, (response: IncomingMessage) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('error', () => {});
      response.on('close', () => resolve({ status: response.statusCode, body, isWhole: response.complete }));
    }).on('error', () => resolve({ status: undefined, body: '', isWhole: false }));
  });
}

describe('SIGTERM', () => {
  let dir: string;
  let child: ChildProcess | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-stop-'));
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    await rm(dir, { recursive: true, force: true });
  });
  const run = async (env: Readonly<Record<string, string>> = {}): Promise<Running> => {
    child = fork(script, [], {
      env: {
        PATH: process.env['PATH'],
        INMESH_SERVICE_NAME: 'orders',
        INMESH_DEV_CA_DIR: join(dir, 'ca'),
        INMESH_DRAIN_DELAY: '0ms',
        INMESH_DRAIN_TIMEOUT: '5s',
        ...env,
      },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
    const [port] = (await once(child, 'message')) as [number];
    return { child, port, exit };
  };

  it('ends the process with 0 when calls in flight have ended', async () => {
    const { child: service, port, exit } = await run();
    const reply = ask(port, '/slow');
    await once(service, 'message');
    service.kill('SIGTERM');
    expect(await reply).toEqual({ status: 200, body: 'whole', isWhole: true });
    expect(await exit).toEqual([0, null]);
  });

  it('ends streams of events and WebSockets properly when the time is over, and cuts what is half', async () => {
    const { child: service, port, exit } = await run({ INMESH_DRAIN_TIMEOUT: '300ms' });
    const events = ask(port, '/events');
    const half = ask(port, '/half');
    const socket = connect(port, '127.0.0.1');
    socket.write(
      'GET / HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n',
    );
    const frames: Buffer[] = [];
    socket.on('data', (chunk) => frames.push(chunk));
    await once(socket, 'data');
    service.kill('SIGTERM');
    await once(socket, 'end');
    expect(Buffer.concat(frames).subarray(-4).toString('hex')).toBe('880203e9');
    expect(await events).toMatchObject({ status: 200, isWhole: true });
    expect(await half).toEqual({ status: 200, body: '{"half":', isWhole: false });
    expect(await exit).toEqual([0, null]);
  });

  it('ends the process at once the second time', async () => {
    const { child: service, port, exit } = await run({ INMESH_DRAIN_TIMEOUT: '1h' });
    const half = ask(port, '/half');
    await new Promise((resolve) =>
      get({ port, path: '/half', host: '127.0.0.1' }, resolve).on('error', () => {}),
    );
    service.kill('SIGTERM');
    // Refused: it has stopped listening, so that the first signal has arrived.
    while ((await ask(port, '/')).status !== undefined);
    service.kill('SIGTERM');
    expect(await exit).toEqual([143, null]);
    expect((await half).isWhole).toBe(false);
  });

  it.each([
    ['listens once, and first', { OWN_ONCE: '1' }, 7],
    ['listens afterwards', { OWN_LATER: '1' }, 8],
  ])('drains, and leaves the exit to an application that %s', async (_how, env, code) => {
    const { child: service, exit } = await run(env);
    service.kill('SIGTERM');
    expect(await exit).toEqual([code, null]);
  });

  it('is what it always was where told so', async () => {
    const { child: service, exit } = await run({ INMESH_SIGTERM: 'off' });
    service.kill('SIGTERM');
    expect(await exit).toEqual([null, 'SIGTERM']);
  });
});
