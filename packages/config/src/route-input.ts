import type {
  DirectAction,
  ForwardAction,
  HeaderEdits,
  PathMatch,
  QueryMatch,
  RedirectAction,
  Rewrite,
  RouteAction,
  RouteBackend,
  RouteMatch,
  RouteRules,
} from '@inmesh/core';
import { requestEdits, responseEdits } from './header-edits.js';
import { headerMatch, type RulesInput, routeRulesInput } from './rules-input.js';
import { byKind, type Check, listOf, number, objectOf, text, truth, word } from './shape.js';

/** A route given in code. */
export interface RouteInput {
  /** For logs. @defaultValue `<mesh name>[<index>]` */
  readonly name?: string | undefined;
  /** Alternatives. @defaultValue none: it matches everything */
  readonly matches?: readonly RouteMatch[] | undefined;
  /** What happens. @defaultValue forward to the upstream that has the mesh name */
  readonly action?: RouteAction | undefined;
  /** What holds, where it differs from the rules for calls of the upstream that has the mesh name. @defaultValue nothing */
  readonly rules?: RulesInput<RouteRules> | undefined;
  /** Changes of the request's headers. @defaultValue none */
  readonly request?: HeaderEdits | undefined;
  /** Changes of the reply's headers. @defaultValue none */
  readonly response?: HeaderEdits | undefined;
}

const name = text('a name', /^[^\s\p{Cc}][^\p{Cc}]{0,255}$/u);
const anyText = text('text', /^/);
const path = text('a path that begins with "/"', /^\/[\x21-\x7e]*$/);
/** The query is not part of it: it stays as it is. */
const rewritten = text(
  'a path that begins with "/", without "?" and "#"',
  /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/,
);
const authority = text('host or host:port', /^[A-Za-z0-9.[\]:_-]{1,260}$/);

const match = objectOf<RouteMatch>({
  path: objectOf<PathMatch>({
    exact: text('a path that begins with "/", or "*"', /^(?:\/[\x21-\x7e]*|\*)$/),
    prefix: path,
    segments: path,
    regex: anyText,
  }),
  methods: listOf(text('a method in capitals, such as GET', /^[A-Z][A-Z0-9_-]*$/)),
  headers: listOf(headerMatch),
  query: listOf(
    objectOf<QueryMatch>({ name: anyText, exact: anyText, prefix: anyText, regex: anyText, present: truth }, [
      'name',
    ]),
  ),
});

const backend = objectOf<RouteBackend>(
  {
    cluster: anyText,
    weight: number,
    request: requestEdits,
    response: responseEdits,
  },
  ['cluster'],
);

const action = byKind({
  forward: objectOf<ForwardAction>(
    {
      kind: anyText,
      backends: listOf(backend),
      rewrite: objectOf<Rewrite>({
        path: rewritten,
        prefix: rewritten,
        authority,
      }),
    },
    ['backends'],
  ),
  redirect: objectOf<RedirectAction>({
    kind: anyText,
    status: word(301, 302, 303, 307, 308),
    scheme: word('http', 'https'),
    authority,
    path,
    prefix: path,
  }),
  direct: objectOf<DirectAction>({ kind: anyText, status: number, body: anyText }, ['status']),
});

/** The routes of one mesh name, given in code. */
export const routesInput: Check = listOf(
  objectOf<RouteInput>({
    name,
    matches: listOf(match),
    action,
    rules: routeRulesInput,
    request: requestEdits,
    response: responseEdits,
  }),
);
