import {
  InterceptingCall,
  type InterceptingListener,
  type Interceptor,
  type InterceptorOptions,
  type Listener,
  Metadata,
  type StatusObject,
} from '@grpc/grpc-js';
import {
  type Call,
  CallState,
  type ConnectionFacts,
  grpcStatusNumber,
  type Halt,
  type LiveStack,
  MeshError,
  type Plan,
  type PlanRun,
  statusFromGrpcNumber,
} from '@inmesh/core';
import { statusOfHalt } from './grpc-status.js';
import { MetadataHeaders } from './metadata-headers.js';

/** Where a call comes from, noted while its caller's context is there. */
export interface CallOrigin {
  /** Cluster it goes to; `undefined` if it is none of the mesh's. */
  readonly cluster: string | undefined;
  /** The inbound call in whose handler it is made. */
  readonly parent: Call | undefined;
}

/** Key under which {@link CallOrigin} travels in call options. */
export const originKey: unique symbol = Symbol('inmesh.origin');

const noConnection: ConnectionFacts = Object.freeze({
  peer: undefined,
  isEncrypted: false,
  remoteIp: '',
  remotePort: 0,
  localIp: '',
  localPort: 0,
  sni: '',
});

type StartNext = (metadata: Metadata, listener: Listener) => void;

/** One outbound RPC on its way through the layers. */
class ClientCall implements PlanRun {
  entered = 0;
  hasEnded = false;
  readonly #plan: Plan;
  readonly #call: CallState;
  readonly #metadata: Metadata;
  readonly #listener: InterceptingListener;
  readonly #next: StartNext;
  readonly #cancelWire: (code: number, details: string) => void;
  #isStarted = false;

  constructor(
    plan: Plan,
    origin: CallOrigin,
    path: string,
    metadata: Metadata,
    listener: InterceptingListener,
    next: StartNext,
    cancelWire: (code: number, details: string) => void,
  ) {
    this.#plan = plan;
    this.#metadata = metadata;
    this.#listener = listener;
    this.#next = next;
    this.#cancelWire = cancelWire;
    this.#call = new CallState({
      side: 'client',
      protocol: 'grpc',
      facts: { method: 'POST', path, authority: origin.cluster ?? '', connection: noConnection },
      headers: new MetadataHeaders(metadata),
      cluster: origin.cluster,
      parent: origin.parent,
      operation: path,
      onCancel: (reason) => this.#cancel(reason),
    });
  }

  begin(): void {
    this.#plan.begin(this, this.#call);
  }

  onPass(): void {
    // A layer may have cancelled the call and let it pass all the same.
    if (this.hasEnded) return;
    this.#isStarted = true;
    this.#next(this.#metadata, {
      onReceiveMetadata: (metadata, forward) => {
        if (this.#plan.watchesHead)
          this.#plan.head(this, this.#call, {
            httpStatus: 200,
            grpcStatus: undefined,
            headers: new MetadataHeaders(metadata),
          });
        forward(metadata);
      },
      onReceiveStatus: (status, forward) => {
        this.#end(status.code, false, undefined);
        forward(status);
      },
    });
  }

  onHalt(halt: Halt): void {
    const { code, message } = statusOfHalt(halt);
    const error = halt.kind === 'reject' ? halt.error : undefined;
    const metadata = new Metadata();
    const headers = new MetadataHeaders(metadata);
    for (const [name, value] of halt.reply?.headers ?? []) headers.append(name, value);
    if (this.#plan.watchesHead)
      this.#plan.head(this, this.#call, { httpStatus: 200, grpcStatus: statusFromGrpcNumber(code), headers });
    this.#end(code, true, error);
    this.#tell({ code, details: message || (error?.message ?? ''), metadata });
  }

  /** The caller left before anything was started. */
  onCancelled(): void {
    this.#end(grpcStatusNumber('cancelled'), false, undefined);
  }

  #cancel(reason: MeshError): void {
    if (this.#isStarted) this.#cancelWire(grpcStatusNumber(reason.status), reason.message);
    else {
      const code = grpcStatusNumber(reason.status);
      this.#end(code, true, reason);
      this.#tell({ code, details: reason.message, metadata: new Metadata() });
    }
  }

  /** grpc-js expects no status while a call is still being started. */
  #tell(status: StatusObject): void {
    process.nextTick(() => this.#listener.onReceiveStatus(status));
  }

  #end(code: number, isLocalReply: boolean, error: MeshError | undefined): void {
    if (this.hasEnded) return;
    const status = statusFromGrpcNumber(code);
    const failure =
      error ??
      (status === 'cancelled'
        ? new MeshError('INMESH_ERR_CANCELLED', 'the caller ended the call', { stackless: true })
        : undefined);
    this.#call.finish(failure);
    this.#plan.end(this, this.#call, { status, httpStatus: 200, error: failure, isLocalReply });
  }
}

/** Runs the layers of outbound calls. Costs nothing where a cluster has none. */
export function layersInterceptor(stack: LiveStack): Interceptor {
  return (options: InterceptorOptions, nextCall) => {
    const origin = (options as { readonly [originKey]?: CallOrigin })[originKey];
    // What is passed on unchanged needs no wrapper.
    if (origin?.cluster === undefined) return nextCall(options) as InterceptingCall;
    const plan = stack.plan({ side: 'client', cluster: origin.cluster });
    const wire = nextCall(options);
    if (plan.layers.length === 0) return wire as InterceptingCall;
    let call: ClientCall | undefined;
    return new InterceptingCall(wire, {
      start(metadata, listener, next) {
        call = new ClientCall(
          plan,
          origin,
          options.method_definition.path,
          metadata,
          listener,
          next,
          (code, details) => wire.cancelWithStatus(code, details),
        );
        call.begin();
      },
      cancel(next) {
        call?.onCancelled();
        next();
      },
    });
  };
}
