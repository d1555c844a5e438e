// `npm run bench:detect`: how good and how dear is the detection of anomalies, the localisation of
// causes and the forecast of exhaustion? Scores are of the one shipped configuration, with a 5-fold
// beside it that was tuned without the series it is scored on. `--check` exits 1 on a missed bar.
//
//   npm run bench:detect -- --nab DIR --cloud DIR [--folds 5 --steps 300] [--tune] [--json]
//   [--check]
//
// Folders: the layout of the Numenta Anomaly Benchmark, and of Microsoft's cloud-monitoring data
// set.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WATCH_LIMITS } from '../src/loop/detect/series/watch.ts';
import { type Corpora, costRow, localiseRow, scoreRow, trendRow } from './detect/rows.ts';
import { loadCloud, loadNab } from './detect/corpus.ts';
import { see, tune } from './detect/tune.ts';
import type { RowReport } from './heal/bench.ts';
import { machineFacts } from './heal/machine.ts';
import { rowText } from './heal/report.ts';

const SHARED = join(import.meta.dirname, '..', '..', 'shared', 'data');
const { values } = parseArgs({
  options: {
    nab: { type: 'string', default: join(SHARED, 'nab') },
    cloud: { type: 'string', default: join(SHARED, 'cloud-monitoring') },
    folds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    tune: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

function load(): Corpora | undefined {
  const { nab, cloud } = values;
  if (!existsSync(join(nab, 'labels')) || !existsSync(cloud)) return undefined;
  return { nab: loadNab(nab).map(see), cloud: loadCloud(cloud).map(see) };
}

const corpora = load();
const steps = Number(values.steps);
const seed = Number(values.seed);
if (values.tune && corpora !== undefined) {
  process.stdout.write(`${JSON.stringify(tune(corpora, steps, seed), null, 2)}\n`);
  process.exit(0);
}
const rows: RowReport[] = [];
if (corpora === undefined) {
  process.stderr.write(`skipped: no labelled series in ${values.nab} and ${values.cloud}\n`);
} else {
  rows.push(scoreRow(corpora, WATCH_LIMITS, { folds: Number(values.folds), steps, seed }));
  rows.push(costRow(corpora));
}
rows.push(localiseRow(), trendRow());
const facts = machineFacts();
if (values.json) process.stdout.write(`${JSON.stringify({ facts, rows })}\n`);
else {
  for (const row of rows) process.stdout.write(rowText(row));
  process.stdout.write(`\nmachine   ${facts.cores} cores, ${facts.model}, Node ${facts.node}\n`);
}
const isFine = rows.every((row) => row.bars.every((bar) => bar.state === 'met'));
if (values.check && !isFine) process.exitCode = 1;
