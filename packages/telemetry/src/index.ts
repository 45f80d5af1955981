export { type AccessDecision, type AttemptRecord, accessFields, type CallRecord } from './call-record.js';
export { CallRecords, type CallRecordsOptions } from './call-records.js';
export { ConnectionMetrics, type CountedConnection } from './connection-metrics.js';
export { type EdgeCall, Edges, type EdgesOptions } from './edges.js';
export { explain } from './explain.js';
export {
  contentTypes,
  type ExpositionFormat,
  formatFor,
  renderInSlices,
  renderMetrics,
} from './exposition.js';
export {
  type CollectedFamily,
  Family,
  MetricStore,
  type MetricStoreOptions,
  overflowValue,
  type Sample,
} from './metric-store.js';
export { NodeMetrics } from './node-metrics.js';
export { PeerIntroductions } from './peer-introductions.js';
export { type PromRegistry, registerWith } from './prom-registry.js';
export { type CalledService, type Edge, type Party, requestLabels } from './request-labels.js';
export { istioBounds, RequestMetrics, type RequestMetricsOptions } from './request-metrics.js';
export { type ErrorFlag, type ResponseFlag, responseFlag } from './response-flags.js';
export { CounterSeries, type Exemplar, type FamilyOptions, HistogramSeries, Series } from './series.js';
export { tracing } from './trace/client-trace.js';
export { recordedTraceOf, serverTrace, TracedContext } from './trace/server-trace.js';
