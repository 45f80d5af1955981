import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Credentials } from './clients.js';
import { type Bench, check, run } from './harness.js';

/** What a certificate says; wrong on purpose where a line asks for it. */
export interface LeafOptions {
  readonly uris: readonly string[];
  readonly isCa?: boolean;
  readonly isExpired?: boolean;
}

/** An authority made with the openssl command: its certificates never come from the code under test. */
export class OpensslCa {
  readonly dir: string;
  #count = 0;

  private constructor(dir: string) {
    this.dir = dir;
  }

  get bundle(): string {
    return join(this.dir, 'ca.pem');
  }

  static async create(bench: Bench, trustDomain: string): Promise<OpensslCa> {
    const ca = new OpensslCa(bench.newDir('openssl-ca'));
    writeFileSync(join(ca.dir, 'index.txt'), '');
    writeFileSync(
      join(ca.dir, 'ca.cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndir=${ca.dir}\ndatabase=${ca.dir}/index.txt\nnew_certs_dir=${ca.dir}\nrand_serial=yes\nunique_subject=no\ndefault_md=sha256\npolicy=p\ncertificate=${ca.dir}/ca.pem\nprivate_key=${ca.dir}/ca.key\n[p]\ncommonName=optional\norganizationName=optional\n`,
    );
    await ca.#openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'ca.key');
    await ca.#openssl(
      'req',
      '-x509',
      '-new',
      '-key',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      '/O=acceptance',
      '-addext',
      'basicConstraints=critical,CA:TRUE',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
      '-addext',
      `subjectAltName=URI:spiffe://${trustDomain}`,
    );
    return ca;
  }

  /** Issues an SVID, or something that only looks like one. */
  async issue({ uris, isCa = false, isExpired = false }: LeafOptions): Promise<Credentials> {
    this.#count++;
    const base = `leaf-${this.#count}`;
    writeFileSync(
      join(this.dir, `${base}.ext`),
      `basicConstraints=critical,CA:${isCa ? 'TRUE' : 'FALSE'}\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=${uris.map((uri) => `URI:${uri}`).join(',')},DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n`,
    );
    await this.#openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${base}.ec`);
    await this.#openssl('pkcs8', '-topk8', '-nocrypt', '-in', `${base}.ec`, '-out', `${base}.key`);
    await this.#openssl('req', '-new', '-key', `${base}.key`, '-subj', '/O=leaf', '-out', `${base}.csr`);
    const span = isExpired
      ? ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z']
      : ['-days', '1'];
    await this.#openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      'ca.cnf',
      '-extfile',
      `${base}.ext`,
      '-in',
      `${base}.csr`,
      '-out',
      `${base}.pem`,
      ...span,
    );
    return { cert: join(this.dir, `${base}.pem`), key: join(this.dir, `${base}.key`), bundle: this.bundle };
  }

  async #openssl(...args: readonly string[]): Promise<void> {
    const { code, stderr } = await run('openssl', args, { cwd: this.dir });
    check(code === 0, `openssl ${args[0] ?? ''}: ${stderr}`);
  }
}
