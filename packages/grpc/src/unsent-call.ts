import type { SubchannelCall } from './seams.js';

const nothing = (): void => {};

/**
 * Stands for the call of an attempt that cannot be sent: grpc-js wants one to hand messages to until it is told the
 * status.
 */
export function createUnsentCall(address: string, callNumber: number): SubchannelCall {
  return {
    cancelWithStatus: nothing,
    getPeer: () => address,
    sendMessageWithContext: nothing,
    startRead: nothing,
    halfClose: nothing,
    getCallNumber: () => callNumber,
    getDeadlineInfo: () => [],
    getAuthContext: () => ({}),
  };
}
