import { canonicalName, checkClusterName, type OwnScope } from './cluster-names.js';
import { messageOf } from './problems.js';
import { type RouteInput, routesInput } from './route-input.js';
import { isPlainObject, noObject } from './shape.js';

/** Where routes are read from, and where to say what was found. */
export interface RouteSources {
  /** What code gave, not yet checked. */
  readonly code: unknown;
  /** What names are completed with. */
  readonly own: OwnScope;
  /** Takes what is wrong. */
  readonly problems: string[];
  /** Takes where each came from. */
  readonly provenance: Map<string, string>;
}

/** A route whose backends go by their canonical names; the same object if they do already. */
function withCanonicalBackends(route: RouteInput, own: OwnScope): RouteInput {
  const { action } = route;
  if (action?.kind !== 'forward') return route;
  if (action.backends.every(({ cluster }) => canonicalName(cluster, own) === cluster)) return route;
  const backends = action.backends.map((one) => ({ ...one, cluster: canonicalName(one.cluster, own) }));
  return { ...route, action: { ...action, backends } };
}

/** Reads the routes of one name; `undefined` if they are wrong. */
function readRoutes(
  given: unknown,
  where: string,
  { own, problems }: RouteSources,
): readonly RouteInput[] | undefined {
  const before = problems.length;
  routesInput(given, where, problems);
  if (problems.length > before) return undefined;
  const list = given as readonly RouteInput[];
  const canonical = list.map((route) => withCanonicalBackends(route, own));
  return canonical.every((route, i) => route === list[i]) ? list : canonical;
}

/** Routes in code, by canonical mesh name. */
export function resolveRoutes(sources: RouteSources): ReadonlyMap<string, readonly RouteInput[]> {
  const { code, own, problems, provenance } = sources;
  const found = new Map<string, readonly RouteInput[]>();
  if (code === undefined) return found;
  if (!isPlainObject(code)) {
    problems.push(noObject(code, 'option routes'));
    return found;
  }
  const keys = new Map<string, string>();
  for (const [key, given] of Object.entries(code)) {
    if (given === undefined) continue;
    try {
      checkClusterName(key);
    } catch (error) {
      problems.push(`routes.${key}: ${messageOf(error)}`);
    }
    const name = canonicalName(key, own);
    const other = keys.get(name);
    if (other !== undefined) problems.push(`routes.${other} and routes.${key} both say ${name}`);
    keys.set(name, key);
    const list = readRoutes(given, `routes.${key}`, sources);
    if (list === undefined) continue;
    found.set(name, list);
    provenance.set(`routes.${name}`, 'code');
  }
  return found;
}
