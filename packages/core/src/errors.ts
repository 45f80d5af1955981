import type { StatusCode } from './status.js';

/**
 * Did the call get to a handler? `no`: it never left this process. `refused`: the peer proved that no handler
 * ran. `maybe`: unknown.
 */
export type Reached = 'no' | 'refused' | 'maybe';

/** What a caller may do: try another endpoint, try again if the call is idempotent, or give up. */
export type RetryHint = 'elsewhere' | 'if-idempotent' | 'never';

/** What the error table says about one code. */
export interface ErrorSpec {
  /** Canonical status the code stands for. */
  readonly status: StatusCode;
  /** Did the call get to a handler? */
  readonly reached: Reached;
  /** What a caller may do. */
  readonly retry: RetryHint;
  /** One sentence: what happened. */
  readonly summary: string;
  /** One sentence: what to do about it. */
  readonly hint: string;
}

const local = { reached: 'no', retry: 'never' } as const;

/** Keeps the codes as a type, and checks the entries. */
function defineSpecs<C extends string>(
  specs: Readonly<Record<C, ErrorSpec>>,
): Readonly<Record<C, ErrorSpec>> {
  return Object.freeze(specs);
}

/** Every code Inmesh can throw. Codes are never renamed or reused. */
export const errorSpecs = defineSpecs({
  INMESH_ERR_ATTEMPT_TIMEOUT: {
    status: 'deadline-exceeded',
    reached: 'maybe',
    retry: 'if-idempotent',
    summary: 'One attempt took longer than the route allows for one.',
    hint: 'Look at the endpoint that the message names; raise the time per try if it is only slow.',
  },
  INMESH_ERR_AUTHZ_DENIED: {
    status: 'permission-denied',
    reached: 'refused',
    retry: 'never',
    summary: 'A policy denied the call.',
    hint: 'The log of the process that denied names the rule that did, or the ALLOW policies of which none matches; add an ALLOW rule for this caller or drop the DENY.',
  },
  INMESH_ERR_BAD_REPLY: {
    status: 'unavailable',
    reached: 'maybe',
    retry: 'if-idempotent',
    summary: 'The endpoint answered with something that is not the protocol that was spoken to it.',
    hint: 'Is it the port of the service, and does it speak HTTP/1.1, or gRPC where that was spoken?',
  },
  INMESH_ERR_BODY_FAILED: {
    status: 'cancelled',
    reached: 'maybe',
    retry: 'never',
    summary: 'The body of the request failed while it was read.',
    hint: 'The cause is the error that the body threw.',
  },
  INMESH_ERR_CANCELLED: {
    status: 'cancelled',
    reached: 'maybe',
    retry: 'never',
    summary: 'The caller gave up before the call ended.',
    hint: 'Nothing to mend, unless the caller did not mean to leave.',
  },
  INMESH_ERR_CERTIFICATE_INVALID: {
    status: 'unauthenticated',
    ...local,
    summary: 'A certificate is malformed or breaks a rule of X509-SVID.',
    hint: 'Issue it again; the message names the rule and the place.',
  },
  INMESH_ERR_CLOSED: {
    status: 'unavailable',
    reached: 'no',
    retry: 'elsewhere',
    summary: 'The mesh, the listener or the client was closed already.',
    hint: 'Do not use it after close().',
  },
  INMESH_ERR_CONFIG_INVALID: {
    status: 'invalid-argument',
    ...local,
    summary: 'A setting has a value that is not allowed.',
    hint: 'The message names the setting, the value and what is allowed.',
  },
  INMESH_ERR_CONFIG_UNKNOWN: {
    status: 'invalid-argument',
    ...local,
    summary: 'A setting does not exist.',
    hint: 'The message names the nearest setting that does.',
  },
  INMESH_ERR_CONFIG_UNREADABLE: {
    status: 'failed-precondition',
    ...local,
    summary: 'The configuration file or directory cannot be read.',
    hint: 'Check INMESH_CONFIG and its permissions.',
  },
  INMESH_ERR_CONFIG_UNSUPPORTED: {
    status: 'unimplemented',
    ...local,
    summary: 'A manifest uses a field or a kind that this version does not enforce.',
    hint: 'Remove the field; Inmesh never ignores one. `docs/reference/manifests.md` says which are in force.',
  },
  INMESH_ERR_CONNECTION_LIMIT: {
    status: 'resource-exhausted',
    reached: 'no',
    retry: 'elsewhere',
    summary: 'A limit on connections or handshakes was reached.',
    hint: 'Raise the limit, or find out who opens so many.',
  },
  INMESH_ERR_CONNECTION_LOST: {
    status: 'unavailable',
    reached: 'maybe',
    retry: 'if-idempotent',
    summary: 'The connection broke after the request was sent and before the reply ended.',
    hint: 'Look at the peer; only an idempotent call may be sent again.',
  },
  INMESH_ERR_CONNECT_FAILED: {
    status: 'unavailable',
    reached: 'no',
    retry: 'elsewhere',
    summary: 'No connection to the endpoint could be opened.',
    hint: 'Is the peer running, and is its address right?',
  },
  INMESH_ERR_CONNECT_TIMEOUT: {
    status: 'unavailable',
    reached: 'no',
    retry: 'elsewhere',
    summary: 'The connection or its TLS handshake took too long.',
    hint: 'Is the peer overloaded, or is a firewall dropping packets?',
  },
  INMESH_ERR_DEADLINE_EXCEEDED: {
    status: 'deadline-exceeded',
    reached: 'maybe',
    retry: 'never',
    summary: 'The call ran out of time.',
    hint: 'Give it more time, or make the callee faster.',
  },
  INMESH_ERR_DEV_CA_REFUSED: {
    status: 'failed-precondition',
    ...local,
    summary: 'The embedded dev CA refuses to run in production.',
    hint: 'Configure INMESH_CERT_FILE, INMESH_KEY_FILE and INMESH_CA_FILE, or set INMESH_IDENTITY=dev if you mean it.',
  },
  INMESH_ERR_DEV_CA_UNSAFE: {
    status: 'failed-precondition',
    ...local,
    summary: 'The directory or file of the dev CA has the wrong owner or mode.',
    hint: 'Remove it, or give it to this user with mode 0700 (directory) and 0600 (key).',
  },
  INMESH_ERR_GRPC_CHANNEL: {
    status: 'failed-precondition',
    ...local,
    summary: 'A mesh:/// channel was made without the options of its mesh, or with options that do not fit.',
    hint: 'Pass mesh.grpc.credentials() and mesh.grpc.channelOptions() to the client.',
  },
  INMESH_ERR_GRPC_SERVER: {
    status: 'failed-precondition',
    ...local,
    summary: 'A grpc-js server cannot be attached.',
    hint: 'Add services before addGrpc(), attach a server once, and use a supported grpc-js.',
  },
  INMESH_ERR_HEAD_TIMEOUT: {
    status: 'deadline-exceeded',
    reached: 'maybe',
    retry: 'never',
    summary: 'No reply began in the time that the route allows, over all attempts.',
    hint: 'Make the service faster, or raise INMESH_TIMEOUT.',
  },
  INMESH_ERR_HTTP_BAD_REQUEST: {
    status: 'invalid-argument',
    reached: 'refused',
    retry: 'never',
    summary: 'A request is ambiguous or malformed, so it was refused before any policy or handler.',
    hint: 'Send one Host, one Authorization, an origin-form target without escaped slashes.',
  },
  INMESH_ERR_HTTP_PROTOCOL: {
    status: 'unimplemented',
    reached: 'refused',
    retry: 'never',
    summary: 'The protocol of the request is not served on this listener.',
    hint: 'Use HTTP/1.1, or opt in to HTTP/2 where the framework supports it.',
  },
  INMESH_ERR_IDENTITY_FILES: {
    status: 'unauthenticated',
    ...local,
    summary: 'The certificate, key and trust bundle files are unreadable or do not fit together.',
    hint: 'The message names the file and the reason.',
  },
  INMESH_ERR_IDENTITY_GONE: {
    status: 'unauthenticated',
    ...local,
    summary: 'This workload has no usable identity: expired, withdrawn or not there yet.',
    hint: 'Look at the identity source: `inmesh identity show`.',
  },
  INMESH_ERR_IDENTITY_TIMEOUT: {
    status: 'unauthenticated',
    ...local,
    summary: 'No identity arrived in time at start.',
    hint: 'Look at the identity source, or raise INMESH_STARTUP_TIMEOUT.',
  },
  INMESH_ERR_INTERNAL: {
    status: 'internal',
    reached: 'maybe',
    retry: 'never',
    summary: 'A fault inside Inmesh.',
    hint: 'Please report it with the message and the stack.',
  },
  INMESH_ERR_LAYER_ORDER: {
    status: 'invalid-argument',
    ...local,
    summary: 'A layer stands where its constraints forbid it.',
    hint: 'The message names both layers and the reason.',
  },
  INMESH_ERR_LAYER_THREW: {
    status: 'internal',
    reached: 'no',
    retry: 'never',
    summary: 'A layer threw instead of deciding.',
    hint: 'Mend the layer; the cause is attached.',
  },
  INMESH_ERR_NO_ENDPOINT: {
    status: 'unavailable',
    reached: 'no',
    retry: 'never',
    summary: 'The cluster has no endpoint.',
    hint: 'Configure INMESH_UPSTREAM_<NAME>.',
  },
  INMESH_ERR_NO_ROUTE: {
    status: 'not-found',
    ...local,
    summary: 'The name has routes, and none of them matches the call.',
    hint: 'Add a route without conditions as the last one.',
  },
  INMESH_ERR_OVERFLOW: {
    status: 'unavailable',
    reached: 'no',
    retry: 'never',
    summary: 'A limit of the cluster was reached; the call was not sent.',
    hint: 'Send less at once, or raise the limit that the message names.',
  },
  INMESH_ERR_PEER_IDENTITY: {
    status: 'unauthenticated',
    reached: 'no',
    retry: 'elsewhere',
    summary: 'The peer proved another identity than the one expected, or none.',
    hint: 'The message names both; set INMESH_UPSTREAM_<NAME>_IDENTITY if the peer is right.',
  },
  INMESH_ERR_PEER_REFUSED: {
    status: 'unavailable',
    reached: 'no',
    retry: 'if-idempotent',
    summary:
      'The peer refused the connection, probably because of our identity, or the call before a handler ran.',
    hint: 'Look at the log of the peer.',
  },
  INMESH_ERR_POLICY_INVALID: {
    status: 'invalid-argument',
    ...local,
    summary: 'A policy is wrong; the whole set was rejected and the last good one stays.',
    hint: 'The message names file, line, column and the mistake.',
  },
  INMESH_ERR_POLICY_UNREADABLE: {
    status: 'failed-precondition',
    ...local,
    summary: 'The policy directory or a file in it cannot be read.',
    hint: 'Check INMESH_POLICY_DIR and its permissions.',
  },
  INMESH_ERR_POLICY_UNSUPPORTED: {
    status: 'unimplemented',
    ...local,
    summary: 'A policy uses a field that this version does not enforce.',
    hint: 'Remove the field; Inmesh never ignores one.',
  },
  INMESH_ERR_SPIFFE_ID_INVALID: {
    status: 'invalid-argument',
    ...local,
    summary: 'A text is not a SPIFFE ID.',
    hint: 'Write spiffe://<trust domain>/<path>, for example spiffe://dev.local/ns/default/sa/web.',
  },
});

/** A stable error code; see `docs/reference/errors.md`. */
export type MeshErrorCode = keyof typeof errorSpecs;

/** What differs from the table for one error. */
export interface MeshErrorOptions {
  /** The error underneath. */
  readonly cause?: unknown;
  /** Overrides {@link ErrorSpec.status}. */
  readonly status?: StatusCode;
  /** Overrides {@link ErrorSpec.reached}. */
  readonly reached?: Reached;
  /** Overrides {@link ErrorSpec.retry}. */
  readonly retry?: RetryHint;
  /** Facts for logs: addresses, names, limits. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Skips the stack, which costs 4 µs; for errors that overload produces by the thousand. */
  readonly stackless?: boolean;
}

const brand = Symbol.for('inmesh.error');

/**
 * The one error class of Inmesh. Match on {@link MeshError.code}, never on the message; test with
 * {@link isMeshError}, never with `instanceof`.
 */
export class MeshError extends Error {
  /** What went wrong; stable across releases. */
  readonly code: MeshErrorCode;
  /** Canonical status. */
  readonly status: StatusCode;
  /** Did the call get to a handler? */
  readonly reached: Reached;
  /** What the caller may do. */
  readonly retry: RetryHint;
  /** Facts for logs. */
  readonly details: Readonly<Record<string, unknown>>;

  /**
   * @param code - A code of the table.
   * @param message - Lower case: what failed, to whom, the limit and the measured value.
   * @param options - What differs from the table.
   */
  constructor(code: MeshErrorCode, message: string, options: MeshErrorOptions = {}) {
    const limit = Error.stackTraceLimit;
    if (options.stackless) Error.stackTraceLimit = 0;
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    if (options.stackless) Error.stackTraceLimit = limit;
    const spec = errorSpecs[code];
    this.name = 'MeshError';
    this.code = code;
    this.status = options.status ?? spec.status;
    this.reached = options.reached ?? spec.reached;
    this.retry = options.retry ?? spec.retry;
    this.details = options.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }
}

/** Whether a text is the code of an error of ours. */
export function isMeshErrorCode(text: string): text is MeshErrorCode {
  return Object.hasOwn(errorSpecs, text);
}

/** Whether `value` is a {@link MeshError}, also one of another installed copy of Inmesh. */
export function isMeshError(value: unknown): value is MeshError {
  return typeof value === 'object' && value !== null && brand in value;
}
