import { mint } from './clients.js';
import type { Context } from './context.js';
import { type Bench, startDemo, stopDemo } from './harness.js';

/** Starts the demo and identities for foreign clients. */
export async function prepare(bench: Bench): Promise<Context> {
  await stopDemo();
  const fleet = await startDemo();
  const [web, admin, intruder] = await Promise.all(
    ['web', 'admin', 'intruder'].map((name) => mint(bench, fleet.caDir, name)),
  );
  if (web === undefined || admin === undefined || intruder === undefined) throw new Error('no identities');
  return {
    bench,
    fleet,
    web,
    admin,
    intruder,
    service(name) {
      const found = fleet.services.find((one) => one.name === name);
      if (found === undefined) throw new Error(`the demo has no ${name}`);
      return found;
    },
  };
}
