import { askedWhy, type Call, explainHeader, type Layer } from '@inmesh/core';
import type { AccessDecision } from './call-record.js';
import { decisionOf } from './call-records.js';

function textOf({ isAllowed, policy, rule, origin, reason }: AccessDecision): string {
  const verdict = isAllowed ? 'allowed' : 'denied';
  const by = policy === '' ? '' : ` policy=${policy} rule=${rule}`;
  const at = origin === undefined || origin.line === 0 ? '' : ` at=${origin.source}:${origin.line}`;
  // What a header cannot hold has no place in it.
  return `${verdict}${by}${at} reason="${reason}"`.replaceAll(/[^\u0020-\u007e]/g, '?');
}

/**
 * The layer that tells callers what was decided about their call, if they ask and may. Others are told nothing; the
 * question reaches no application.
 *
 * @param mayAsk - Whether the caller is one of those who may.
 */
export function explain(mayAsk: (call: Call) => boolean): Layer {
  return {
    role: 'explain',
    scope: 'call',
    why: 'denials are explained, too',
    before: ['authorize'],
    bind({ side }) {
      if (side !== 'server') return undefined;
      return {
        head(call, head) {
          if (call.get(askedWhy) === undefined || !mayAsk(call)) return;
          const decision = decisionOf(call);
          head.headers.set(explainHeader, decision === undefined ? 'not decided' : textOf(decision));
        },
      };
    },
  };
}
