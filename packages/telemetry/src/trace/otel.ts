import { createRequire } from 'node:module';
import type * as Api from '@opentelemetry/api';

/** Where every copy of the API of OpenTelemetry 1.x keeps what was registered. */
const registered = Symbol.for('opentelemetry.js.api.1');
/** By which the SDK knows that nothing is to be traced; the API makes keys of contexts with `Symbol.for`. */
const suppressed = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

interface Registry {
  readonly trace?: unknown;
}

let api: typeof Api | undefined;

/** The API; loaded when there is a tracer for the first time. */
export function otel(): typeof Api {
  api ??= createRequire(import.meta.url)('@opentelemetry/api') as typeof Api;
  return api;
}

/** Whether a tracer is registered in this process, by whichever copy of the API. Costs one lookup. */
export function hasTracer(): boolean {
  return (globalThis as { [registered]?: Registry })[registered]?.trace !== undefined;
}

/** The tracer of Inmesh; asked for anew, because one may be registered late, or another one. */
export function tracer(): Api.Tracer {
  return otel().trace.getTracer('inmesh');
}

/**
 * Asks something of what an application registered, which may throw: then it is told where OpenTelemetry tells such
 * things, and nothing else changes. No call fails because nobody can trace it.
 *
 * @returns `undefined` if it threw.
 */
export function harmless<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    try {
      otel().diag.error('inmesh: what is registered with OpenTelemetry threw', error);
    } catch {
      // Nobody is left to tell.
    }
    return undefined;
  }
}

/** Runs something in a context, exactly once, whatever the manager of contexts does. What it throws itself is thrown. */
export function runIn<R>(context: () => Api.Context, run: () => R): R {
  const outcomes: (() => R)[] = [];
  const note = (): void => {
    try {
      const value = run();
      outcomes.push(() => value);
    } catch (error) {
      outcomes.push(() => {
        throw error;
      });
    }
  };
  harmless(() => otel().context.with(context(), note));
  const [outcome] = outcomes;
  return outcome === undefined ? run() : outcome();
}

/** Runs something that must not be traced again by others. */
export function untraced(context: Api.Context, run: () => void): void {
  runIn(() => context.setValue(suppressed, true), run);
}
