import type { Metadata } from '@grpc/grpc-js';
import { MeshError } from '@inmesh/core';
import { entriesOf } from './seams.js';

/**
 * What belongs to a connection of HTTP/1.1, or counts a body that gRPC does not have. node:http2 refuses them, and
 * grpc-js gives up the connection of all calls for it. RFC 9113 §8.2.2.
 */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Metadata of one call at most, in bytes: a server of node:http2 gives up the connection beyond 64 KiB. */
const maxMetadataBytes = 61_440;
/** Counted for each, beside its name and value. RFC 9113 §6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE. */
const overheadBytes = 32;

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
    for (const value of values) bytes += name.length + value.length + overheadBytes;
  }
  if (bytes > maxMetadataBytes)
    throw new MeshError(
      'INMESH_ERR_OVERFLOW',
      `the metadata of the call is ${bytes} bytes long; at most ${maxMetadataBytes} are sent`,
      { status: 'resource-exhausted', retry: 'never', stackless: true },
    );
  if (isHopByHop) for (const name of hopByHop) metadata.remove(name);
}
