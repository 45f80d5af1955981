import type { Material, SoakOrder, SoakSample } from './protocol.js';
import { Role } from './roles.js';
import type { Row } from './row.js';
import { trend } from './statistics.js';

/** Life of a certificate: it is renewed at half of it. */
const ttlMs = 20_000;
/** Between two looks at what is held on to. Each loses an upstream, in turn over HTTP and gRPC. */
const roundMs = 2000;
/** Part of the rounds that are not looked at: caches fill, code is compiled. */
const warmPart = 0.4;

interface Upstream {
  readonly role: Role;
  readonly port: number;
}

/** Three replicas of an upstream, of which one at a time is killed and another takes its place. */
class Replicas {
  readonly #material: Material;
  readonly #wire: 'grpc' | 'http';
  #living: readonly Upstream[] = [];

  constructor(material: Material, wire: 'grpc' | 'http') {
    this.#material = material;
    this.#wire = wire;
  }

  get ports(): readonly number[] {
    return this.#living.map(({ port }) => port);
  }

  async fill(): Promise<void> {
    while (this.#living.length < 3) {
      const { role, hello } = await Role.start('server', {
        material: this.#material,
        variant: 'mesh-one',
        wire: this.#wire,
        policies: 100,
        ports: [],
      });
      this.#living = [...this.#living, { role, port: hello.ports?.[0] ?? 0 }];
    }
  }

  kill(): void {
    const [first, ...others] = this.#living;
    first?.role.stop();
    this.#living = others;
  }

  stop(): void {
    while (this.#living.length > 0) this.kill();
  }
}

interface Reading {
  readonly samples: readonly SoakSample[];
  readonly requests: number;
  readonly errors: number;
  readonly reason: string;
}

async function read(material: Material, rounds: number): Promise<Reading> {
  const replicas = [new Replicas(material, 'http'), new Replicas(material, 'grpc')] as const;
  const [http, grpc] = replicas;
  const started: Role[] = [];
  try {
    await Promise.all([http.fill(), grpc.fill()]);
    const { role: middle, hello } = await Role.start('soak', { material, ttlMs });
    started.push(middle);
    const tell = async (): Promise<void> => {
      const order: SoakOrder = { kind: 'endpoints', httpPorts: http.ports, grpcPorts: grpc.ports };
      await middle.ask(order);
    };
    await tell();
    const { role: load } = await Role.start('client', {
      material,
      variant: 'bare',
      wire: 'http',
      policies: 0,
      ports: hello.ports ?? [],
    });
    started.push(load);
    const samples: SoakSample[] = [];
    let requests = 0;
    let errors = 0;
    let reason = '';
    for (let round = 0; round < rounds; round++) {
      const slice = load.slice({ kind: 'slice', load: { concurrency: 8 }, ms: roundMs });
      // It stays among the endpoints for as long as another takes to start: discovery is never faster.
      const victim = replicas[round % 2] ?? http;
      victim.kill();
      await victim.fill();
      await tell();
      const result = await slice;
      requests += result.requests;
      errors += result.errors;
      reason ||= result.reason;
      samples.push((await middle.ask({ kind: 'sample' })) as SoakSample);
    }
    return { samples, requests, errors, reason };
  } finally {
    for (const role of started) role.stop();
    for (const one of replicas) one.stop();
  }
}

/** What a growth must be beyond to be one, whatever its error. */
const figures = [
  { name: 'heap', of: (one: SoakSample) => one.heapBytes / 1_048_576, unit: 'MiB', floor: 2 },
  { name: 'rss', of: (one: SoakSample) => one.rssBytes / 1_048_576, unit: 'MiB', floor: 16 },
  { name: 'sockets', of: (one: SoakSample) => one.sockets, unit: '', floor: 4 },
  { name: 'timers', of: (one: SoakSample) => one.timers, unit: '', floor: 4 },
  { name: 'listeners', of: (one: SoakSample) => one.listeners, unit: '', floor: 0 },
] as const;

/**
 * A service under load whose certificates rotate and whose upstreams are killed: what it holds on to does not grow.
 *
 * @param seconds - How long.
 */
export async function soak(material: Material, seconds: number): Promise<readonly Row[]> {
  const rounds = Math.max(10, Math.round((seconds * 1000) / roundMs));
  const { samples, requests, errors, reason } = await read(material, rounds);
  const steady = samples.slice(Math.floor(samples.length * warmPart));
  const rotations = samples.at(-1)?.rotations ?? 0;
  const row = (name: string, value: number, unit: string, goal: number, load: string): Row => ({
    name: `soak.${name}`,
    value,
    unit,
    goal,
    load,
    isCount: true,
    state: value <= goal ? 'proven' : 'missed',
  });
  return [
    row(
      'errors',
      errors,
      '',
      0,
      `of ${requests} requests, ${rounds} replicas killed${reason === '' ? '' : `: ${reason}`}`,
    ),
    {
      ...row('rotations', rotations, '', 3, 'certificates renewed under load'),
      isFloor: true,
      state: rotations >= 3 ? 'proven' : 'missed',
    },
    ...figures.map(({ name, of, unit, floor }) => {
      const { growth, error } = trend(steady.map(of));
      // What is certain of the growth: its least value, 99 times in 100.
      const certain = Math.max(0, growth - 2.6 * error);
      return row(
        name,
        certain,
        unit,
        floor,
        `grown for certain by the last; ${growth.toFixed(2)} ± ${error.toFixed(2)} measured, from ${(steady.map(of)[0] ?? 0).toFixed(1)}`,
      );
    }),
  ];
}
