const operationKey: unique symbol = Symbol('inmesh.operation');

/** What frameworks leave on a request once they have found its route. */
interface Routed {
  [operationKey]?: string;
  /** Express: the route. */
  readonly route?: { readonly path?: unknown };
  /** Express: what routers that it is mounted in have matched, as it was sent. */
  readonly baseUrl?: unknown;
}

/** Mount points that are told apart; where one has parameters there would be as many as there are values. */
const maxMounts = 100;
const mounts = new Set<string>();

/** Express tells a mount as the caller spelt it: in any case, with escapes. */
function oneSpelling(baseUrl: string): string {
  try {
    return decodeURI(baseUrl).toLowerCase();
  } catch {
    return baseUrl.toLowerCase();
  }
}

function mountOf(baseUrl: unknown): string {
  if (typeof baseUrl !== 'string' || baseUrl === '') return '';
  const mount = oneSpelling(baseUrl);
  if (!mounts.has(mount)) {
    if (mounts.size >= maxMounts) return '*';
    mounts.add(mount);
  }
  return mount;
}

/** Notes the route of a request, for a framework that tells it to a hook. */
export function noteOperation(request: object, operation: string | undefined): void {
  if (operation !== undefined) (request as Routed)[operationKey] = operation;
}

/** The route that a framework has found for a request, as it was declared: `/orders/:id`. */
export function operationOf(request: object): string | undefined {
  const { [operationKey]: noted, route, baseUrl } = request as Routed;
  if (noted !== undefined) return noted;
  return typeof route?.path === 'string' ? `${mountOf(baseUrl)}${route.path}` : undefined;
}
