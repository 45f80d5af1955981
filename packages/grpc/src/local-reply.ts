import { type Halt, type LocalReply, MeshError, replyStatusFault } from '@inmesh/core';

const legalName = /^[0-9a-z_.-]+$/i;
const legalValue = /^[\x20-\x7e]*$/;

/**
 * Why a header cannot be sent: gRPC carries less than HTTP does, and a line break would begin another header.
 *
 * @see {@link https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests | gRPC over HTTP/2, Custom-Metadata}
 */
export function headerFault(name: unknown, value: unknown): string | undefined {
  if (typeof name !== 'string' || !legalName.test(name)) return `"${String(name)}" is no name of a header`;
  if (typeof value !== 'string' || !legalValue.test(value)) return `the value of ${name} is not ASCII text`;
  return undefined;
}

/** Why a reply of a layer cannot be sent. */
function faultOf(halt: Halt): string | undefined {
  const reply: LocalReply = halt.reply ?? { httpStatus: 200 };
  const { grpcMessage, headers = [] } = reply;
  const statusFault = replyStatusFault(reply);
  if (statusFault !== undefined) return statusFault;
  if (grpcMessage !== undefined && typeof grpcMessage !== 'string') return 'the message is not text';
  try {
    for (const [name, value] of headers) {
      const fault = headerFault(name, value);
      if (fault !== undefined) return fault;
    }
  } catch {
    return 'its headers are no list of pairs';
  }
  return undefined;
}

/** A reply that cannot be sent is a fault of the layer that made it; anything else stays as it is. */
export function checkedHalt(halt: Halt): Halt {
  const fault = halt.reply === undefined ? undefined : faultOf(halt);
  if (fault === undefined) return halt;
  const error = new MeshError('INMESH_ERR_LAYER_THREW', `the reply of a layer cannot be sent: ${fault}`);
  return { kind: 'reject', error };
}
