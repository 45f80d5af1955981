import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { contentTypes, type ExpositionFormat } from './exposition.js';

/** Figures of Node and the process, as prom-client collects them: event loop, garbage collection, memory, handles. */
export class NodeMetrics {
  #registry: Promise<Registry> | undefined;

  /** Begins to observe what can only be observed over time. */
  start(): void {
    void this.#open();
  }

  /** The text of them, without a mark of its end. */
  async render(format: ExpositionFormat): Promise<string> {
    const registry = await this.#open();
    // The type of a registry says which format it writes; ours writes both.
    (registry as unknown as { setContentType(type: string): void }).setContentType(contentTypes[format]);
    const text = await registry.metrics();
    const body = text.replace(/(?:^|\n)# EOF\s*$/, '').trimEnd();
    return body === '' ? '' : `${body}\n`;
  }

  #open(): Promise<Registry> {
    this.#registry ??= import('prom-client').then(
      ({ Gauge, Registry: PromRegistry, collectDefaultMetrics }) => {
        const registry = new PromRegistry();
        collectDefaultMetrics({ register: registry });
        let before = performance.eventLoopUtilization();
        const utilization = new Gauge({
          name: 'inmesh_nodejs_elu',
          help: 'Share of the time since it was last read in which the event loop was busy, 0 to 1.',
          registers: [registry],
          collect() {
            const now = performance.eventLoopUtilization();
            utilization.set(performance.eventLoopUtilization(now, before).utilization || 0);
            before = now;
          },
        });
        return registry;
      },
    );
    return this.#registry;
  }
}
