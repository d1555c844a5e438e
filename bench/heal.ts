// `npm run bench:heal`: how well does Kintsugi heal a real service under load, next to PM2 and to
// a bare respawn in the same run on the same machine? Prints a table for each row of
// docs/guide/benchmarks.md, each bar as met or missed, and what the machine was doing. `--check`
// exits 1 on a missed bar.
import { parseArgs } from 'node:util';
import { openBench } from './heal/bench.ts';
import type { Bench, Options, RowReport } from './heal/bench.ts';
import { nowMs } from './heal/clock.ts';
import { machineFacts, usedByOthers, watchMachine } from './heal/machine.ts';
import { endAll } from './heal/processes.ts';
import { reportJson, reportText, rowText } from './heal/report.ts';
import { controllerRow } from './heal/rows/controller.ts';
import { idleRow } from './heal/rows/idle.ts';
import { killRow } from './heal/rows/kill.ts';
import { releaseRow } from './heal/rows/release.ts';
import { simRow } from './heal/rows/sim.ts';
import { startRow } from './heal/rows/start.ts';
import { stopRow } from './heal/rows/stop.ts';
import { togetherRow } from './heal/rows/together.ts';

/** In the order in which they run: the quiet one first. */
const ROWS: Readonly<Record<string, (bench: Bench) => Promise<RowReport>>> = {
  idle: idleRow,
  start: startRow,
  kill: killRow,
  stop: stopRow,
  release: releaseRow,
  controller: controllerRow,
  together: togetherRow,
  sim: simRow,
};

const USAGE = `usage: npm run bench:heal -- [OPTION]…
--only NAME (again for more), --rounds N, --quick, --no-peers, --json, --check
rows: ${Object.keys(ROWS).join(' ')}
`;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  const only = values.only.flatMap((names) => names.split(','));
  const unknown = only.find((name) => !(name in ROWS));
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  const isBadCount =
    rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1 && rounds <= 1_000);
  if (unknown !== undefined || isBadCount) {
    throw new TypeError(unknown === undefined ? '--rounds wants 1–1000' : `no row "${unknown}"`);
  }
  const { json, check, quick } = values;
  return { json, check, quick, only, rounds, peers: !values['no-peers'] };
}

async function main(options: Options): Promise<boolean> {
  const busyness = watchMachine();
  const facts = machineFacts();
  const before = busyness().loadavg;
  const startedMs = nowMs();
  const bench = await openBench(options, (text) => process.stderr.write(`… ${text}\n`));
  const rows: RowReport[] = [];
  const names = Object.keys(ROWS).filter(
    (n) => options.only.length === 0 || options.only.includes(n),
  );
  for (const name of names) {
    const others = await usedByOthers();
    const row = { ...(await playRow(bench, name)), others };
    rows.push(row);
    if (!options.json) process.stdout.write(rowText(row));
  }
  const whole = {
    facts,
    before,
    after: busyness(),
    boot: bench.boot,
    options,
    rows,
    tookMs: nowMs() - startedMs,
  };
  process.stdout.write(options.json ? `${reportJson(whole)}\n` : reportText(whole));
  return rows.every((row) => row.bars.every((one) => one.state === 'met'));
}

/** A row that breaks is a row with a missed bar: the others still count. */
async function playRow(bench: Bench, name: string): Promise<RowReport> {
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
  } finally {
    await bench.closeAll();
  }
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    process.stderr.write('\nending everything that the bench started …\n');
    void endAll().then(() => process.exit(130));
  });
}

let options: Options;
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
