import type { Kind } from './kinds.js';
import type { MeshConfig } from './mesh-config.js';

/** Keys of {@link MeshConfig} that one variable sets. */
export type SettingKey = Exclude<
  keyof MeshConfig,
  'upstreams' | 'routes' | 'allow' | 'explainAllow' | 'metricsAllow' | 'policies'
>;

/** One setting. */
export interface Setting<K extends SettingKey = SettingKey> {
  /** Name in code. */
  readonly key: K;
  /** Name in the environment. */
  readonly variable: string;
  /** How it is written. */
  readonly kind: Kind<NonNullable<MeshConfig[K]>>;
  /** Default; `undefined` where there is none or it depends on others. */
  readonly fallback: MeshConfig[K] | undefined;
  /** Default as text for the reference. */
  readonly fallbackText: string;
  /** Whether an empty variable is an error and not the same as none: it guards something. */
  readonly isGuard: boolean;
  /** Whether sources that differ are an error: it guards something, and of two of them none is the stricter. */
  readonly mustAgree: boolean;
  /** One sentence for the reference. */
  readonly text: string;
  /** What holds where two sources differ, if it guards something: no source loosens what another says. */
  stricter?(one: NonNullable<MeshConfig[K]>, other: NonNullable<MeshConfig[K]>): NonNullable<MeshConfig[K]>;
}

/** What differs from most settings. */
export interface SettingOptions<K extends SettingKey> {
  /** Default as text for the reference. */
  readonly fallbackText?: string;
  /** See {@link Setting}. */
  readonly isGuard?: boolean;
  /** See {@link Setting}. */
  readonly mustAgree?: boolean;
  /** See {@link Setting}. */
  readonly stricter?: NonNullable<Setting<K>['stricter']>;
}

/** The word that comes first. @param words - The strictest first. */
export function firstOf<T>(...words: readonly T[]): (one: T, other: T) => T {
  return (one, other) => (words.indexOf(one) <= words.indexOf(other) ? one : other);
}

/** Makes a row of the table. */
export function setting<K extends SettingKey>(
  key: K,
  variable: string,
  kind: Kind<NonNullable<MeshConfig[K]>>,
  fallback: MeshConfig[K] | undefined,
  text: string,
  more: SettingOptions<K> = {},
): Setting<K> {
  const printed = fallback === undefined ? '' : kind.print(fallback);
  return {
    key,
    variable: `INMESH_${variable}`,
    kind,
    fallback,
    fallbackText: more.fallbackText ?? printed,
    isGuard: more.isGuard ?? false,
    mustAgree: more.mustAgree ?? false,
    text,
    ...(more.stricter === undefined ? {} : { stricter: more.stricter }),
  };
}
