import type { Decision } from '@inmesh/authz';
import type { WatchedFiles } from '@inmesh/config/manifests';
import type { Call, Layer, Runtime, Workload } from '@inmesh/core';
import type { BypassKind } from '@inmesh/http/client';
import type { HandshakeResult, IdentitySnapshot, IdentitySource } from '@inmesh/identity';
import type { Clusters } from '@inmesh/resilience';
import {
  ConnectionMetrics,
  type CounterSeries,
  Edges,
  type EdgesOptions,
  type ExpositionFormat,
  type Family,
  MetricStore,
  NodeMetrics,
  RequestMetrics,
  recordedTraceOf,
  registerWith,
  renderInSlices,
  type Sample,
} from '@inmesh/telemetry';
import { addClusterMetrics } from './cluster-metrics.js';
import type { PolicyEngine } from './policy-engine.js';

/** What {@link MeshMetrics} shows. */
export interface MeshMetricsParts {
  /** Who we are. */
  readonly workload: Workload;
  /** Our identity. */
  readonly source: IdentitySource;
  /** The policies. */
  readonly policies: PolicyEngine;
  /** The configuration file; `undefined` if there is none. */
  readonly files: () => Pick<WatchedFiles<unknown>, 'refusals' | 'state'> | undefined;
  /** The clusters. */
  readonly clusters: Clusters;
  /** What passed through; `undefined` where nothing was called yet. */
  readonly bypasses: () => Readonly<Record<BypassKind, number>> | undefined;
  /** Identities of the endpoints of a cluster. */
  readonly identitiesOf: EdgesOptions['identitiesOf'];
  /** Calls `visit` with each call under way. */
  readonly forEachCall: (visit: (call: Call) => void) => void;
  /** Time. */
  readonly runtime: Runtime;
}

const bypassKinds = [
  'plaintext-connection',
  'plaintext-request',
  'tls-connection',
  'tls-request',
] as const satisfies readonly BypassKind[];

/** Decisions whose series are held on to; new policies make new ones. */
const maxDecisions = 4096;

function identityOf({ state }: IdentitySource): IdentitySnapshot | undefined {
  return state.kind === 'ready' ? state.value : undefined;
}

/** Everything that a mesh counts. */
export class MeshMetrics {
  /** Counts calls, in both directions. */
  readonly layer: Layer;
  /** Counts a request that was refused before it became a call. */
  readonly onRefused: RequestMetrics['count'];
  /** Counts a connection that the agent opened. */
  readonly onConnection: ConnectionMetrics['onOpen'];
  /** Counts TLS handshakes, of either role. */
  readonly onHandshake: Readonly<Record<'client' | 'server', (result: HandshakeResult) => void>>;
  /** Counts a connection that was cut because its security is not that of the listener. */
  readonly onWrongSecurity: (found: 'plaintext' | 'tls') => void;
  readonly #runtime: Runtime;
  readonly #store: MetricStore;
  readonly #node = new NodeMetrics();
  readonly #decisions: Family<CounterSeries>;
  readonly #bound = new Map<Decision, CounterSeries>();

  /** @param parts - What is shown. */
  constructor({
    workload,
    source,
    policies,
    files,
    clusters,
    bypasses,
    identitiesOf,
    forEachCall,
    runtime,
  }: MeshMetricsParts) {
    this.#runtime = runtime;
    this.#store = new MetricStore({ runtime });
    const principal = (): string => identityOf(source)?.svid.id.uri ?? 'unknown';
    const edges = new Edges({ workload, principal, identitiesOf });
    const requests = new RequestMetrics({ store: this.#store, edges, traceOf: recordedTraceOf, runtime });
    this.layer = requests.layer;
    this.onRefused = requests.count;
    this.#store.beforeRead(() => forEachCall(requests.countSoFar));
    this.onConnection = new ConnectionMetrics(this.#store, edges).onOpen;
    const handshakes = this.#store.counter({
      name: 'inmesh_tls_handshakes_total',
      help: 'TLS handshakes, by how they ended. None is resumed: a resumed one proves no identity.',
      labels: ['role', 'result', 'resumed'],
    });
    const count = (role: string) => (result: HandshakeResult) =>
      handshakes.of([role, result, 'false']).add(1);
    this.onHandshake = { client: count('client'), server: count('server') };
    const refused = this.#store.counter({
      name: 'inmesh_connections_refused_total',
      help: 'Connections that were cut: plaintext where mTLS is strict, TLS where it is off.',
      labels: ['found'],
    });
    const countRefused = (found: 'plaintext' | 'tls'): void => refused.of([found]).add(1);
    this.onWrongSecurity = countRefused;
    this.#decisions = this.#store.counter({
      name: 'inmesh_authz_decisions_total',
      help: 'Decisions on inbound calls, by the rule that made them; no policy where none matched.',
      labels: ['decision', 'policy', 'rule'],
    });
    addClusterMetrics(this.#store, clusters);
    this.#addBypasses(bypasses);
    this.#addRotations(source);
    this.#addState(source, policies, files);
    this.#addRefusals(policies, files);
  }

  /** Counts what was decided about a call. */
  readonly onDecision = (_call: Call, decision: Decision): void => {
    let series = this.#bound.get(decision);
    if (series === undefined || series.isGone) {
      if (this.#bound.size >= maxDecisions) this.#bound.clear();
      const { isAllowed, policy, rule } = decision;
      series = this.#decisions.of([isAllowed ? 'allow' : 'deny', policy, rule < 0 ? '' : String(rule)]);
      this.#bound.set(decision, series);
    }
    series.add(1);
  };

  /** Begins to observe the process. */
  start(): void {
    this.#node.start();
  }

  /** Everything, as text. */
  async text(format: ExpositionFormat): Promise<string> {
    const text = `${await renderInSlices(this.#store, format, this.#runtime)}${await this.#node.render(format)}`;
    return format === 'openmetrics' ? `${text}# EOF\n` : text;
  }

  /** Shows everything but the figures of the process in a registry of prom-client. */
  registerWith(registry: Parameters<typeof registerWith>[1]): void {
    registerWith(this.#store, registry);
  }

  #addBypasses(bypasses: MeshMetricsParts['bypasses']): void {
    this.#store.collected({
      name: 'inmesh_bypass_total',
      help: "Requests of fetch and the dispatcher, and connections of agents, to names that are none of the mesh's, by their scheme.",
      labels: ['kind'],
      type: 'counter',
      collect: () => {
        const counts = bypasses();
        return bypassKinds.map((kind) => [[kind], counts?.[kind] ?? 0] as const);
      },
    });
  }

  #addRotations({ rotations }: IdentitySource): void {
    this.#store.collected({
      name: 'inmesh_cert_rotations_total',
      help: 'Renewals of our certificate (svid) and of whom we trust (root): those in force, and those that were refused or could not be had.',
      labels: ['kind', 'result'],
      type: 'counter',
      collect: () =>
        Object.entries(rotations).flatMap(([kind, { success, failure }]): readonly Sample[] => [
          [[kind, 'success'], success],
          [[kind, 'failure'], failure],
        ]),
    });
  }

  #addRefusals(policies: PolicyEngine, files: MeshMetricsParts['files']): void {
    this.#store.collected({
      name: 'inmesh_config_errors_total',
      help: 'Changes of the configuration file and of the policy directory that were refused; the last good one stayed. No config-file without one.',
      labels: ['source'],
      type: 'counter',
      *collect() {
        const watch = files();
        if (watch !== undefined) yield [['config-file'], watch.refusals];
        yield [['policy-dir'], policies.refusals];
      },
    });
  }

  #addState(source: IdentitySource, policies: PolicyEngine, files: MeshMetricsParts['files']): void {
    const gauge = (name: string, help: string, read: () => number | undefined): void =>
      this.#store.collected({
        name,
        help,
        labels: [],
        type: 'gauge',
        collect: () => {
          const value = read();
          return value === undefined ? [] : [[[], value]];
        },
      });
    gauge(
      'inmesh_cert_expiry_timestamp_seconds',
      'When our certificate expires, in seconds of Unix time.',
      () => {
        const identity = identityOf(source);
        return identity && identity.svid.notAfterMs / 1000;
      },
    );
    gauge(
      'inmesh_identity_generation',
      'Grows with each new certificate and trust bundle.',
      () => identityOf(source)?.generation,
    );
    gauge(
      'inmesh_policy_generation',
      'Grows with each set of policies that came into force.',
      () => policies.version,
    );
    gauge(
      'inmesh_policy_rejected',
      '1 while the policies on disk are wrong and the last good ones are in force.',
      () => (policies.error === undefined ? 0 : 1),
    );
    gauge(
      'inmesh_config_generation',
      'Grows with each configuration file that came into force; absent without one.',
      () => {
        const state = files()?.state;
        return state?.kind === 'ready' ? state.version : undefined;
      },
    );
    gauge(
      'inmesh_config_rejected',
      '1 while the configuration file is wrong and the last good one is in force; absent without one.',
      () => {
        const watch = files();
        return watch === undefined ? undefined : Number(watch.state.error !== undefined);
      },
    );
  }
}
