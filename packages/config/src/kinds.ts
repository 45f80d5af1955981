import { parseTrustDomain } from '@inmesh/core';
import { listItems } from './list-items.js';
import { isPlainObject } from './shape.js';

/** How the values of a setting are written and checked. */
export interface Kind<T> {
  /** For the reference, such as `duration`. */
  readonly name: string;
  /** Reads text of the environment. @throws Error saying what is allowed */
  parse(text: string): T;
  /** Checks a value given in code. @throws Error saying what is allowed */
  check(value: unknown): T;
  /** Writes a value for people. */
  print(value: T): string;
}

function fail(message: string): never {
  throw new Error(message);
}

function textKind<T>(
  name: string,
  parse: (text: string) => T,
  print: (value: T) => string = String,
): Kind<T> {
  return {
    name,
    parse,
    print,
    check: (value) => (typeof value === 'string' ? parse(value) : fail('must be a string')),
  };
}

const label = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** A DNS label: a service, a namespace. */
export const dnsLabel: Kind<string> = textKind('name', (text) =>
  label.test(text) ? text : fail('must be a DNS label: 1 to 63 of a-z, 0-9 and "-", not at an end'),
);

/** A trust domain. */
export const trustDomainKind: Kind<string> = textKind('trust domain', (text) => parseTrustDomain(text));

/** A path of the file system. */
export const filePath: Kind<string> = textKind('path', (text) =>
  text === '' || text.includes('\0') ? fail('must be a path') : text,
);

/** One of a few words. */
export function choice<T extends string>(...words: readonly T[]): Kind<T> {
  const listed = words.map((word) => `\`${word}\``).join(', ');
  return textKind(
    listed,
    (text) => words.find((word) => word === text) ?? fail(`must be one of ${words.join(', ')}`),
  );
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Prints milliseconds as they are written. */
function printDuration(ms: number): string {
  const unit = ['h', 'm', 's'].find((one) => ms !== 0 && ms % (unitMs[one] ?? 1) === 0) ?? 'ms';
  return `${ms / (unitMs[unit] ?? 1)}${unit}`;
}

const durationForm = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?$/;

/**
 * `250ms`, `2s`, `1m`, `1h`; a number of milliseconds in code.
 *
 * @param also - What else is allowed, at the end of errors.
 */
export function duration(minMs: number, maxMs: number, also = ''): Kind<number> {
  const isWithin = (ms: number): boolean => ms >= minMs && ms <= maxMs;
  const bound = (ms: number): number =>
    isWithin(ms) ? ms : fail(`must be from ${printDuration(minMs)} to ${printDuration(maxMs)}${also}`);
  /** With the units that are meant most often, as far as they are allowed. */
  const withUnit = (digits: string): string => {
    const meant = ['s', 'ms'].filter((unit) => isWithin(Number(digits) * (unitMs[unit] ?? 1)));
    return meant.length === 0
      ? ''
      : `; did you mean ${meant.map((unit) => `${digits}${unit}`).join(' or ')}?`;
  };
  const parse = (text: string): number => {
    const [, digits, unit] = durationForm.exec(text) ?? [];
    if (digits === undefined || unit === undefined)
      fail(
        `must be a duration such as 250ms, 2s, 1m or 1h${also}${digits === undefined ? '' : withUnit(digits)}`,
      );
    return bound(Math.round(Number(digits) * (unitMs[unit] ?? 1)));
  };
  return {
    name: `duration, ${printDuration(minMs)} to ${printDuration(maxMs)}`,
    parse,
    check: (value) =>
      typeof value === 'number' && Number.isFinite(value)
        ? bound(value)
        : typeof value === 'string'
          ? parse(value)
          : fail(`must be a duration${also}`),
    print: printDuration,
  };
}

/** A whole number. */
export function integer(min: number, max: number): Kind<number> {
  const bound = (value: number): number =>
    Number.isInteger(value) && value >= min && value <= max
      ? value
      : fail(`must be a whole number from ${min} to ${max}`);
  return {
    name: `number, ${min} to ${max}`,
    parse: (text) => (/^\d{1,10}$/.test(text) ? bound(Number(text)) : bound(Number.NaN)),
    check: (value) => (typeof value === 'number' ? bound(value) : fail('must be a number')),
    print: String,
  };
}

/** `true` or `false`. */
export const flag: Kind<boolean> = {
  name: '`true`, `false`',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : fail('must be true or false')),
  check: (value) => (typeof value === 'boolean' ? value : fail('must be true or false')),
  print: String,
};

const labelKey = /^(?:[a-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;

function checkLabels(entries: readonly (readonly [string, unknown])[]): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  for (const [key, value] of entries) {
    if (!labelKey.test(key)) fail(`"${key}" is not a label name`);
    if (typeof value !== 'string' || !labelValue.test(value))
      fail(`"${key}" has a value that is not a label value`);
    if (Object.hasOwn(labels, key)) fail(`"${key}" is given twice`);
    labels[key] = value;
  }
  return Object.freeze(labels);
}

/** A value that labels can have. */
export const labelValueKind: Kind<string> = textKind('name', (text) =>
  text !== '' && labelValue.test(text)
    ? text
    : fail('must be 1 to 63 of letters, digits, "-", "_" and ".", with a letter or digit at each end'),
);

/** `app=web,version=v1`. */
export const labelsKind: Kind<Readonly<Record<string, string>>> = {
  name: '`key=value,…`',
  parse: (text) =>
    checkLabels(
      listItems(text, 'names no label').map((pair) => {
        const equals = pair.indexOf('=');
        return equals === -1
          ? fail(`"${pair}" is not key=value`)
          : [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
      }),
    ),
  check: (value) =>
    isPlainObject(value) ? checkLabels(Object.entries(value)) : fail('must be an object of strings'),
  print: (value) =>
    Object.entries(value)
      .map(([key, one]) => `${key}=${one}`)
      .join(','),
};

function checkPaths(paths: readonly unknown[]): readonly string[] {
  return Object.freeze(
    paths.map((path) =>
      typeof path === 'string' && /^\/[^?#\s]*$/.test(path)
        ? path
        : fail(`"${String(path)}" is not a path such as /livez`),
    ),
  );
}

/** `/livez,/readyz`. */
export const pathsKind: Kind<readonly string[]> = {
  name: '`/path,…`',
  parse: (text) => checkPaths(listItems(text, 'names no path')),
  check: (value) => (Array.isArray(value) ? checkPaths(value) : fail('must be an array of paths')),
  print: (value) => value.join(','),
};

/** Where a listener listens. */
export interface ListenAddress {
  /** Address or name; all addresses if `undefined`. */
  readonly host: string | undefined;
  /** Port; 0 picks a free one. */
  readonly port: number;
}

const addressForm = /^(?:(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?))?:(\d{1,5})$/i;

function parseAddress(text: string): ListenAddress {
  const [, host, digits] = addressForm.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    fail('must be host:port or :port, such as 127.0.0.1:9100 or :9100');
  return Object.freeze({ host: host?.replace(/^\[(.*)\]$/, '$1'), port });
}

function printAddress({ host, port }: ListenAddress): string {
  return `${host?.includes(':') === true ? `[${host}]` : (host ?? '')}:${port}`;
}

/** `127.0.0.1:9100`, `:9100`, `[::1]:9100`. */
export const addressKind: Kind<ListenAddress> = {
  name: '`host:port`, `:port`',
  parse: parseAddress,
  check: (value) => (typeof value === 'string' ? parseAddress(value) : fail('must be a string')),
  print: printAddress,
};

/** What of calls is logged: nothing, everything, what failed, or that and a share of the rest. */
export type AccessLog = 'all' | 'errors' | 'off' | number;

const accessLogWords: ReadonlySet<string> = new Set(['off', 'errors', 'all']);

function checkAccessLog(value: unknown): AccessLog {
  if (typeof value === 'string' && accessLogWords.has(value)) return value as AccessLog;
  if (typeof value === 'number' && value > 0 && value < 1) return value;
  return fail('must be off, errors, all, or a share of the calls between 0 and 1, such as 0.01');
}

/** `off`, `errors`, `all`, or a share. */
export const accessLogKind: Kind<AccessLog> = {
  name: '`off`, `errors`, `all`, share such as `0.01`',
  parse: (text) => checkAccessLog(/^0?\.\d{1,6}$/.test(text) ? Number(text) : text),
  check: checkAccessLog,
  print: String,
};
