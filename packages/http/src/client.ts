export {
  type BypassKind,
  createHttpClient,
  type HttpClient,
  type HttpClientOptions,
  type HttpClientStats,
} from './http-client.js';
