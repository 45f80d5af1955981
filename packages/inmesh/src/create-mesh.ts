import type { ResolvedConfig } from '@inmesh/config';
import { harmlessLogger, type Logger, systemRuntime, type Watch, type Workload } from '@inmesh/core';
import type { IdentitySource } from '@inmesh/identity';
import { checkMeshOptions } from './check-options.js';
import { loadConfigFiles } from './config-reload.js';
import { createIdentitySource, waitAtStart } from './identity-source.js';
import { InProcessMesh } from './in-process-mesh.js';
import type { Mesh, MeshOptions } from './mesh-contract.js';
import { PolicyEngine } from './policy-engine.js';
import { warnAboutRuntime } from './runtime-warnings.js';
import { createStderrLogger } from './stderr-logger.js';
import { buildTraffic, type Traffic } from './traffic.js';

/** Says who we are and what is on. */
function announce({ values }: ResolvedConfig, source: IdentitySource, logger: Logger): void {
  const { svid: own, origin } = source.current();
  logger.info(
    {
      service: values.serviceName,
      namespace: values.namespace,
      identity: own.id.uri,
      origin,
      mtls: values.mtls,
      upstreams: [...values.upstreams.keys()],
    },
    'mesh ready',
  );
  if (values.mtls !== 'strict')
    logger.warn({ mtls: values.mtls }, 'listeners accept plaintext: such callers have no identity');
}

function workloadOf({ values }: ResolvedConfig): Workload {
  const { serviceName, namespace, trustDomain, labels, workload, clusterId } = values;
  return Object.freeze({
    service: serviceName,
    namespace,
    trustDomain,
    labels,
    ...(workload === undefined ? {} : { name: workload }),
    ...(clusterId === undefined ? {} : { cluster: clusterId }),
  });
}

/** Makes a mesh that serves no metrics yet. */
async function assemble(options: MeshOptions): Promise<InProcessMesh> {
  const {
    env = process.env,
    svid,
    policies: objects = [],
    layers = {},
    balancers = {},
    runtime = systemRuntime,
    logger: given,
  } = options;
  const files = await loadConfigFiles(options);
  const config = checkMeshOptions(options, files?.file);
  const { values } = config;
  const logger =
    given === undefined ? createStderrLogger(values.logLevel, () => runtime.wallMs()) : harmlessLogger(given);
  const workload = workloadOf(config);
  warnAboutRuntime(logger, env, process.execArgv, process.version, runtime.wallMs());
  let source: IdentitySource | undefined;
  let policies: PolicyEngine | undefined;
  let traffic: Traffic | undefined;
  try {
    // First of all: what is wrong in it is found before anything is opened.
    traffic = await buildTraffic(config, { runtime, logger, balancers });
    source = createIdentitySource({ config: values, svid, env, runtime, logger });
    const wait = (watch: Watch<unknown>, what: string): Promise<void> =>
      waitAtStart(
        (signal) => watch.ready(signal),
        what,
        () => watch.state.error,
        values.startupTimeout,
        runtime,
      );
    [policies] = await Promise.all([
      PolicyEngine.start(
        { config: values, texts: config.texts, objects, workload, runtime, logger },
        (directory) => wait(directory, 'policies'),
      ),
      wait(source, 'identity'),
      traffic.lookedUp(values.startupTimeout),
    ]);
    announce(config, source, logger);
    return new InProcessMesh({
      options,
      configured: { config, traffic },
      files,
      workload,
      source,
      policies,
      layers,
      balancers,
      runtime,
      logger,
    });
  } catch (error) {
    policies?.close();
    traffic?.closeUnless();
    await source?.close();
    throw error;
  }
}

/**
 * Makes a mesh of the environment and `options`, and waits until it has an identity and its policies, and until names of
 * endpoints have been looked up once, found or not.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_*`, `INMESH_ERR_POLICY_*`, `INMESH_ERR_DEV_CA_*`, `INMESH_ERR_IDENTITY_*`,
 * `INMESH_ERR_CERTIFICATE_INVALID`, `INMESH_ERR_LAYER_ORDER`
 */
export async function createMesh(options: MeshOptions = {}): Promise<Mesh> {
  const mesh = await assemble(options);
  try {
    await mesh.followFiles();
    await mesh.serveMetrics();
  } catch (error) {
    await mesh.close();
    throw error;
  }
  return mesh;
}
