import type { HeaderMatch, PathMatch, QueryMatch, RouteMatch, TextMatch } from '@inmesh/core';
import type { Cursor } from './read.js';
import { hasLabels, type ReaderScope } from './scope.js';

const forms = ['exact', 'prefix', 'regex'] as const;

/** Istio's `StringMatch`: one of three; `undefined` if there is none. */
function textMatch(at: Cursor): TextMatch | undefined {
  const given = forms.filter((form) => at.at(form).isThere);
  if (given.length > 1) return at.wrong(`give one of ${forms.join(', ')}, not several`);
  const [form] = given;
  const text = form === undefined ? undefined : at.at(form).text;
  return form === undefined || text === undefined ? undefined : { [form]: text };
}

/** Headers by name; without a text to compare they must be there. */
function headerMatches(at: Cursor, invert: boolean): readonly HeaderMatch[] {
  return at.entries.flatMap(([name, one]) => {
    if (name.startsWith(':') || !/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) {
      one.wrong(
        `"${name}" is no name of a header in lower case; for ":method" and such there are fields of their own`,
      );
      return [];
    }
    return [{ name, ...(textMatch(one) ?? { present: true }), ...(invert ? { invert } : {}) }];
  });
}

/** Whether a match can be about our calls: its gateways, our labels, our namespace. */
export function isForUs(at: Cursor, gateways: Cursor, own: ReaderScope): boolean {
  const named = at.at('gateways').items.length > 0 ? at.at('gateways') : gateways;
  const isMesh = named.items.length === 0 || named.items.some(({ text }) => text === 'mesh');
  const namespace = at.at('sourceNamespace').text;
  return (
    isMesh &&
    hasLabels(at.at('sourceLabels').value, own.labels) &&
    (namespace === undefined || namespace === '' || namespace === own.namespace)
  );
}

/** What a call must look like. */
export function matchOf(at: Cursor): RouteMatch {
  const path: PathMatch | undefined = textMatch(at.at('uri'));
  const method = at.at('method').at('exact').text;
  const headers = [
    ...headerMatches(at.at('headers'), false),
    ...headerMatches(at.at('withoutHeaders'), true),
  ];
  const query = at
    .at('queryParams')
    .entries.map(([name, one]): QueryMatch => ({ name, ...(textMatch(one) ?? { present: true }) }));
  return {
    ...(path === undefined ? {} : { path }),
    ...(method === undefined ? {} : { methods: [method] }),
    ...(headers.length === 0 ? {} : { headers }),
    ...(query.length === 0 ? {} : { query }),
  };
}
