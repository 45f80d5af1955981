import type { BalancerFactory, BalancerInput } from './balancers.js';
import { randomPick } from './balancers.js';
import type { EndpointState } from './endpoint-state.js';

/**
 * Keeps calls going where a balancer of the user's throws, or picks what is none of its endpoints: such a pick is made
 * by chance instead.
 *
 * @param onThrown - Told what went wrong.
 */
export function guardBalancer(factory: BalancerFactory, onThrown: (error: unknown) => void): BalancerFactory {
  return (input: BalancerInput) => {
    const members: ReadonlySet<EndpointState> = new Set(input.endpoints);
    const spare = randomPick(input);
    try {
      const own = factory(input);
      return {
        pick(nowMs, tried) {
          try {
            const picked = own.pick(nowMs, tried);
            if (members.has(picked)) return picked;
            onThrown(new TypeError('the balancer picked what is none of its endpoints'));
          } catch (error) {
            onThrown(error);
          }
          return spare.pick(nowMs);
        },
      };
    } catch (error) {
      onThrown(error);
      return spare;
    }
  };
}
