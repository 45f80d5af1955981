import type { Metadata } from '@grpc/grpc-js';
import type { HeaderEdits } from '@inmesh/core';
import { editHeaders } from '@inmesh/resilience';
import { MetadataHeaders } from './metadata-headers.js';

/** Applies a route's changes of headers to metadata. */
export function editMetadata(metadata: Metadata, edits: readonly HeaderEdits[]): void {
  if (edits.length > 0) editHeaders(new MetadataHeaders(metadata), edits);
}
