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

/** Runs something that must not be traced again by others. */
export function untraced(context: Api.Context, run: () => void): void {
  otel().context.with(context.setValue(suppressed, true), run);
}
