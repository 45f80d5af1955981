import type { LocalReply } from './layer.js';

/** What frames a message: whoever writes the message writes these, and HTTP/2 knows most of them not at all. */
const framing: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers of a layer's reply that go out. */
export function sendableHeaders({ headers = [] }: LocalReply): readonly (readonly [string, string])[] {
  return headers.filter(([name]) => !framing.has(name.toLowerCase()));
}

/** Why a layer's reply cannot have its status. */
export function replyStatusFault({ httpStatus }: LocalReply): string | undefined {
  return Number.isInteger(httpStatus) && httpStatus >= 200 && httpStatus <= 599
    ? undefined
    : `status ${String(httpStatus)} is not one from 200 to 599`;
}
