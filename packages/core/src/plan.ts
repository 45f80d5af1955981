import type { Call, CallEnd, ReplyHead } from './call.js';
import { isMeshError, MeshError } from './errors.js';
import type { Halt, Layer, LocalAnswer, Phases, Rejection, Target, Verdict } from './layer.js';

/**
 * The running state of one call in one {@link Plan}. The adapter's per-call object implements it: no closure,
 * no allocation per call.
 */
export interface PlanRun {
  /** How many layers the request has reached; owned by the plan, start with 0. */
  entered: number;
  /** Whether `end` has run; owned by the plan, start with `false`. */
  hasEnded: boolean;
  /** Every layer let the call pass. */
  onPass(): void;
  /** A layer stopped the call. */
  onHalt(halt: Halt): void;
}

/** Layers compiled for one target into flat loops. */
export interface Plan {
  /** The layers that have something to do, in order. */
  readonly layers: readonly Layer[];
  /** Whether any layer looks at the request; if not, `begin` lets it pass at once. */
  readonly watchesRequest: boolean;
  /** Whether any layer looks at the head of the reply; if not, adapters need not watch for it. */
  readonly watchesHead: boolean;
  /** Runs `request` of each layer, then calls `onPass` or `onHalt` of `run`, exactly one, unless it ended. */
  begin(run: PlanRun, call: Call): void;
  /** Runs `head` of each layer reached, in reverse. */
  head(run: PlanRun, call: Call, head: ReplyHead): void;
  /** Runs `end` of each layer reached, in reverse; only the first time. */
  end(run: PlanRun, call: Call, end: CallEnd): void;
  /** Decides a running call again; the first halt wins. */
  recheck(call: Call): Verdict;
}

/** Told of a layer that threw where it cannot stop the call anymore. */
export type LayerFault = (role: string, phase: 'head' | 'end', error: unknown) => void;

interface Slot<F> {
  readonly index: number;
  readonly role: string;
  readonly run: F;
}

function threw(role: string, cause: unknown): Halt {
  if (isMeshError(cause)) return { kind: 'reject', error: cause };
  const text = cause instanceof Error ? cause.message : String(cause);
  return {
    kind: 'reject',
    error: new MeshError('INMESH_ERR_LAYER_THREW', `layer "${role}" threw: ${text}`, { cause }),
  };
}

function describe(value: unknown): string {
  return value === null || typeof value !== 'object' ? String(value) : 'an object that is none of them';
}

/** A layer is code of users: what it says is believed only if it is a verdict. */
function halt(role: string, verdict: unknown): Halt {
  if (typeof verdict === 'object' && verdict !== null) {
    const { kind, error, reply } = verdict as Partial<Record<'error' | 'kind' | 'reply', unknown>>;
    if (kind === 'reject' && isMeshError(error)) return verdict as Rejection;
    if (kind === 'reply' && typeof reply === 'object' && reply !== null) return verdict as LocalAnswer;
  }
  return {
    kind: 'reject',
    error: new MeshError(
      'INMESH_ERR_LAYER_THREW',
      `layer "${role}" answered ${describe(verdict)}; it must answer undefined, a rejection or a reply`,
    ),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

class FlatPlan implements Plan {
  readonly layers: readonly Layer[];
  readonly watchesRequest: boolean;
  readonly watchesHead: boolean;
  readonly #requests: Slot<NonNullable<Phases['request']>>[] = [];
  readonly #heads: Slot<NonNullable<Phases['head']>>[] = [];
  readonly #ends: Slot<NonNullable<Phases['end']>>[] = [];
  readonly #rechecks: Slot<NonNullable<Phases['recheck']>>[] = [];
  readonly #onFault: LayerFault;

  constructor(layers: readonly Layer[], target: Target, onFault: LayerFault) {
    const used: Layer[] = [];
    for (const layer of layers) {
      const phases = layer.bind(target);
      if (phases === undefined) continue;
      const { role } = layer;
      const index = used.length;
      used.push(layer);
      if (phases.request) this.#requests.push({ index, role, run: phases.request.bind(phases) });
      if (phases.head) this.#heads.unshift({ index, role, run: phases.head.bind(phases) });
      if (phases.end) this.#ends.unshift({ index, role, run: phases.end.bind(phases) });
      if (phases.recheck) this.#rechecks.push({ index, role, run: phases.recheck.bind(phases) });
    }
    this.layers = Object.freeze(used);
    this.watchesRequest = this.#requests.length > 0;
    this.watchesHead = this.#heads.length > 0;
    this.#onFault = onFault;
  }

  begin(run: PlanRun, call: Call): void {
    this.#from(0, run, call);
  }

  head(run: PlanRun, call: Call, head: ReplyHead): void {
    const heads = this.#heads;
    for (let i = 0; i < heads.length; i++) {
      const slot = heads[i];
      if (slot === undefined || slot.index >= run.entered) continue;
      try {
        const result: unknown = slot.run(call, head);
        if (result !== undefined) this.#watch(result, slot.role, 'head');
      } catch (error) {
        this.#onFault(slot.role, 'head', error);
      }
    }
  }

  end(run: PlanRun, call: Call, end: CallEnd): void {
    if (run.hasEnded) return;
    run.hasEnded = true;
    const ends = this.#ends;
    for (let i = 0; i < ends.length; i++) {
      const slot = ends[i];
      if (slot === undefined || slot.index >= run.entered) continue;
      try {
        const result: unknown = slot.run(call, end);
        if (result !== undefined) this.#watch(result, slot.role, 'end');
      } catch (error) {
        this.#onFault(slot.role, 'end', error);
      }
    }
  }

  recheck(call: Call): Verdict {
    const rechecks = this.#rechecks;
    for (let i = 0; i < rechecks.length; i++) {
      const slot = rechecks[i];
      if (slot === undefined) continue;
      try {
        const verdict: unknown = slot.run(call);
        if (verdict === undefined) continue;
        // Refused below; but its rejection must not take the process down.
        if (isThenable(verdict)) void Promise.resolve(verdict).catch(() => {});
        return halt(slot.role, verdict);
      } catch (error) {
        return threw(slot.role, error);
      }
    }
    return undefined;
  }

  #from(start: number, run: PlanRun, call: Call): void {
    const requests = this.#requests;
    for (let i = start; i < requests.length; i++) {
      const slot = requests[i];
      if (slot === undefined) continue;
      // Counted before it runs: a layer that rejects or throws after it took something still gives it back.
      run.entered = slot.index + 1;
      let verdict: unknown;
      try {
        verdict = slot.run(call);
      } catch (error) {
        verdict = threw(slot.role, error);
      }
      if (verdict === undefined) continue;
      if (isThenable(verdict)) this.#wait(verdict, i + 1, slot.role, run, call);
      else run.onHalt(halt(slot.role, verdict));
      return;
    }
    run.entered = this.layers.length;
    run.onPass();
  }

  /** An asynchronous `head` or `end` is waited for by nobody, but its rejection is told like an error. */
  #watch(result: unknown, role: string, phase: 'end' | 'head'): void {
    if (isThenable(result))
      Promise.resolve(result).catch((error: unknown) => this.#onFault(role, phase, error));
  }

  #wait(pending: PromiseLike<unknown>, next: number, role: string, run: PlanRun, call: Call): void {
    // A thenable of another make may call back twice, or at once; a promise does not.
    Promise.resolve(pending).then(
      (verdict) => {
        // The caller may have left meanwhile; its handler would never see a close event.
        if (run.hasEnded) return;
        if (verdict === undefined) this.#from(next, run, call);
        else run.onHalt(halt(role, verdict));
      },
      (error: unknown) => {
        if (!run.hasEnded) run.onHalt(threw(role, error));
      },
    );
  }
}

/**
 * Compiles layers for one target.
 *
 * @param onFault - Told of a layer that throws in `head` or `end`; the other layers still run.
 */
export function compile(layers: readonly Layer[], target: Target, onFault: LayerFault = () => {}): Plan {
  return new FlatPlan(layers, target, onFault);
}

function violation(layer: Layer, relation: 'before' | 'after', other: string): MeshError {
  return new MeshError(
    'INMESH_ERR_LAYER_ORDER',
    `layer "${layer.role}" must stand ${relation} "${other}": ${layer.why}`,
  );
}

/**
 * Checks that every role is unique and stands where its constraints want it.
 *
 * @throws MeshError `INMESH_ERR_LAYER_ORDER` naming both layers and the reason.
 */
export function checkOrder(layers: readonly Layer[]): void {
  const places = new Map<string, number>();
  for (const [index, layer] of layers.entries()) {
    if (places.has(layer.role)) {
      throw new MeshError('INMESH_ERR_LAYER_ORDER', `two layers have the role "${layer.role}"`);
    }
    places.set(layer.role, index);
  }
  for (const [index, layer] of layers.entries()) {
    for (const other of layer.before ?? []) {
      const place = places.get(other);
      if (place !== undefined && place < index) throw violation(layer, 'before', other);
    }
    for (const other of layer.after ?? []) {
      const place = places.get(other);
      if (place !== undefined && place > index) throw violation(layer, 'after', other);
    }
  }
}

/**
 * Puts users' layers into a stack: as late as their constraints allow, in the order given.
 *
 * @throws MeshError `INMESH_ERR_LAYER_ORDER` if no place satisfies every constraint.
 */
export function insertLayers(stack: readonly Layer[], added: readonly Layer[]): readonly Layer[] {
  const result = [...stack];
  for (const layer of added) {
    let place = result.length;
    for (const [index, other] of result.entries()) {
      const mustPrecede = layer.before?.includes(other.role) || other.after?.includes(layer.role);
      if (mustPrecede && index < place) place = index;
    }
    result.splice(place, 0, layer);
  }
  checkOrder(result);
  return Object.freeze(result);
}
