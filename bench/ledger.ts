// `npm run bench:ledger`: how fast is the ledger, and does it keep what it promises? Prints a table
// for each row of docs/guide/benchmarks-ledger.md next to what a team would use instead, each bar
// as met or missed, and what the machine was doing. `--check` exits 1 on a missed bar.
import { parseArgs } from 'node:util';
import type { RowReport } from './heal/bench.ts';
import { nowMs } from './heal/clock.ts';
import { machineFacts, usedByOthers, watchMachine } from './heal/machine.ts';
import { endAll } from './heal/processes.ts';
import { openBench } from './ledger/bench.ts';
import type { LedgerBench, LedgerOptions } from './ledger/bench.ts';
import { reportJson, reportText, rowText } from './ledger/report.ts';
import { bundleRow } from './ledger/rows/bundle.ts';
import { checkRow } from './ledger/rows/check.ts';
import { crashRow } from './ledger/rows/crash.ts';
import { eventsRow } from './ledger/rows/events.ts';
import { flipsRow } from './ledger/rows/flips.ts';
import { intentRow } from './ledger/rows/intent.ts';
import { opaqueRow } from './ledger/rows/opaque.ts';
import { tenantsRow } from './ledger/rows/tenants.ts';
import { vectorsRow } from './ledger/rows/vectors.ts';

const ROWS: Readonly<Record<string, (bench: LedgerBench) => Promise<RowReport>>> = {
  opaque: opaqueRow,
  events: eventsRow,
  intent: intentRow,
  check: checkRow,
  tenants: tenantsRow,
  crash: crashRow,
  flips: flipsRow,
  vectors: vectorsRow,
  bundle: bundleRow,
};

/** Rows that were cut off by Ctrl-C are not reported. */
let isEnding = false;

const USAGE = `usage: npm run bench:ledger -- [OPTION]…
--only NAME (again for more), --rounds N, --quick, --no-peers, --dir FOLDER, --json, --check
rows: ${Object.keys(ROWS).join(' ')}
`;

function readOptions(): LedgerOptions {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      dir: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  const only = values.only.flatMap((names) => names.split(','));
  const unknown = only.find((name) => !Object.hasOwn(ROWS, name));
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  const isBadCount =
    rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1 && rounds <= 1_000);
  if (unknown !== undefined || isBadCount) {
    throw new TypeError(unknown === undefined ? '--rounds wants 1–1000' : `no row "${unknown}"`);
  }
  const { json, check, quick, dir } = values;
  return { json, check, quick, only, rounds, dir, peers: !values['no-peers'] };
}

async function main(options: LedgerOptions): Promise<boolean> {
  const busyness = watchMachine();
  const facts = machineFacts();
  const before = busyness().loadavg;
  const startedMs = nowMs();
  const bench = openBench(options, (text) => process.stderr.write(`… ${text}\n`));
  const { place } = bench;
  bench.say(`in ${place.parent} (${place.fileSystem})`);
  const rows: RowReport[] = [];
  for (const name of Object.keys(ROWS)) {
    if (options.only.length > 0 && !options.only.includes(name)) continue;
    const others = await usedByOthers();
    const row = { ...(await playRow(bench, name)), others };
    if (isEnding) return false;
    rows.push(row);
    if (!options.json) process.stdout.write(rowText(row));
  }
  const tookMs = nowMs() - startedMs;
  const whole = { facts, place, before, after: busyness(), options, rows, tookMs };
  process.stdout.write(options.json ? `${reportJson(whole)}\n` : reportText(whole));
  return rows.every((row) => row.bars.every((one) => one.state === 'met'));
}

/** A row that breaks is a row with a missed bar: the others still count. */
async function playRow(bench: LedgerBench, name: string): Promise<RowReport> {
  try {
    const play = ROWS[name];
    if (play === undefined) throw new Error(`no row "${name}"`);
    return await play(bench);
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return {
      name,
      title: `${name}: could not be measured`,
      table: [],
      bars: [{ what: name, wanted: 'a measurement', got: 'none', state: 'not measured' }],
      notes: [text],
      inside: [],
      data: { error: text },
    };
  }
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    isEnding = true;
    process.stderr.write('\nending everything that the bench started …\n');
    void endAll().then(() => process.exit(130));
  });
}

let options: LedgerOptions;
try {
  options = readOptions();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exit(2);
}
let isFine = false;
try {
  isFine = await main(options);
} catch (error) {
  console.error(error);
  process.exitCode = 70;
} finally {
  await endAll();
}
if (options.check && !isFine) process.exitCode ??= 1;
