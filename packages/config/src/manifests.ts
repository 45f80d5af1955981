import { MeshError } from '@inmesh/core';
import type { ConfigFile } from './config-file.js';
import { readManifests } from './manifest/manifest-set.js';
import { type Files, readFiles } from './watched-files.js';

export { readManifests } from './manifest/manifest-set.js';
export { renderManifestsMarkdown } from './manifest/reference.js';
export { manifestSchema } from './manifest/schema.js';
export {
  type Files,
  readFiles,
  type WatchedFiles,
  type WatchedFilesOptions,
  watchFiles,
} from './watched-files.js';

/** Files of a configuration, and what they say. */
export interface LoadedConfig {
  /** Texts. */
  readonly files: Files;
  /** What they say. */
  readonly file: ConfigFile;
}

/**
 * Makes a configuration of texts.
 *
 * @param path - Where they were read.
 * @throws MeshError `INMESH_ERR_CONFIG_UNREADABLE` if there are none
 */
export function configOf(files: Files, path: string): ConfigFile {
  if (files.size > 0) return readManifests(files);
  throw new MeshError(
    'INMESH_ERR_CONFIG_UNREADABLE',
    `the configuration directory ${path} holds no file (*.yaml, *.yml, *.json)`,
  );
}

/**
 * Reads a configuration file, or a directory of them. What is wrong in it is in its `mistakes`.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_UNREADABLE`
 */
export async function loadConfig(path: string): Promise<LoadedConfig> {
  let files: Files;
  try {
    files = await readFiles(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MeshError(
      'INMESH_ERR_CONFIG_UNREADABLE',
      `the configuration ${path} cannot be read: ${reason}`,
      {
        cause: error,
      },
    );
  }
  return { files, file: configOf(files, path) };
}
