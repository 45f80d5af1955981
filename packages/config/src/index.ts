export { parseAllow } from './allow.js';
export type { Kind } from './kinds.js';
export { nearest } from './nearest.js';
export {
  type ConfigSources,
  type MeshSettings,
  type Provenance,
  type ResolvedConfig,
  resolveConfig,
  type UpstreamOptions,
} from './resolve.js';
export {
  type MeshConfig,
  renderSettingsMarkdown,
  type Setting,
  type SettingKey,
  type SpecialVariable,
  settings,
  specialVariables,
} from './settings.js';
export type { OwnScope } from './upstreams.js';
