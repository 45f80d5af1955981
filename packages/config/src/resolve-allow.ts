import type { AuthorizationPolicy } from '@inmesh/core';
import { parseAllow } from './allow.js';
import type { FileScope, FileValue } from './config-file.js';
import type { ConfigSources } from './config-sources.js';
import { messageOf, placeOf, show } from './problems.js';

/** Where what is found goes. */
export interface AllowSink {
  /** What is read. */
  readonly sources: ConfigSources;
  /** Takes what is wrong. */
  readonly problems: string[];
  /** Takes where it came from. */
  readonly provenance: Map<string, string>;
}

/** What one source says of callers. */
interface Said {
  /** Where, for people. */
  readonly from: string;
  /** Where, for the policy that it becomes. */
  readonly source: string;
  readonly value: unknown;
  readonly file?: FileValue | undefined;
}

/**
 * Reads who may call. Where several sources say it they must agree: whoever is named in one of them only would be let in
 * by that one.
 */
export function resolveAllow(
  key: 'allow' | 'explainAllow' | 'metricsAllow',
  variable: string,
  own: FileScope,
  { sources, problems, provenance }: AllowSink,
): AuthorizationPolicy | undefined {
  const { code, env, file } = sources;
  const ofFile = file?.setting(key);
  const all: readonly Said[] = [
    { from: 'code', source: `option ${key}`, value: code?.[key] },
    { from: variable, source: variable, value: env[variable] },
    ...(ofFile === undefined
      ? []
      : [{ from: placeOf(ofFile.origin), source: ofFile.origin.source, value: ofFile.value, file: ofFile }]),
  ];
  const said = all.filter(({ value }) => value !== undefined);
  const [first] = said;
  provenance.set(key, first?.from ?? 'default');
  if (first === undefined) return undefined;
  if (said.some(({ value }) => value !== first.value)) {
    const places = said.map(({ from }) => from).join(' and ');
    problems.push(`${places} name different callers for ${key}: name them in one place`);
    return undefined;
  }
  const wrong = (message: string): undefined => {
    if (first.file === undefined) problems.push(message);
    else file?.wrong(first.file.origin, message);
  };
  if (typeof first.value !== 'string')
    return wrong(
      `${first.file === undefined ? 'option ' : ''}${key} is ${show(first.value)}; it must be text`,
    );
  try {
    return parseAllow(first.value, own, first.source, first.file?.origin);
  } catch (error) {
    return wrong(messageOf(error));
  }
}
