import { X509Certificate } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type MeshConfig, type MeshSettings, resolveConfig } from '@inmesh/config';
import { silentLogger, systemRuntime } from '@inmesh/core';
import { mintDevSvid } from '@inmesh/identity';
import { type Command, UsageError } from '../command.js';
import { createIdentitySource, devOptions, waitAtStart } from '../identity-source.js';

function configOf(code: MeshSettings): MeshConfig {
  return resolveConfig({ env: process.env, code, cwd: process.cwd() }).values;
}

const label = '[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?';
/** Also a wildcard as the whole first label. RFC 6125 §6.4.3. */
const dnsName = new RegExp(`^(?=.{1,253}$)(?:\\*\\.)?${label}(?:\\.${label})*$`);

/** `inmesh identity mint` */
export const mintIdentity: Command = async (args, output) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      service: { type: 'string' },
      namespace: { type: 'string' },
      dns: { type: 'string', multiple: true },
      ttl: { type: 'string' },
      out: { type: 'string' },
    },
  });
  const { service, namespace, dns = [], ttl, out } = values;
  if (service === undefined || out === undefined) throw new UsageError('--service and --out are needed');
  for (const name of dns)
    if (!dnsName.test(name)) throw new UsageError(`--dns: ${JSON.stringify(name)} is no DNS name`);
  const config = configOf({ serviceName: service, namespace, devCaTtl: ttl });
  const inputs = { config, env: process.env, runtime: systemRuntime, logger: silentLogger };
  const minted = await mintDevSvid({ ...devOptions(inputs), dnsNames: dns });
  await mkdir(out, { recursive: true, mode: 0o700 });
  await Promise.all([
    writeFile(join(out, 'svid.pem'), minted.certPem),
    writeFile(join(out, 'key.pem'), minted.keyPem, { mode: 0o600 }),
    writeFile(join(out, 'bundle.pem'), minted.bundlePem),
  ]);
  output.print(
    `${minted.id}: ${['svid.pem', 'key.pem', 'bundle.pem'].map((name) => join(out, name)).join(' ')}`,
  );
  return 0;
};

/** `inmesh identity show` */
export const showIdentity: Command = async (args, output) => {
  const { values } = parseArgs({ args: [...args], options: { json: { type: 'boolean' } } });
  const config = configOf({});
  const source = createIdentitySource({
    config,
    env: process.env,
    runtime: systemRuntime,
    logger: silentLogger,
  });
  try {
    await waitAtStart(
      (signal) => source.ready(signal),
      'identity',
      () => source.state.error,
      config.startupTimeout,
      systemRuntime,
    );
    const { svid, bundles, origin } = source.current();
    const shown = {
      id: svid.id.uri,
      origin,
      serial: svid.serial,
      notBefore: new Date(svid.notBeforeMs).toISOString(),
      notAfter: new Date(svid.notAfterMs).toISOString(),
      names: new X509Certificate(svid.certPem).subjectAltName ?? '',
      fingerprint: svid.fingerprint,
      trusts: [...bundles].map(([trustDomain, bundle]) => `${trustDomain} (${bundle.authorities.length})`),
    };
    if (values.json) output.print(JSON.stringify(shown));
    else
      for (const [name, value] of Object.entries(shown)) output.print(`${name.padEnd(12)} ${String(value)}`);
    return 0;
  } finally {
    await source.close();
  }
};
