import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { resolveConfig } from '@inmesh/config';
import { createTestCa, type TestCa } from '@inmesh/testing';
import { createMesh, type Mesh } from 'inmesh';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Manifest, partsOf, problemsOf, readManifests } from './manifests.js';

const manifests = readManifests();
const { deployment, service, policies } = partsOf(manifests);
const pod = deployment.spec?.template.spec;
const container = pod?.containers[0];
if (pod === undefined || container === undefined) throw new Error('the deployment has no container');

/** The environment of the container, as a kubelet makes it. */
const env: Record<string, string> = Object.fromEntries(
  (container.env ?? []).map(({ name, value, valueFrom }) => [
    name,
    valueFrom?.fieldRef?.fieldPath === 'metadata.namespace'
      ? (deployment.metadata?.namespace ?? '')
      : (value ?? ''),
  ]),
);

/** The manifests with one text put in place of another. */
function changed(from: string, to: string): readonly Manifest[] {
  const text = JSON.stringify(manifests);
  if (!text.includes(from)) throw new Error(`there is no ${from}`);
  return JSON.parse(text.replace(from, to)) as readonly Manifest[];
}

describe('the manifests', () => {
  it('are as Kubernetes wants them', () => {
    expect(problemsOf(manifests)).toEqual([]);
  });

  it.each([
    ['a field that is none', '"readinessProbe"', '"readinesProbe"'],
    ['a value of the wrong type', '"replicas":3', '"replicas":"three"'],
    ['a field that is missing', '"mountPath":"/etc/inmesh/policies",', ''],
    ['a kind that is not known', '"kind":"Deployment"', '"kind":"Deploymint"'],
  ])('are refused with %s', (_name, from, to) => {
    expect(problemsOf(changed(from, to))).not.toEqual([]);
  });

  it('name the ports and the labels of each other', () => {
    const labels = deployment.spec?.template.metadata?.labels;
    expect([deployment.spec?.selector.matchLabels, service.spec?.selector]).toEqual([labels, labels]);
    const ports = container.ports?.map(({ name }) => name);
    expect(ports).toContain(service.spec?.ports?.[0]?.targetPort);
    for (const probe of [container.readinessProbe, container.livenessProbe])
      expect(ports).toContain(probe?.httpGet?.port);
  });

  it('mount every volume, and the policies', () => {
    const volumes = pod.volumes ?? [];
    const mounted = container.volumeMounts?.map(({ name }) => name);
    expect(volumes.map(({ name }) => name).toSorted()).toEqual(mounted?.toSorted());
    const configMaps = volumes.flatMap(({ configMap }) => configMap?.name ?? []);
    expect(configMaps).toEqual([policies.metadata?.name]);
  });

  it('leave a pod the time to drain', () => {
    const { drainDelay, drainTimeout, metricsAddr } = resolveConfig({ env, cwd: '/' }).values;
    const lingerMs = 1000;
    expect((pod.terminationGracePeriodSeconds ?? 0) * 1000).toBeGreaterThan(
      drainDelay + drainTimeout + lingerMs,
    );
    expect(container.ports?.find(({ name }) => name === 'metrics')?.containerPort).toBe(metricsAddr?.port);
  });
});

describe('the pod', () => {
  let dir: string;
  let ca: TestCa;
  let child: ChildProcess | undefined;
  let web: Mesh | undefined;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inmesh-kubernetes-'));
    ca = await createTestCa(env['INMESH_TRUST_DOMAIN'] ?? '');
  });
  afterEach(async () => {
    await web?.close();
    if (child !== undefined) {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
    await rm(dir, { recursive: true, force: true });
  });

  /** A volume as a kubelet lays it out: the files are links into a directory that is replaced as one. */
  const mount = async (path: string | undefined, files: Readonly<Record<string, string>>): Promise<void> => {
    if (path === undefined) throw new Error('there is no such path');
    const volume = join(dir, path);
    await mkdir(join(volume, '..first'), { recursive: true });
    await symlink('..first', join(volume, '..data'));
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(volume, '..first', name), text);
      await symlink(join('..data', name), join(volume, name));
    }
  };

  /** Starts the program with the environment of the manifest, below `dir`; tells its ports. */
  const start = async (): Promise<{ readonly mesh: number; readonly metrics: number }> => {
    const moved = Object.entries(env).map(([name, value]) => [
      name,
      value.startsWith('/') ? join(dir, value) : value,
    ]);
    const script = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    child = spawn(process.execPath, [script], {
      // A kubelet adds such variables for each Service, also for one of this name.
      env: {
        ...Object.fromEntries(moved),
        PATH: process.env['PATH'],
        PORT: '0',
        INMESH_METRICS_ADDR: '127.0.0.1:0',
        INMESH_DRAIN_DELAY: '0ms',
        INMESH_SERVICE_HOST: '10.0.0.1',
        INMESH_SERVICE_PORT: '8443',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ports = new Map<string, number>();
    for await (const line of createInterface(child.stderr as Readable)) {
      const log = JSON.parse(line) as { readonly msg: string; readonly port?: number };
      if (log.port !== undefined) ports.set(log.msg, log.port);
      if (ports.has('listening') && ports.has('metrics and probes are served')) break;
    }
    child.stderr?.resume();
    return { mesh: ports.get('listening') ?? 0, metrics: ports.get('metrics and probes are served') ?? 0 };
  };

  it('answers its probes, and whom its policies let in', async () => {
    const { certPem, keyPem } = await ca.issue('/ns/shop/sa/orders');
    const at = (path: string): string | undefined =>
      container.volumeMounts?.find(({ mountPath }) => mountPath === path)?.mountPath;
    await mount(at('/var/run/secrets/spiffe.io'), {
      'tls.crt': certPem,
      'tls.key': keyPem,
      'ca.crt': ca.bundlePem,
    });
    await mount(at('/etc/inmesh/policies'), policies.data ?? {});
    const ports = await start();
    for (const probe of [container.readinessProbe, container.livenessProbe]) {
      const reply = await fetch(`http://127.0.0.1:${ports.metrics}${probe?.httpGet?.path}`);
      expect(reply.status).toBe(200);
    }
    const own = await ca.issue('/ns/shop/sa/web');
    web = await createMesh({
      env: {},
      serviceName: 'web',
      namespace: 'shop',
      trustDomain: 'cluster.local',
      svid: { ...own, bundles: new Map([['cluster.local', ca.bundlePem]]) },
      upstreams: { orders: `127.0.0.1:${ports.mesh}` },
      drainDelay: 0,
      logLevel: 'off',
    });
    const allowed = await web.fetch('http://orders/orders/42');
    expect(await allowed.json()).toEqual({
      order: '/orders/42',
      askedBy: 'spiffe://cluster.local/ns/shop/sa/web',
    });
    expect((await web.fetch('http://orders/orders/42', { method: 'DELETE' })).status).toBe(403);
  });
});
