// `npm run bench:gateway`: how does the gateway compare with nginx and haproxy, in the same run on
// the same machine, one core each? Prints a table for each row of docs/guide/benchmarks-gateway.md,
// each bar as met or missed, and what the machine was doing. `--check` exits 1 on a missed bar,
// `--docs` prints the results as the block of that page.
import { parseArgs } from 'node:util';
import type { RowReport } from './heal/bench.ts';
import { nowMs } from './heal/clock.ts';
import { machineFacts, usedByOthers, watchMachine } from './heal/machine.ts';
import { endAll } from './heal/processes.ts';
import { openBench } from './gateway/bench.ts';
import type { GatewayBench, GatewayOptions } from './gateway/bench.ts';
import { docsBlock, reportJson, reportText, rowText, writeDocs } from './gateway/report.ts';
import { bodiesRow } from './gateway/rows/bodies.ts';
import { faultsRow } from './gateway/rows/faults.ts';
import { endRow } from './gateway/peers.ts';
import { fuzzRow } from './gateway/rows/fuzz.ts';
import { idleRow } from './gateway/rows/idle.ts';
import { latencyRow } from './gateway/rows/latency.ts';
import { neighboursRow } from './gateway/rows/neighbours.ts';
import { fullRow, plainRow } from './gateway/rows/plain.ts';
import { quarantineRow } from './gateway/rows/quarantine.ts';
import { tableRow } from './gateway/rows/table.ts';
import { tlsRow } from './gateway/rows/tls.ts';

const ROWS: Readonly<Record<string, (bench: GatewayBench) => Promise<RowReport>>> = {
  plain: plainRow,
  full: fullRow,
  latency: latencyRow,
  tls: tlsRow,
  idle: idleRow,
  bodies: bodiesRow,
  faults: faultsRow,
  neighbours: neighboursRow,
  table: tableRow,
  quarantine: quarantineRow,
  fuzz: fuzzRow,
};

/** Rows that were cut off by Ctrl-C are not reported. */
let isEnding = false;

const USAGE = `usage: npm run bench:gateway -- [OPTION]…
--only NAME (again for more), --rounds N, --quick, --no-peers, --no-install, --json, --check
--fault NAME (again for more): only these of the row faults
--docs: prints the block for docs/guide/benchmarks-gateway.md; --write-docs: puts it there
rows: ${Object.keys(ROWS).join(' ')}
`;

interface Told extends GatewayOptions {
  readonly docs: boolean;
  readonly writeDocs: boolean;
}

function readOptions(): Told {
  const off = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      json: off,
      check: off,
      quick: off,
      docs: off,
      'write-docs': off,
      only: { type: 'string', multiple: true, default: [] },
      fault: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      'no-peers': off,
      'no-install': off,
      help: off,
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
  const { json, check, quick, docs } = values;
  const peers = !values['no-peers'];
  const install = !values['no-install'];
  const faults = values.fault.flatMap((names) => names.split(','));
  const rest = { faults, docs, writeDocs: values['write-docs'] };
  return { json, check, quick, only, rounds, peers, install, ...rest };
}

async function main(options: Told): Promise<boolean> {
  const busyness = watchMachine();
  const facts = machineFacts();
  const before = busyness().loadavg;
  const startedMs = nowMs();
  const bench = openBench(options, (text) => process.stderr.write(`… ${text}\n`));
  const rows: RowReport[] = [];
  for (const name of Object.keys(ROWS)) {
    if (options.only.length > 0 && !options.only.includes(name)) continue;
    // A smoke has no time to ask.
    const others = options.quick ? undefined : await usedByOthers();
    const row = { ...(await playRow(bench, name)), others };
    if (isEnding) return false;
    rows.push(row);
    if (!options.json && !options.docs) process.stdout.write(rowText(row));
  }
  const whole = {
    facts,
    before,
    after: busyness(),
    options,
    rows,
    missing: (['nginx', 'haproxy'] as const).flatMap((peer) => bench.missing(peer) ?? []),
    tookMs: nowMs() - startedMs,
  };
  if (options.json) process.stdout.write(`${reportJson(whole)}\n`);
  else if (options.docs) process.stdout.write(docsBlock(whole));
  else process.stdout.write(reportText(whole));
  if (options.writeDocs) writeDocs(whole);
  return rows.every((row) => row.bars.every((one) => one.state === 'met'));
}

/** A row that breaks is a row with a missed bar: the others still count. */
async function playRow(bench: GatewayBench, name: string): Promise<RowReport> {
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
    await endRow();
  }
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (isEnding) return;
    isEnding = true;
    process.stderr.write('\nending everything that the bench started …\n');
    void endAll().then(() => process.exit(130));
  });
}

let options: Told;
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
// Sockets to processes that are gone must not keep it alive.
process.exit();
