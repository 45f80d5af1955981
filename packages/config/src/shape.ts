import { didYouMean } from './nearest.js';
import { show } from './problems.js';

/** Checks a value given in code, and everything in it; says what is wrong, and where, in `problems`. */
export type Check = (value: unknown, where: string, problems: string[]) => void;

/** Whether a value is an object with keys: no array, no function. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether it is an object whose keys are all there is to it: a `Map` or an instance of a class holds more. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isObject(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Says that a value is no object with keys. */
export function noObject(value: unknown, where: string): string {
  return `${where} is ${show(value)}; it must be ${isObject(value) ? 'a plain' : 'an'} object`;
}

/** Any value that passes a test. @param allowed - What is allowed, after "must be". */
export function value(allowed: string, test: (given: unknown) => boolean): Check {
  return (given, where, problems) => {
    if (!test(given)) problems.push(`${where} is ${show(given)}; it must be ${allowed}`);
  };
}

/** Text that matches a form. @param allowed - What is allowed, after "must be". */
export function text(allowed: string, form: RegExp): Check {
  return value(allowed, (given) => typeof given === 'string' && form.test(given));
}

/** A number; bounds are checked with the rules as a whole. */
export const number: Check = value('a number', (given) => typeof given === 'number' && !Number.isNaN(given));

/** `true` or `false`. */
export const truth: Check = value('true or false', (given) => typeof given === 'boolean');

/** A function. */
export const callable: Check = value('a function', (given) => typeof given === 'function');

/** One of a few words. */
export function word(...words: readonly (number | string)[]): Check {
  return value(`one of ${words.join(', ')}`, (given) => words.some((one) => one === given));
}

/** An array of such values. */
export function listOf(item: Check): Check {
  return (given, where, problems) => {
    if (Array.isArray(given))
      Array.from<unknown>(given).forEach((one, i) => item(one, `${where}[${i}]`, problems));
    else problems.push(`${where} is ${show(given)}; it must be an array`);
  };
}

/** An object with any keys. @param key - Checks them too. */
export function recordOf(item: Check, key?: Check): Check {
  return (given, where, problems) => {
    if (!isPlainObject(given)) {
      problems.push(noObject(given, where));
      return;
    }
    for (const [name, one] of Object.entries(given)) {
      key?.(name, `a name in ${where}`, problems);
      item(one, `${where}[${JSON.stringify(name)}]`, problems);
    }
  };
}

/** `; did you mean X?`, or what there is. */
function whatThereIs(key: string, known: Iterable<string>): string {
  const names = [...known];
  return didYouMean(key, names) || `; there are ${names.join(', ')}`;
}

/** An object with these keys, each of which may be left out unless it is `required`. Others are problems. */
export function objectOf<T>(
  fields: { readonly [K in keyof T]-?: Check },
  required: readonly (keyof T & string)[] = [],
): Check {
  const known = new Map<string, Check>(Object.entries(fields));
  return (given, where, problems) => {
    if (!isPlainObject(given)) {
      problems.push(noObject(given, where));
      return;
    }
    for (const [key, one] of Object.entries(given)) {
      const check = known.get(key);
      if (check === undefined) problems.push(`${where} has no "${key}"${whatThereIs(key, known.keys())}`);
      else if (one !== undefined) check(one, `${where}.${key}`, problems);
    }
    for (const key of required) if (given[key] === undefined) problems.push(`${where} needs "${key}"`);
  };
}

/** A value that `false` turns off. */
export function orFalse(check: Check): Check {
  return (given, where, problems) => {
    if (given !== false) check(given, where, problems);
  };
}

/** A function, or something else. */
export function orCallable(check: Check): Check {
  return (given, where, problems) => {
    if (typeof given !== 'function') check(given, where, problems);
  };
}

/** One of several objects, told apart by their `kind`. */
export function byKind(kinds: Readonly<Record<string, Check>>): Check {
  const known = new Map(Object.entries(kinds));
  return (given, where, problems) => {
    const kind = isObject(given) ? given['kind'] : undefined;
    const check = typeof kind === 'string' ? known.get(kind) : undefined;
    if (check === undefined)
      problems.push(`${where}.kind is ${show(kind)}; it must be one of ${[...known.keys()].join(', ')}`);
    else check(given, where, problems);
  };
}
