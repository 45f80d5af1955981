import type { CallProperties, StatusObject } from '@grpc/grpc-js';
import { markStatus } from './call-status.js';

type Channel = CallProperties<unknown, unknown>['channel'];
type Start = ReturnType<Channel['createCall']>['start'];

/** What grpc-js says of a call whose time ran out before its name was known. */
const unresolved = /^Deadline exceeded after .*(?:waiting for name resolution|Waiting for LB pick)$/;

function mark(status: StatusObject): void {
  if (status.code !== 4 || !unresolved.test(status.details)) return;
  markStatus(status, 'INMESH_ERR_DEADLINE_EXCEEDED');
  status.details = `INMESH_ERR_DEADLINE_EXCEEDED: ${status.details}`;
}

/**
 * A channel for one call that waits until its name is configured. Up to then grpc-js uses a selector of its own, which
 * gives the call no filter of ours, so its status is marked where it leaves the channel. An interceptor would be simpler, and
 * would take the place of those that the client was made with.
 */
export function waitingChannel(channel: Channel): Channel {
  const waiting = Object.create(channel) as Channel;
  const createCall: Channel['createCall'] = (...args) => {
    const call = channel.createCall(...args);
    const start: Start = call.start.bind(call);
    const startMarked: Start = (metadata, listener) => {
      const marking: Parameters<Start>[1] = {
        onReceiveMetadata: (head) => listener.onReceiveMetadata(head),
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveStatus: (status) => {
          mark(status);
          listener.onReceiveStatus(status);
        },
      };
      start(metadata, marking);
    };
    call.start = startMarked;
    return call;
  };
  waiting.createCall = createCall;
  return waiting;
}
