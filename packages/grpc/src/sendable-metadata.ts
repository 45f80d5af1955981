import type { Metadata } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';
import { hopByHop, maxMetadataBytes, pairOverheadBytes } from './hop-by-hop.js';
import { entriesOf, maxHeaderListPairs } from './seams.js';

/** What grpc-js adds: four pseudo headers, `te`, `content-type` and `user-agent`. */
const addedPairs = 7;
/** Their names and values without path and authority, rounded up, with a `user-agent` of its own before that of grpc-js. */
const addedBytes = 1024;

function sizeOf(value: string | Buffer): number {
  // Binary values go as base64.
  return typeof value === 'string' ? value.length : 4 * Math.ceil(value.length / 3);
}

/**
 * Makes the metadata of an attempt fit for a connection that other calls share: applications hand on what they were
 * sent.
 *
 * @param metadata - All that is sent; changed in place.
 * @returns `INMESH_ERR_OVERFLOW`, RESOURCE_EXHAUSTED, if it is more than a server takes.
 */
export function makeSendable(metadata: Metadata, authority: string, path: string): MeshError | undefined {
  let bytes = addedBytes + authority.length + path.length;
  let pairs = addedPairs;
  let isHopByHop = false;
  for (const [name, values] of entriesOf(metadata)) {
    if (hopByHop.has(name)) isHopByHop = true;
    pairs += values.length;
    for (const value of values) bytes += name.length + sizeOf(value) + pairOverheadBytes;
  }
  if (isHopByHop) for (const name of hopByHop) metadata.remove(name);
  if (bytes > maxMetadataBytes)
    return overflow(`is ${bytes} bytes long; at most ${maxMetadataBytes} are sent`);
  if (pairs > maxHeaderListPairs)
    return overflow(`has ${pairs} pairs; at most ${maxHeaderListPairs} are sent`);
  return undefined;
}

function overflow(what: string): MeshError {
  return new MeshError('INMESH_ERR_OVERFLOW', `the metadata of the call ${what}`, {
    status: 'resource-exhausted',
    retry: 'never',
    stackless: true,
  });
}
