import type { Metadata } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';
import { hopByHop, maxMetadataBytes, pairOverheadBytes } from './hop-by-hop.js';
import { entriesOf } from './seams.js';

/**
 * Makes metadata fit for a connection that other calls share: applications hand on what they were sent.
 *
 * @throws MeshError `INMESH_ERR_OVERFLOW`, RESOURCE_EXHAUSTED, if it is larger than a server takes.
 */
export function makeSendable(metadata: Metadata): void {
  let bytes = 0;
  let isHopByHop = false;
  for (const [name, values] of entriesOf(metadata)) {
    if (hopByHop.has(name)) isHopByHop = true;
    for (const value of values) bytes += name.length + value.length + pairOverheadBytes;
  }
  if (bytes > maxMetadataBytes)
    throw new MeshError(
      'INMESH_ERR_OVERFLOW',
      `the metadata of the call is ${bytes} bytes long; at most ${maxMetadataBytes} are sent`,
      { status: 'resource-exhausted', retry: 'never', stackless: true },
    );
  if (isHopByHop) for (const name of hopByHop) metadata.remove(name);
}
