import { Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  grpcStatusNumber,
  type Halt,
  isMeshError,
  isMeshErrorCode,
  MeshError,
  type MeshErrorCode,
} from '@inmesh/core';
import { statusOfHalt } from './grpc-status.js';
import { checkedHalt } from './local-reply.js';

/** Metadata key under which the status of a failure that Inmesh made carries its code. */
export const errorKey = 'inmesh-error';

/** Says in a status which error of ours it is. */
export function markStatus(status: StatusObject, code: MeshErrorCode): void {
  status.metadata.set(errorKey, code);
}

/** The code that a status was marked with; `undefined` for what a server answered. */
export function errorCodeOf({
  code,
  metadata,
}: Pick<StatusObject, 'code' | 'metadata'>): MeshErrorCode | undefined {
  const mark = code === 0 ? undefined : metadata.get(errorKey)[0];
  return typeof mark === 'string' && isMeshErrorCode(mark) ? mark : undefined;
}

/** The error of ours that a status was marked with; `undefined` for what a server answered. */
export function errorOf(status: StatusObject): MeshError | undefined {
  const code = errorCodeOf(status);
  return code === undefined ? undefined : new MeshError(code, status.details, { stackless: true });
}

/** Text of an error for `details`: grpc-js shows no other part of a status in its messages. */
export function detailsOf(error: MeshError): string {
  return `${error.code}: ${error.message}`;
}

/**
 * The status that an error becomes; the code stands in its metadata and in its details.
 *
 * @param number - Status in place of the error's own.
 */
export function statusOfError(error: MeshError, number?: number): StatusObject {
  const status = {
    code: number ?? grpcStatusNumber(error.status),
    details: detailsOf(error),
    metadata: new Metadata(),
  };
  markStatus(status, error.code);
  return status;
}

/** The status that a layer's or a route's own answer becomes. */
export function statusOfAnswer(given: Halt): StatusObject {
  const halt = checkedHalt(given);
  const { code, message } = statusOfHalt(halt);
  const metadata = new Metadata();
  for (const [name, value] of halt.reply?.headers ?? []) {
    const isBinary = name.toLowerCase().endsWith('-bin');
    metadata.add(name, isBinary ? Buffer.from(value, 'base64') : value);
  }
  const status = { code, details: message, metadata };
  if (halt.kind === 'reject') {
    if (message === '') status.details = detailsOf(halt.error);
    markStatus(status, halt.error.code);
  }
  return status;
}

/** Whatever was thrown, as an error of ours. */
export function toMeshError(thrown: unknown): MeshError {
  if (isMeshError(thrown)) return thrown;
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new MeshError('INMESH_ERR_INTERNAL', `the call could not be routed: ${text}`, { cause: thrown });
}
