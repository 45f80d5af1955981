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

function mountOf(baseUrl: unknown): string {
  if (typeof baseUrl !== 'string' || baseUrl === '') return '';
  if (!mounts.has(baseUrl)) {
    if (mounts.size >= maxMounts) return '*';
    mounts.add(baseUrl);
  }
  return baseUrl;
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
