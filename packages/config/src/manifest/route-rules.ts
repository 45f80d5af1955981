import type { HeaderEdits, RouteRules } from '@inmesh/core';
import { requestEdits, responseEdits } from '../header-edits.js';
import { messageOf } from '../problems.js';
import type { RulesInput } from '../rules-input.js';
import { retryOnKind } from '../traffic-kinds.js';
import { type Cursor, durationAt } from './read.js';

const dayMs = 86_400_000;

function retryPart(at: Cursor): RulesInput<RouteRules['retry']> | undefined {
  if (!at.isThere) return undefined;
  const attempts = at.at('attempts');
  const { number } = attempts;
  if (number !== undefined && (number < 0 || number > 9)) attempts.wrong(`${number} is not from 0 to 9`);
  const retryOn = at.at('retryOn');
  const perTryTimeoutMs = durationAt(at.at('perTryTimeout'), 0);
  const baseMs = durationAt(at.at('backoff'), 1);
  const keepsHosts = at.at('retryIgnorePreviousHosts').truth === false;
  return {
    // Istio retries twice where `retries` names no number.
    maxAttempts: (number ?? 2) + 1,
    ...(retryOn.text === undefined || retryOn.text === '' ? {} : conditions(retryOn, retryOn.text)),
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    ...(baseMs === undefined ? {} : { backoff: { baseMs } }),
    ...(keepsHosts ? { repicks: 0 } : {}),
  };
}

function conditions(
  at: Cursor,
  text: string,
): Pick<RouteRules['retry'], 'conditions' | 'statusCodes'> | undefined {
  try {
    return retryOnKind.parse(text);
  } catch (error) {
    return at.wrong(messageOf(error));
  }
}

/** What a route says of time and retries; `undefined` if nothing. */
export function rulesOf(http: Cursor): RulesInput<RouteRules> | undefined {
  const timeout = http.at('timeout');
  const timeoutMs = durationAt(timeout, 0);
  if (timeoutMs !== undefined && timeoutMs > dayMs) timeout.wrong('a timeout is at most 24h');
  const retry = retryPart(http.at('retries'));
  if (timeoutMs === undefined && retry === undefined) return undefined;
  return {
    // Envoy's timeout is that of the whole call, and the only one: that of the settings must not cut it short.
    ...(timeoutMs === undefined ? {} : { timeoutMs, headTimeoutMs: 0 }),
    ...(retry === undefined ? {} : { retry }),
  };
}

function textsOf(at: Cursor): Readonly<Record<string, string>> | undefined {
  if (!at.isThere) return undefined;
  const texts: Record<string, string> = {};
  for (const [name, one] of at.entries) {
    const text = one.text ?? '';
    if (/%(?!%)/.test(text.replaceAll('%%', '')))
      one.unsupported(`the variable in "${text}"`, 'spec.http[].headers');
    texts[name] = text.replaceAll('%%', '%');
  }
  return texts;
}

/** Changes of headers of one direction. */
function editsOf(at: Cursor, side: 'request' | 'response'): HeaderEdits | undefined {
  if (!at.isThere) return undefined;
  const set = textsOf(at.at('set'));
  const add = textsOf(at.at('add'));
  const remove = at.at('remove').items.map((one) => one.text ?? '');
  const edits: HeaderEdits = {
    ...(set === undefined ? {} : { set }),
    ...(add === undefined ? {} : { add }),
    ...(remove.length === 0 ? {} : { remove }),
  };
  const problems: string[] = [];
  (side === 'request' ? requestEdits : responseEdits)(edits, `headers.${side}`, problems);
  for (const problem of problems) at.wrong(problem);
  return edits;
}

/** Changes of headers of a route or of one of its destinations. */
export function headersOf(at: Cursor): { readonly request?: HeaderEdits; readonly response?: HeaderEdits } {
  const request = editsOf(at.at('request'), 'request');
  const response = editsOf(at.at('response'), 'response');
  return { ...(request === undefined ? {} : { request }), ...(response === undefined ? {} : { response }) };
}
