export { parseAllow } from './allow.js';
export {
  type CheckedEndpoints,
  type CheckedEndpointsOptions,
  createCheckedEndpoints,
} from './checked-endpoints.js';
export type { OwnScope } from './cluster-names.js';
export type {
  ConfigFile,
  FileMode,
  FileRoutes,
  FileScope,
  FileTraffic,
  FileUpstream,
  FileValue,
} from './config-file.js';
export type {
  ConfigSources,
  MeshSettings,
  Origins,
  Provenance,
  ResolvedConfig,
} from './config-sources.js';
export {
  type DnsSpec,
  type EndpointSpec,
  type SrvSpec,
  type StaticSpec,
  staticEndpoints,
} from './endpoint-spec.js';
export type { AccessLog, Kind, ListenAddress } from './kinds.js';
export { type Diagnostic, renderDiagnostic } from './manifest/diagnostic.js';
export type { MeshConfig } from './mesh-config.js';
export { nearest } from './nearest.js';
export { joinProblems } from './problems.js';
export { renderSettingsMarkdown, type SpecialVariable, specialVariables } from './reference.js';
export { resolveConfig } from './resolve.js';
export type { RouteInput } from './route-input.js';
export type { Off, Part, RulesInput } from './rules-input.js';
export type { Setting, SettingKey } from './setting.js';
export { settings } from './settings.js';
export {
  type Check,
  callable,
  isPlainObject,
  listOf,
  objectOf,
  recordOf,
  text,
  truth,
  value,
  word,
} from './shape.js';
export {
  printEndpoints,
  type Upstream,
  type UpstreamEndpoints,
  type UpstreamInput,
  type UpstreamOptions,
} from './upstream.js';
