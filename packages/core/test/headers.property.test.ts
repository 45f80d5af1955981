import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FlatHeaders } from '../src/index.js';

/** The obvious model: a list of pairs. */
class Model {
  pairs: [string, string][] = [];
  all(name: string): string[] {
    return this.pairs.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v);
  }
  set(name: string, value: string): void {
    const at = this.pairs.findIndex(([n]) => n.toLowerCase() === name.toLowerCase());
    if (at === -1) {
      this.pairs.push([name, value]);
      return;
    }
    const kept = this.pairs[at]?.[0] ?? name;
    this.pairs = this.pairs.filter(([n], i) => i === at || n.toLowerCase() !== name.toLowerCase());
    this.pairs[this.pairs.findIndex(([n]) => n.toLowerCase() === name.toLowerCase())] = [kept, value];
  }
}

const name = fc.constantFrom('a', 'A', 'Host', 'host', 'x-Role', 'X-ROLE', 'aa', 'x_role');
const step = fc.record({
  op: fc.constantFrom('set', 'append', 'delete'),
  name,
  value: fc.string({ maxLength: 3 }),
});

it('behaves like a list of pairs under any sequence of edits', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const headers = new FlatHeaders([]);
      const model = new Model();
      for (const { op, name: n, value } of steps) {
        if (op === 'append') {
          headers.append(n, value);
          model.pairs.push([n, value]);
        } else if (op === 'set') {
          headers.set(n, value);
          model.set(n, value);
        } else {
          headers.delete(n);
          model.pairs = model.pairs.filter(([m]) => m.toLowerCase() !== n.toLowerCase());
        }
        const seen: [string, string][] = [];
        headers.forEach((k, v) => seen.push([k, v]));
        expect(seen).toEqual(model.pairs);
        expect(headers.all(n)).toEqual(model.all(n));
        expect(headers.get(n)).toEqual(model.all(n)[0]);
        expect(headers.has(n)).toBe(model.all(n).length > 0);
      }
    }),
  );
});

it('edits the storage it was given', () => {
  const raw = ['Host', 'a', 'X', '1', 'x', '2'];
  new FlatHeaders(raw).delete('x');
  expect(raw).toEqual(['Host', 'a']);
});
