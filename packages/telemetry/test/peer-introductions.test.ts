import {
  type ConnectionFacts,
  createIntroduction,
  parseSpiffeId,
  unknownConnection,
  type Workload,
} from '@inmesh/core';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { PeerIntroductions } from '../src/index.js';
import { decodeStruct, encodeStruct } from '../src/protobuf-struct.js';

/** The message as its `.proto` says, by reflection: knows nothing of our reader and writer. */
const definitions = protobuf.common.get('google/protobuf/struct.proto');
const Struct = protobuf.Root.fromJSON(definitions ?? {}).lookupType('google.protobuf.Struct');

interface ProtoValue {
  readonly stringValue?: string;
  readonly structValue?: { readonly fields: Readonly<Record<string, ProtoValue>> };
  readonly numberValue?: number;
  readonly listValue?: { readonly values: readonly ProtoValue[] };
}

function encode(fields: Readonly<Record<string, ProtoValue>>): string {
  return Buffer.from(Struct.encode(Struct.fromObject({ fields })).finish()).toString('base64');
}

const ofIstio = {
  NAME: { stringValue: 'web-5d8c7-x2x2x' },
  NAMESPACE: { stringValue: 'shop' },
  WORKLOAD_NAME: { stringValue: 'web-v2' },
  CLUSTER_ID: { stringValue: 'Kubernetes' },
  OWNER: { stringValue: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/web-v2' },
  LABELS: {
    structValue: {
      fields: {
        app: { stringValue: 'web' },
        version: { stringValue: 'v2' },
        'service.istio.io/canonical-name': { stringValue: 'web' },
        'service.istio.io/canonical-revision': { stringValue: 'v2' },
      },
    },
  },
} satisfies Readonly<Record<string, ProtoValue>>;

const workload: Workload = {
  service: 'orders',
  namespace: 'shop',
  trustDomain: 'dev.local',
  labels: { app: 'orders', version: 'v7' },
  name: 'orders-v7',
  cluster: 'east',
};

function connectionOf(uri = 'spiffe://dev.local/ns/shop/sa/web'): ConnectionFacts {
  const peer = { id: parseSpiffeId(uri), notAfterMs: 0, fingerprint: '', serial: '', trustEpoch: 0 };
  return { ...unknownConnection, isEncrypted: true, peer, introduction: createIntroduction() };
}

function heard(text: string, uri?: string) {
  const connection = connectionOf(uri);
  new PeerIntroductions(workload).hear(connection, 'sidecar~10.0.0.1~web.shop~shop.svc', text);
  return connection.introduction?.metadata;
}

describe('introductions of peers', () => {
  it('says who we are as Istio reads it', () => {
    const [[name, text], [idName, id]] = new PeerIntroductions(workload).own as [
      [string, string],
      [string, string],
    ];
    expect([name, idName]).toEqual(['x-envoy-peer-metadata', 'x-envoy-peer-metadata-id']);
    expect(id).toMatch(/^inmesh~orders~[0-9a-f]{16}$/);
    expect(Struct.toObject(Struct.decode(Buffer.from(text, 'base64')))).toMatchObject({
      fields: {
        CLUSTER_ID: { stringValue: 'east' },
        NAMESPACE: { stringValue: 'shop' },
        WORKLOAD_NAME: { stringValue: 'orders-v7' },
        LABELS: {
          structValue: {
            fields: {
              app: { stringValue: 'orders' },
              version: { stringValue: 'v7' },
              'service.istio.io/canonical-name': { stringValue: 'orders' },
              'service.istio.io/canonical-revision': { stringValue: 'v7' },
            },
          },
        },
      },
    });
  });

  it('names another text by another id: proxies remember the one by the other', () => {
    const [one, other] = [workload, { ...workload, labels: { app: 'orders', version: 'v8' } }].map(
      (who) => new PeerIntroductions(who).own[1]?.[1],
    );
    expect(one).not.toBe(other);
  });

  it('reads what a sidecar of Istio says', () => {
    expect(heard(encode(ofIstio))).toEqual({
      workload: 'web-v2',
      canonicalService: 'web',
      canonicalRevision: 'v2',
      namespace: 'shop',
      app: 'web',
      version: 'v2',
      cluster: 'Kubernetes',
    });
  });

  it('believes nothing of whoever names a namespace that its identity does not prove', () => {
    const text = encode({ ...ofIstio, NAMESPACE: { stringValue: 'bank' } });
    expect(heard(text)).toBeUndefined();
    expect(heard(text, 'spiffe://dev.local/elsewhere')).toMatchObject({ namespace: 'bank' });
  });

  it('leaves out what cannot be a label', () => {
    for (const value of ['a"b', 'a\nb', '', 'x'.repeat(64), '-x', '\u0000', 'ü'])
      expect(heard(encode({ ...ofIstio, WORKLOAD_NAME: { stringValue: value } }))).toMatchObject({
        workload: undefined,
        app: 'web',
      });
    expect(
      heard(encode({ WORKLOAD_NAME: { numberValue: 7 }, LABELS: { stringValue: 'app' } })),
    ).toMatchObject({ workload: undefined, app: undefined });
  });

  it('hears nobody who proved no identity, and nothing that is too long', () => {
    const plain: ConnectionFacts = { ...unknownConnection };
    new PeerIntroductions(workload).hear(plain, '', encode(ofIstio));
    expect(plain.introduction).toBeUndefined();
    const long = { ...ofIstio, NAME: { stringValue: 'x'.repeat(9000) } };
    expect(heard(encode(long))).toBeUndefined();
  });

  it('gives one object for the same words of the same identity, and at most 64 for different ones', () => {
    const introductions = new PeerIntroductions(workload);
    const hear = (name: string, uri?: string) => {
      const connection = connectionOf(uri);
      introductions.hear(connection, '', encode({ WORKLOAD_NAME: { stringValue: name } }));
      return connection.introduction?.metadata;
    };
    expect(hear('a')).toBe(hear('a'));
    expect(hear('a')).not.toBe(hear('a', 'spiffe://dev.local/ns/shop/sa/other'));
    const all = Array.from({ length: 200 }, (_, i) => hear(`w${i}`));
    expect(all.filter((one) => one !== undefined)).toHaveLength(63);
    expect(hear('a')).toMatchObject({ workload: 'a' });
    expect(hear('b', 'spiffe://dev.local/ns/shop/sa/other')).toMatchObject({ workload: 'b' });
  });

  it('knows its own kind, which remembers', () => {
    const connection = connectionOf();
    const introductions = new PeerIntroductions(workload);
    const [[, text], [, id]] = introductions.own as [[string, string], [string, string]];
    introductions.hear(connection, id, text);
    expect(connection.introduction).toMatchObject({
      isLasting: true,
      metadata: { workload: 'orders-v7', cluster: 'east' },
    });
    introductions.hear(connection, 'sidecar~1', text);
    expect(connection.introduction?.isLasting).toBe(false);
  });

  it('throws nothing whatever a peer says', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        heard(Buffer.from(bytes).toString('base64'));
        heard(Buffer.from(bytes).toString('latin1'));
      }),
    );
    const cut = Buffer.from(encode(ofIstio), 'base64');
    for (let end = 0; end < cut.length; end++) heard(cut.subarray(0, end).toString('base64'));
    // Structs within structs, deeper than anybody needs.
    let deep: ProtoValue = { stringValue: 'x' };
    for (let i = 0; i < 40; i++) deep = { structValue: { fields: { LABELS: deep } } };
    expect(heard(encode({ ...ofIstio, LABELS: deep }))).toMatchObject({ workload: 'web-v2', app: undefined });
  });
});

describe('the wire format of a Struct', () => {
  const names = fc.string().filter((name) => name !== '__proto__');
  const structs = fc.dictionary(names, fc.oneof(fc.string(), fc.dictionary(names, fc.string())));
  type Fields = Readonly<Record<string, Readonly<Record<string, string>> | string>>;

  const valuesOf = (fields: Fields): Readonly<Record<string, ProtoValue>> =>
    Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [
        name,
        typeof value === 'string' ? { stringValue: value } : { structValue: { fields: valuesOf(value) } },
      ]),
    );
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  it('is what the definition reads and writes', () => {
    fc.assert(
      fc.property(structs, (fields) => {
        const values = valuesOf(fields);
        const message = Struct.decode(encodeStruct(fields));
        expect(plain(Struct.toObject(message, { objects: true }))).toEqual(
          plain(Struct.toObject(Struct.fromObject({ fields: values }), { objects: true })),
        );
        expect(plain(decodeStruct(Struct.encode(message).finish()))).toEqual(plain(fields));
      }),
    );
  });
});
