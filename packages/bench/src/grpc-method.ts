import type { MethodDefinition } from '@grpc/grpc-js';

const toBuffer = (text: string): Buffer => Buffer.from(text);
const toText = (bytes: Buffer): string => bytes.toString();

/** A unary method without generated code. */
export const unary: MethodDefinition<string, string> = {
  path: '/bench.Bench/Get',
  requestStream: false,
  responseStream: false,
  requestSerialize: toBuffer,
  requestDeserialize: toText,
  responseSerialize: toBuffer,
  responseDeserialize: toText,
};
