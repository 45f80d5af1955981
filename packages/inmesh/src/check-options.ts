import { types } from 'node:util';
import {
  type Check,
  type ConfigFile,
  callable,
  isPlainObject,
  joinProblems,
  listOf,
  type MeshSettings,
  objectOf,
  type ResolvedConfig,
  recordOf,
  resolveConfig,
  text,
  truth,
  value,
  word,
} from '@inmesh/config';
import {
  isMeshError,
  type Layer,
  type Logger,
  MeshError,
  type MeshErrorCode,
  type Runtime,
} from '@inmesh/core';
import type { StaticIdentity } from '@inmesh/identity';
import type { MeshOptions, ServeOptions, UserLayers } from './mesh-contract.js';

function isInstance(given: unknown): given is Readonly<Record<string, unknown>> {
  return (
    (typeof given === 'object' && given !== null && !Array.isArray(given)) || typeof given === 'function'
  );
}

/** Somebody's object with these methods, of whatever class. */
function having<T>(methods: Readonly<Record<keyof T, true>>): Check {
  return (given, where, problems) => {
    const missing = Object.keys(methods).filter(
      (name) => !isInstance(given) || typeof given[name] !== 'function',
    );
    if (missing.length > 0)
      problems.push(`${where} has no function ${missing.map((name) => `"${name}"`).join(', ')}`);
  };
}

const roles = text('a name', /^\S+$/);
const layerFields: { readonly [K in keyof Layer]-?: Check } = {
  role: roles,
  scope: word('call', 'attempt'),
  why: text('text', /^/),
  before: listOf(roles),
  after: listOf(roles),
  bind: callable,
};
const plainLayer = objectOf<Layer>(layerFields, ['role', 'scope', 'why', 'bind']);

/** A layer; one that is an instance of a class may have more than a layer has. */
const layer: Check = (given, where, problems) => {
  const isOfClass = isInstance(given) && typeof given !== 'function' && !isPlainObject(given);
  const seen = isOfClass
    ? Object.fromEntries(Object.keys(layerFields).map((key) => [key, given[key]]))
    : given;
  plainLayer(seen, where, problems);
};

/** PEM; never shown, it may be a key. */
const pem: Check = (given, where, problems) => {
  if (typeof given !== 'string' || !given.includes('-----BEGIN ')) problems.push(`${where} must be PEM text`);
};

const bundles: Check = (given, where, problems) => {
  if (!types.isMap(given) || given.size === 0) {
    problems.push(`${where} must be a Map of PEM texts by trust domain`);
    return;
  }
  for (const [name, one] of given as ReadonlyMap<unknown, unknown>) {
    if (typeof name !== 'string') problems.push(`${where} has a name that is no text`);
    else pem(one, `${where}[${JSON.stringify(name)}]`, problems);
  }
};

const identityFields = objectOf<StaticIdentity>({ certPem: pem, keyPem: pem, bundles }, [
  'certPem',
  'keyPem',
  'bundles',
]);

const svid: Check = (given, where, problems) => {
  if (isPlainObject(given)) identityFields(given, where, problems);
  else problems.push(`${where} must be an object with certPem, keyPem and bundles`);
};

/** Values are never shown: tokens are among them. */
const env: Check = (given, where, problems) => {
  if (!isInstance(given) || typeof given === 'function') {
    problems.push(`${where} must be an object of text by name`);
    return;
  }
  for (const [name, one] of Object.entries(given))
    if (one !== undefined && typeof one !== 'string') problems.push(`${where}.${name} must be text`);
};

const policies: Check = (given, where, problems) => {
  if (Array.isArray(given))
    listOf(value('an AuthorizationPolicy object', isPlainObject))(given, where, problems);
  else value('an array of AuthorizationPolicy objects', () => false)(given, where, problems);
};

/** What is no setting: {@link resolveConfig} knows those. */
type CodeOnly = Exclude<keyof MeshOptions, keyof MeshSettings>;

/** A key of {@link MeshOptions} that is missing here does not compile. */
const codeOnly = {
  env,
  cwd: value('a path', (given) => typeof given === 'string' && given !== ''),
  svid,
  policies,
  layers: objectOf<UserLayers>({ inbound: listOf(layer), outbound: listOf(layer) }),
  balancers: recordOf(callable),
  logger: having<Logger>({ debug: true, info: true, warn: true, error: true }),
  runtime: having<Omit<Runtime, 'hold' | 'release'>>({
    now: true,
    wallMs: true,
    random: true,
    arm: true,
    disarm: true,
    sleep: true,
  }),
} as const satisfies Record<CodeOnly, Check>;

const serveOptions = objectOf<ServeOptions>({ http2: truth });

function isCodeOnly(key: string): key is CodeOnly {
  return Object.hasOwn(codeOnly, key);
}

function raise(problems: readonly string[], code: MeshErrorCode = 'INMESH_ERR_CONFIG_INVALID'): never {
  throw new MeshError(code, joinProblems(problems), { details: { problems } });
}

/** What of the environment can be read at all. */
function textsOf(given: unknown): Readonly<Record<string, string | undefined>> {
  if (!isInstance(given)) return {};
  const texts: Record<string, string> = {};
  for (const [name, one] of Object.entries(given)) if (typeof one === 'string') texts[name] = one;
  return texts;
}

/**
 * Checks everything that `createMesh` is given, names and types, and makes the configuration of it. What is not
 * known is an error: a misspelt guard that is ignored guards nothing.
 *
 * @param file - The configuration file, read.
 * @throws MeshError `INMESH_ERR_CONFIG_*`, `INMESH_ERR_POLICY_*`, naming every problem at once.
 */
export function checkMeshOptions(options: MeshOptions, file?: ConfigFile): ResolvedConfig {
  const given: unknown = options;
  if (!isPlainObject(given)) raise(['the options of createMesh must be an object']);
  const problems: string[] = [];
  const code: Record<string, unknown> = {};
  for (const [key, one] of Object.entries(given)) {
    if (!isCodeOnly(key)) code[key] = one;
    else if (one !== undefined) codeOnly[key](one, key, problems);
  }
  const { env: environment = process.env, cwd = process.cwd() } = given;
  try {
    const config = resolveConfig({
      env: textsOf(environment),
      code,
      cwd: typeof cwd === 'string' ? cwd : process.cwd(),
      file,
      otherOptions: Object.keys(codeOnly),
      hasOwnLogger: given['logger'] !== undefined,
    });
    if (problems.length === 0) return config;
  } catch (error) {
    if (!isMeshError(error)) throw error;
    const found = error.details['problems'];
    raise([...problems, ...(Array.isArray(found) ? found.map(String) : [error.message])], error.code);
  }
  return raise(problems);
}

/**
 * Checks what `serve` is told.
 *
 * @throws MeshError `INMESH_ERR_CONFIG_INVALID`
 */
export function checkServeOptions(options: unknown): void {
  const problems: string[] = [];
  serveOptions(options, 'ServeOptions', problems);
  if (problems.length > 0) raise(problems);
}
