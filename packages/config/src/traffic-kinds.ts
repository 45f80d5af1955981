import { parseRetryOn, type RetryOn } from '@inmesh/core';
import { duration, type Kind } from './kinds.js';
import { messageOf } from './problems.js';
import { isPlainObject } from './shape.js';

/** A duration from 1 ms, or 0 for none. */
export function durationOrNone(maxMs: number): Kind<number> {
  const some = duration(1, maxMs);
  const read = (get: () => number): number => {
    try {
      return get();
    } catch (error) {
      throw new Error(`${messageOf(error)}, or 0 for none`);
    }
  };
  const isNone = (value: unknown): boolean =>
    value === 0 || (typeof value === 'string' && /^0(?:ms|s|m|h)?$/.test(value));
  return {
    name: `duration up to ${some.print(maxMs)}, or \`0\` for none`,
    parse: (text) => (isNone(text) ? 0 : read(() => some.parse(text))),
    check: (value) => (isNone(value) ? 0 : read(() => some.check(value))),
    print: (ms) => (ms === 0 ? '0' : some.print(ms)),
  };
}

function printRetryOn({ conditions, statusCodes }: RetryOn): string {
  return [...conditions, ...statusCodes].join(',');
}

/** Istio's `retryOn`. In code also its parts. */
export const retryOnKind: Kind<RetryOn> = {
  name: 'conditions and statuses, separated by commas',
  parse: parseRetryOn,
  check(value) {
    if (typeof value === 'string') return parseRetryOn(value);
    const { conditions, statusCodes, ...others } = isPlainObject(value) ? value : {};
    const words = [conditions, statusCodes].flatMap((one: unknown) => one);
    if (!Array.isArray(conditions) || !Array.isArray(statusCodes) || Object.keys(others).length > 0)
      throw new Error('must be text such as connect-failure,503, or conditions and statusCodes');
    return parseRetryOn(words.map(String).join(','));
  },
  print: printRetryOn,
};

/** `region/zone/subzone`, as far as it is known. */
export const localityForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,62}){0,2}$/;

/** Checks `region/zone/subzone`. @throws Error */
function parseLocality(text: string): string {
  if (!localityForm.test(text))
    throw new Error('must be region, region/zone or region/zone/subzone, of a-z, A-Z, 0-9, ".", "_" and "-"');
  return text;
}

/** `region/zone/subzone`, as far as it is known. */
export const localityKind: Kind<string> = {
  name: '`region/zone/subzone`',
  parse: parseLocality,
  check: (value) => (typeof value === 'string' ? parseLocality(value) : parseLocality('')),
  print: String,
};
