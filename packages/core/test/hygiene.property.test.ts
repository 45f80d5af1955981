import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanHeaders, FlatHeaders } from '../src/index.js';

const forged = [
  'client-cert',
  'client-cert-chain',
  'forwarded',
  'l5d-client-id',
  'x-envoy-peer-metadata',
  'x-envoy-peer-metadata-id',
  'x-forwarded-client-cert',
  'x-inmesh-',
  'x-inmesh-peer',
];
const kept = [
  'accept',
  'baggage',
  'client-ip',
  'content-type',
  'cookie',
  'traceparent',
  'x-forwarded-for',
  'x-role',
];
const cased = (name: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((flags) => Array.from(name, (char, i) => (flags[i] ? char.toUpperCase() : char)).join(''));
const lines = fc.array(fc.tuple(fc.constantFrom(...forged, ...kept).chain(cased), fc.string()));

describe('cleaning of request headers', () => {
  it('removes what claims an identity, in any case, and nothing else', () => {
    fc.assert(
      fc.property(lines, (all) => {
        const headers = new FlatHeaders(all.flat());
        const said = [...new FlatHeaders(all.flat()).all('x-envoy-peer-metadata')];
        const [id = ''] = new FlatHeaders(all.flat()).all('x-envoy-peer-metadata-id');
        expect(cleanHeaders(headers)).toEqual(
          said[0] === undefined
            ? { host: undefined }
            : { host: undefined, introduction: { id, text: said[0] } },
        );
        expect(headers.raw).toEqual(all.filter(([name]) => kept.includes(name.toLowerCase())).flat());
      }),
    );
  });

  it.each(['host', 'authorization'])('refuses two lines of %s, in any case', (name) => {
    fc.assert(
      fc.property(cased(name), cased(name), lines, (one, two, more) => {
        expect(cleanHeaders(new FlatHeaders([one, 'a', ...more.flat(), two, 'b']))).toHaveProperty('fault');
        expect(cleanHeaders(new FlatHeaders([one, 'a', ...more.flat()]))).not.toHaveProperty('fault');
      }),
    );
  });
});
