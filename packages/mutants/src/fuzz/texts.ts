import fc, { type Arbitrary } from 'fast-check';

/** Texts of the given pieces and of anything else. */
export function soup(...pieces: readonly string[]): Arbitrary<string> {
  const piece = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...pieces) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
  );
  return fc.array(piece, { maxLength: 16 }).map((parts) => parts.join(''));
}

/** Valid texts with a few places cut, doubled or overwritten. */
export function spoiled(pieces: readonly string[], ...seeds: readonly string[]): Arbitrary<string> {
  const cut = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat({ max: 12 }),
    put: fc.constantFrom('', ...pieces),
  });
  return fc.tuple(fc.constantFrom(...seeds), fc.array(cut, { maxLength: 4 })).map(([seed, cuts]) =>
    cuts.reduce((text, { at, length, put }) => {
      const from = Math.floor(at * text.length);
      return text.slice(0, from) + put + text.slice(from + length);
    }, seed),
  );
}

/** Valid bytes with a few of them overwritten, cut off or doubled. */
export function spoiledBytes(...seeds: readonly Buffer[]): Arbitrary<Buffer> {
  const edit = fc.record({ at: fc.nat({ max: 0xffff }), octet: fc.nat({ max: 255 }) });
  return fc
    .record({
      seed: fc.constantFrom(...seeds),
      edits: fc.array(edit, { maxLength: 4 }),
      cut: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 64 }) }),
      tail: fc.oneof(
        { weight: 4, arbitrary: fc.constant(new Uint8Array()) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 8 }) },
      ),
    })
    .map(({ seed, edits, cut, tail }) => {
      const bytes = Buffer.concat([seed.subarray(0, seed.length - cut), tail]);
      for (const { at, octet } of edits) bytes[at % Math.max(1, bytes.length)] = octet;
      return bytes;
    });
}
