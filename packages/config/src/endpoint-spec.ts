import { isIP } from 'node:net';
import type { Endpoint } from '@inmesh/core';
import { endpointMistake, withoutPassword } from './endpoint-mistake.js';
import { listItems } from './list-items.js';
import { show } from './problems.js';
import { type Check, listOf, objectOf, text, value } from './shape.js';
import { localityForm } from './traffic-kinds.js';

/** An address. */
export interface StaticSpec extends Endpoint {
  /** Tells the specs apart. */
  readonly kind: 'static';
}

/** A name that the system's resolver turns into addresses; weight, priority and locality hold for each of them. */
export interface DnsSpec extends Endpoint {
  /** Tells the specs apart. */
  readonly kind: 'dns';
}

/** A name whose SRV records say hosts, ports, priorities and weights. RFC 2782. */
export interface SrvSpec {
  /** Tells the specs apart. */
  readonly kind: 'srv';
  /** Name to ask for, such as `_http._tcp.orders.example`. */
  readonly name: string;
}

/** Where endpoints of an upstream come from. */
export type EndpointSpec = DnsSpec | SrvSpec | StaticSpec;

const label = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const nameForm = new RegExp(`^(?=.{1,254}$)${label}(?:\\.${label})*\\.?$`);
// Resolvers read `1.2` and `0x7f` as addresses, each in its own way.
const numericEnd = /(?:^|\.)(?:\d+|0[xX][0-9a-fA-F]*)\.?$/;
const itemForm = /^(?:dns\+)?(?:\[([^[\]]+)\]|([^[\]:]+)):(\d{1,5})$/;
const srvPrefix = 'dnssrv+';
const srvForm = /^_[^.]+\._[^.]+\.[^.]/;

function isDnsName(name: string): boolean {
  return nameForm.test(name) && !numericEnd.test(name);
}

/** Whether it is a TCP port that can be connected to. */
export function isPort(port: unknown): boolean {
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535;
}

/** Whether text is an IP address or can be the name of a host. */
export function isHost(host: unknown): boolean {
  return typeof host === 'string' && (isIP(host) !== 0 || isDnsName(host));
}

function specOf(endpoint: Endpoint): EndpointSpec {
  return Object.freeze({ kind: isIP(endpoint.host) === 0 ? 'dns' : 'static', ...endpoint });
}

function mistakeIn(item: string): string {
  return `${show(item)} ${endpointMistake(item)}`;
}

function parseItem(item: string): EndpointSpec | undefined {
  if (item.startsWith(srvPrefix)) {
    const name = item.slice(srvPrefix.length);
    return isDnsName(name) && srvForm.test(name) ? Object.freeze({ kind: 'srv', name }) : undefined;
  }
  const [, v6, host = v6, digits] = itemForm.exec(item) ?? [];
  const port = Number(digits);
  const isFine = host !== undefined && isPort(port) && (v6 === undefined ? isHost(host) : isIP(v6) === 6);
  return isFine ? specOf({ host, port }) : undefined;
}

/** Reads `host:port,dnssrv+_http._tcp.name,…`. @throws Error naming every item that is none, and its mistake */
export function parseEndpoints(given: string): readonly EndpointSpec[] {
  const specs: EndpointSpec[] = [];
  const wrong: string[] = [];
  for (const item of listItems(given, 'names no endpoint')) {
    const spec = parseItem(item);
    if (spec === undefined) wrong.push(mistakeIn(withoutPassword(item)));
    else specs.push(spec);
  }
  if (wrong.length > 0)
    throw new Error(
      `${wrong.join('; ')}; ${wrong.length === 1 ? 'it is' : 'they are'} neither host:port nor dnssrv+_service._proto.name`,
    );
  return Object.freeze(specs);
}

const endpointsInput: Check = listOf(
  objectOf<Endpoint>(
    {
      host: value('an IP address or the name of a host', isHost),
      port: value('a port from 1 to 65535', isPort),
      weight: value(
        'a number from 0 to 1000000',
        (one) => typeof one === 'number' && one >= 0 && one <= 1_000_000,
      ),
      priority: value(
        'a whole number from 0 to 127',
        (one) => typeof one === 'number' && Number.isInteger(one) && one >= 0 && one <= 127,
      ),
      locality: text('region, region/zone or region/zone/subzone', localityForm),
    },
    ['host', 'port'],
  ),
);

/** Says so if nothing can be picked: of the endpoints of the first priority, or of all, each weighs 0. */
function checkWeights(endpoints: readonly Endpoint[], where: string, problems: string[]): void {
  const isIdle = ({ weight = 1 }: Endpoint): boolean => weight === 0;
  if (endpoints.length === 0) return;
  const first = Math.min(...endpoints.map(({ priority = 0 }) => priority));
  if (endpoints.every(isIdle)) problems.push(`the weights of ${where} sum to 0`);
  else if (endpoints.filter(({ priority = 0 }) => priority === first).every(isIdle))
    problems.push(`the weights of ${where} with priority ${first}, the first, sum to 0`);
}

/** Checks a list of endpoints given in code, frozen and on its own; `undefined` if there are `problems`. It may be empty. */
export function checkEndpoints(
  given: unknown,
  where: string,
  problems: string[],
): readonly Endpoint[] | undefined {
  const before = problems.length;
  endpointsInput(given, where, problems);
  if (problems.length > before) return undefined;
  const endpoints = (given as readonly Endpoint[]).map((one) => Object.freeze({ ...one }));
  checkWeights(endpoints, where, problems);
  return problems.length > before ? undefined : Object.freeze(endpoints);
}

/** Checks endpoints given in code as objects; none if there are `problems`. */
export function readEndpoints(given: unknown, where: string, problems: string[]): readonly EndpointSpec[] {
  const endpoints = checkEndpoints(given, where, problems) ?? [];
  if (Array.isArray(given) && given.length === 0) problems.push(`${where} names no endpoint`);
  return Object.freeze(endpoints.map(specOf));
}

/** The addresses among specs. */
export function staticEndpoints(specs: readonly EndpointSpec[]): readonly Endpoint[] {
  return specs.flatMap((spec) => {
    if (spec.kind !== 'static') return [];
    const { kind: _, ...endpoint } = spec;
    return [Object.freeze(endpoint)];
  });
}

/** Writes a spec as the environment has it. */
export function printSpec(spec: EndpointSpec): string {
  if (spec.kind === 'srv') return `${srvPrefix}${spec.name}`;
  return `${spec.host.includes(':') ? `[${spec.host}]` : spec.host}:${spec.port}`;
}
