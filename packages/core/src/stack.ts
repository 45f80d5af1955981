import type { Layer, Target } from './layer.js';
import { compile, type LayerFault, type Plan } from './plan.js';

/** Plans of one set of layers, compiled when a target is first asked for. */
export interface Stack {
  /** The layers, in order. */
  readonly layers: readonly Layer[];
  /** The plan for a listener's port (server) or a cluster (client). */
  plan(target: Target): Plan;
}

/** Makes a {@link Stack} of layers whose order was checked. */
export function createStack(layers: readonly Layer[], onFault?: LayerFault): Stack {
  // A map each, and no key that is made of both: this is asked for each call.
  const servers = new Map<number | undefined, Plan>();
  const clients = new Map<string | undefined, Plan>();
  const planOf = <K>(plans: Map<K, Plan>, key: K, target: Target): Plan => {
    let plan = plans.get(key);
    if (plan === undefined) {
      plan = compile(layers, target, onFault);
      plans.set(key, plan);
    }
    return plan;
  };
  return {
    layers,
    plan: (target) =>
      target.side === 'server'
        ? planOf(servers, target.port, target)
        : planOf(clients, target.cluster, target),
  };
}

/**
 * The stack in force. A new configuration puts a new stack in; calls in flight finish on the plan they hold.
 */
export interface LiveStack {
  /** Plan for `target` of the stack in force. Call it once per call and hold on to the result. */
  plan(target: Target): Plan;
}

/** A {@link LiveStack} that its owner replaces. */
export class StackHolder implements LiveStack {
  #stack: Stack;

  /** @param stack - The first stack in force. */
  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** The stack in force. */
  get current(): Stack {
    return this.#stack;
  }

  /** Puts a new stack in force. */
  replace(stack: Stack): void {
    this.#stack = stack;
  }

  plan(target: Target): Plan {
    return this.#stack.plan(target);
  }
}
