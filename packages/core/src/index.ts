export {
  type AttemptNote,
  type AttemptNotes,
  type NoRetryReason,
  noRetryReasons,
  type RetryReason,
  retryReasons,
} from './attempt-notes.js';
export {
  type Call,
  type CallEnd,
  type ContextKey,
  contextKey,
  type MessageCounts,
  type Protocol,
  type RefusedCall,
  type ReplyHead,
  type RequestFacts,
  type Side,
} from './call.js';
export { CallContext } from './call-context.js';
export { type CallInit, CallState } from './call-state.js';
export {
  type ErrorSpec,
  errorSpecs,
  isMeshError,
  isMeshErrorCode,
  MeshError,
  type MeshErrorCode,
  type MeshErrorOptions,
  type Reached,
  type RetryHint,
} from './errors.js';
export { harmlessLogger } from './harmless-logger.js';
export { FlatHeaders, type Headers } from './headers.js';
export {
  askedWhy,
  type CleanHost,
  type CleanIntroduction,
  cleanAuthority,
  cleanHeaders,
  explainHeader,
  type Fault,
  isRemovedHeader,
} from './hygiene.js';
export { createIntroduction, type Introduction, type PeerMetadata } from './introduction.js';
export type { Halt, Layer, LocalAnswer, LocalReply, Phases, Rejection, Target, Verdict } from './layer.js';
export { linkSignal } from './link-signal.js';
export { type LiveCall, LiveCalls } from './live-calls.js';
export { replyStatusFault, sendableHeaders } from './local-reply.js';
export { type LogFields, type Logger, silentLogger } from './logger.js';
export { assertStrictHttpParser, hasNodeFlag } from './node-flags.js';
export { type ConnectionFacts, type PeerIdentity, plainIp, unknownConnection } from './peer.js';
export {
  type IntroductionLine,
  type Introductions,
  peerMetadataHeader,
  peerMetadataIdHeader,
} from './peer-metadata.js';
export { checkOrder, compile, insertLayers, type LayerFault, type Plan, type PlanRun } from './plan.js';
export type {
  AuthorizationPolicy,
  Origin,
  PolicyAction,
  PolicyCondition,
  PolicyOperation,
  PolicyRule,
  PolicySource,
} from './policy.js';
export { type Refusal, tellRefused } from './refusal.js';
export { defaultRetryConditions, parseRetryOn, type RetryOn, retryConditions } from './retry-on.js';
export { createTimer, type Runtime, sleepOn, type Timer } from './runtime.js';
export {
  type Cluster,
  type Endpoint,
  findName,
  type MtlsMode,
  meshName,
  type Snapshot,
  type Workload,
} from './snapshot.js';
export { parseSpiffeId, parseTrustDomain, type SpiffeId, workloadSpiffeId } from './spiffe-id.js';
export { createStack, type LiveStack, type Stack, StackHolder } from './stack.js';
export {
  grpcStatusNumber,
  httpStatusOf,
  type StatusCode,
  statusFromGrpcNumber,
  statusFromHttp,
} from './status.js';
export { systemRuntime } from './system-runtime.js';
export { TimerWheel } from './timer-wheel.js';
export type { AttemptEnd, AttemptTrace, CallTrace, Tracing } from './tracing.js';
export type {
  AttemptReply,
  Backoff,
  BackoffRules,
  BalancerName,
  Classifier,
  ClusterLimits,
  ClusterRules,
  DirectAction,
  ForwardAction,
  HeaderEdits,
  HeaderMatch,
  OutlierRules,
  PathMatch,
  QueryMatch,
  RedirectAction,
  ReplyClass,
  RetryBudgetRules,
  RetryConcurrencyRules,
  RetryCondition,
  RetryRules,
  Rewrite,
  Route,
  RouteAction,
  RouteBackend,
  RouteMatch,
  RouteRules,
  SlowStartRules,
  TextMatch,
} from './traffic.js';
export {
  type Watch,
  type WatchGone,
  type WatchListener,
  type WatchPending,
  type WatchReady,
  WatchSource,
  type WatchState,
} from './watch.js';
