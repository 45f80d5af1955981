import type { Layer, Runtime } from '@inmesh/core';
import { deadline, retryGuard } from '@inmesh/resilience';
import { serverTrace } from '@inmesh/telemetry';

/**
 * The layers of inbound calls, outermost first; `inbound` of the user's come where their constraints allow. Every
 * layer says why it stands where it stands, and a test holds the order to that.
 *
 * @param metrics - Counts calls.
 * @param authorize - Decides who may call.
 */
export function inboundLayers(metrics: Layer, authorize: Layer, runtime: Runtime): readonly Layer[] {
  return [serverTrace(), metrics, authorize, retryGuard(), deadline(runtime)];
}
