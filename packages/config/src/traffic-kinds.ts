import { parseRetryOn, type RetryOn, retryConditions } from '@inmesh/core';
import { duration, type Kind } from './kinds.js';
import { listItems } from './list-items.js';
import { didYouMean } from './nearest.js';
import { show } from './problems.js';
import { isPlainObject } from './shape.js';

/** A duration from 1 ms, or 0 for none. */
export function durationOrNone(maxMs: number): Kind<number> {
  const some = duration(1, maxMs, ', or 0 for none');
  const isNone = (value: unknown): boolean =>
    value === 0 || (typeof value === 'string' && /^0(?:ms|s|m|h)?$/.test(value));
  return {
    name: `duration up to ${some.print(maxMs)}, or \`0\` for none`,
    parse: (text) => (isNone(text) ? 0 : some.parse(text)),
    check: (value) => (isNone(value) ? 0 : some.check(value)),
    print: (ms) => (ms === 0 ? '0' : some.print(ms)),
  };
}

function printRetryOn({ conditions, statusCodes }: RetryOn): string {
  return [...conditions, ...statusCodes].join(',');
}

const wordsForOff: ReadonlySet<string> = new Set([
  '0',
  'disable',
  'disabled',
  'false',
  'never',
  'no',
  'none',
  'off',
]);

/** @param off - How retries are turned off. @throws Error */
function checkRetryWord(word: string, off: string): void {
  if (wordsForOff.has(word.toLowerCase()))
    throw new Error(`${show(word)} is no retry condition; to send nothing again, ${off}`);
  if (/^\d+$/.test(word) || retryConditions.some((one) => one === word)) return;
  // What has the word as a part comes first: "4xx" is one letter from "5xx", which is something else.
  const whole = retryConditions.find((one) => one.split('-').includes(word.toLowerCase()));
  const hint = whole === undefined ? didYouMean(word, retryConditions) : `; did you mean ${whole}?`;
  throw new Error(
    `${show(word)} is no retry condition${hint === '' ? `; there are ${retryConditions.join(', ')}` : hint}`,
  );
}

/** Stricter than Istio about empty items: lists of the configuration have one rule, see {@link listItems}. */
function readRetryOn(text: string, off: string): RetryOn {
  for (const word of listItems(text, 'names no condition')) checkRetryWord(word, off);
  return parseRetryOn(text);
}

const offInCode = 'set retries to 0';

/** Istio's `retryOn`. In code also its parts. */
export const retryOnKind: Kind<RetryOn> = {
  name: 'conditions and statuses, separated by commas',
  parse: (text) => readRetryOn(text, 'set INMESH_RETRIES=0'),
  check(value) {
    if (value === '') return parseRetryOn('');
    if (typeof value === 'string') return readRetryOn(value, offInCode);
    if (value === false) checkRetryWord('false', offInCode);
    const { conditions, statusCodes, ...others } = isPlainObject(value) ? value : {};
    const words = [conditions, statusCodes].flatMap((one: unknown) => one);
    if (!Array.isArray(conditions) || !Array.isArray(statusCodes) || Object.keys(others).length > 0)
      throw new Error('must be text such as connect-failure,503, or conditions and statusCodes');
    return words.length === 0 ? parseRetryOn('') : readRetryOn(words.map(String).join(','), offInCode);
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
