// The other end of what a team assembles: who calls is read once per connection, rules are compiled once.
import type { IncomingMessage, RequestListener } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { Counter, Histogram } from 'prom-client';
import { type BenchPolicy, benchPolicies } from '../policies.js';

const callers = new WeakMap<object, string>();

function callerOf({ socket }: IncomingMessage): string {
  let caller = callers.get(socket);
  if (caller === undefined) {
    const { subjectaltname = '' } = (socket as TLSSocket).getPeerCertificate();
    caller = /URI:([^,]+)/.exec(subjectaltname)?.[1] ?? '';
    callers.set(socket, caller);
  }
  return caller;
}

function compile({ from, path, team }: BenchPolicy): (request: IncomingMessage, pathname: string) => boolean {
  const id =
    'account' in from ? `spiffe://dev\\.local/ns/default/sa/${from.account}` : `.*/ns/${from.namespace}/.*`;
  const who = new RegExp(`^${id}$`);
  const where = path && ('exact' in path ? path.exact : 'prefix' in path ? `${path.prefix}.*` : undefined);
  const what =
    path && new RegExp(`^${where ?? ('before' in path ? `${path.before}[^/]+${path.after}` : '')}$`);
  return (request, pathname) =>
    who.test(callerOf(request)) &&
    (what === undefined || (request.method === 'GET' && what.test(pathname))) &&
    (team === undefined || request.headers['x-team'] === team);
}

export function guard(handle: RequestListener, count: number, isCounted: boolean): RequestListener {
  const rules = benchPolicies(count).map((policy) => ({ ...policy, matches: compile(policy) }));
  const denied = rules.filter((rule) => rule.isDeny);
  const allowed = rules.filter((rule) => !rule.isDeny);
  const labelNames = ['method', 'code', 'caller'];
  const seconds = new Histogram({ name: 'server_request_duration_seconds', help: 'Time.', labelNames });
  const total = new Counter({ name: 'server_requests_total', help: 'Requests.', labelNames });
  return (request, response) => {
    const end = isCounted ? seconds.startTimer() : undefined;
    if (end !== undefined)
      response.once('finish', () => {
        const labels = { method: request.method, code: response.statusCode, caller: callerOf(request) };
        end(labels);
        total.inc(labels);
      });
    const pathname = (request.url ?? '').split('?', 1)[0] ?? '';
    const matches = (rule: (typeof rules)[number]): boolean => rule.matches(request, pathname);
    if (!denied.some(matches) && allowed.some(matches)) handle(request, response);
    else response.writeHead(403).end();
  };
}
