/**
 * What belongs to a connection of HTTP/1.1, or counts a body that gRPC does not have. node:http2 refuses them: grpc-js
 * gives up the connection of all calls for one in a request, and the process ends for one in trailers. RFC 9113 §8.2.2.
 */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Metadata of one message at most, in bytes: node:http2 gives up the connection beyond 64 KiB. */
export const maxMetadataBytes = 61_440;
/** Counted for each pair, beside its name and value; more than HPACK adds. RFC 9113 §6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE. */
export const pairOverheadBytes = 32;
