import { parseArgs } from 'node:util';
import { beyondRoundRobin } from './beyond-round-robin.js';
import { failingService } from './failing-service.js';
import { faultStorms } from './fault-storm.js';
import { goldenTables } from './golden-tables.js';
import { layeredRetries } from './layered-retries.js';
import { loopStall } from './loop-stall.js';
import { outliers } from './outliers.js';
import { writePlots } from './plots.js';
import { retryStorm, retryStormOfOthers } from './retry-storm.js';
import { table } from './row.js';
import { speed } from './speed.js';
import { twoChoices } from './two-choices.js';

const { values } = parseArgs({ options: { plots: { type: 'boolean' } } });

const rows = [
  ...beyondRoundRobin(3),
  ...retryStorm(3),
  ...retryStormOfOthers(1),
  ...layeredRetries(),
  ...failingService(50_000),
  ...outliers(1000, 1_000_000),
  ...faultStorms(3, 10),
  ...goldenTables(),
  ...twoChoices(21),
  ...(await loopStall(5, 20)),
  ...speed(),
];
process.stdout.write(`${table(rows)}\n`);
if (values.plots) writePlots();
const broken = rows.filter((row) => !row.isKept);
if (broken.length > 0) {
  process.stderr.write(`broken: ${broken.map((row) => row.name).join('; ')}\n`);
  process.exitCode = 1;
}
