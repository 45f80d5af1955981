import type { AuthorizationPolicy, MeshErrorCode, MtlsMode, Origin } from '@inmesh/core';
import type { OwnScope } from './cluster-names.js';
import type { RouteInput } from './route-input.js';
import type { Upstream, UpstreamInput } from './upstream.js';

/** A value of a file, and where it stands. */
export interface FileValue {
  /** As it was written. */
  readonly value: unknown;
  /** Where. */
  readonly origin: Origin;
}

/** What a file says of an upstream. */
export interface FileUpstream {
  /** Endpoints and rules as code would give them; endpoints may also be those of a `ServiceEntry`. */
  readonly input: UpstreamInput;
  /** Endpoints of a `ServiceEntry`. */
  readonly endpoints: Upstream['endpoints'] | undefined;
  /** Identities of a `ServiceEntry`. */
  readonly identities: Upstream['identities'] | undefined;
  /** Where it stands. */
  readonly origin: Origin;
}

/** Routes of a file, and where each of them stands. */
export interface FileRoutes {
  /** Routes. */
  readonly inputs: readonly RouteInput[];
  /** Where each of them stands. */
  readonly origins: readonly Origin[];
}

/** What a file says that listeners accept. */
export interface FileMode {
  /** What they accept. */
  readonly mode: MtlsMode;
  /** Where it stands. */
  readonly origin: Origin;
}

/** Who we are, to a file: what it selects, and what names are completed with. */
export interface FileScope extends OwnScope {
  /** Own labels. */
  readonly labels: Readonly<Record<string, string>>;
}

/** What files say of traffic. */
export interface FileTraffic {
  /** Every upstream, rules and subsets included. */
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** Where subsets and rules stand, by name of the upstream. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Routes by name of the mesh. */
  readonly routes: ReadonlyMap<string, FileRoutes>;
}

/** A file of configuration, or a directory of them, that was read. Its names and types are right, or it says why not. */
export interface ConfigFile {
  /** Texts by the name of the file. */
  readonly texts: ReadonlyMap<string, string>;
  /** Takes a mistake. @param text - What is wrong, for the place in the file. */
  wrong(origin: Origin, text: string): void;
  /** What the `Mesh` says of a setting, by its name in code; also `allow` and `metricsAllow`. */
  setting(key: string): FileValue | undefined;
  /** Policies. */
  policies(scope: FileScope): readonly AuthorizationPolicy[];
  /** What listeners accept, by `PeerAuthentication`. */
  peerMode(scope: FileScope): FileMode | undefined;
  /** Upstreams by name. */
  upstreams(scope: FileScope): ReadonlyMap<string, FileUpstream>;
  /** Rules and routes. @param upstreams - Those of every source. */
  traffic(scope: FileScope, upstreams: ReadonlyMap<string, Upstream>): FileTraffic;
  /** What is wrong, rendered, and the code of the worst of it. Grows with what is asked. */
  readonly mistakes: {
    /** Rendered. */
    readonly problems: readonly string[];
    /** The code of the worst. */
    readonly code: MeshErrorCode | undefined;
  };
}
