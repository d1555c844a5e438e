// `npm run sim`: simulated hours of random trouble with the checkers on.
//   --seed N      one seed, with the timeline of its incidents
//   --seeds K     K seeds (from --from, default 1), one line for every ten
//   --hours H     simulated hours of each seed, default 1
//   --verbose     every line of the story    --json   one JSON object a seed
// A violation prints its seed, the last lines of the story and the command that repeats it; exit 1.
import { parseArgs } from 'node:util';
import { runSeed, stamp } from './random.ts';
import type { SeedReport } from './random.ts';

const EXIT_VIOLATION = 1;
const EXIT_USAGE = 2;
const LINE_EVERY = 10;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    hours: { type: 'string' },
    json: { type: 'boolean' },
    verbose: { type: 'boolean' },
  },
});
const print = (line: string): boolean => process.stdout.write(`${line}\n`);

const hours = number('hours', values.hours, 1);
const single = values.seed !== undefined;
const first = number('seed', values.seed ?? values.from, 1);
const count = single ? 1 : number('seeds', values.seeds, 20);
process.exitCode = await runAll();

function number(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  process.stderr.write(`--${name} takes a number above 0, not "${text}"\n`);
  process.exit(EXIT_USAGE);
}

async function runAll(): Promise<number> {
  const startedMs = performance.now();
  const sums = { faults: 0, incidents: 0, acts: 0, requests: 0, failed: 0 };
  for (let seed = first, done = 1; done <= count; seed += 1, done += 1) {
    const report = await runSeed({ seed, hours, ...listener() });
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += report[key];
    if (values.json === true) print(JSON.stringify(report));
    if (report.violations.length > 0) {
      explain(report);
      return EXIT_VIOLATION;
    }
    if (values.json === true) continue;
    if (!single && done % LINE_EVERY !== 0 && done !== count) continue;
    const tookS = (performance.now() - startedMs) / 1_000;
    print(
      `${done} seeds × ${hours} h: ${sums.faults} faults, ${sums.incidents} incidents, ` +
        `${sums.acts} acts, ${sums.requests} requests (${sums.failed} failed), 0 violations; ` +
        `${tookS.toFixed(1)} s, ${((done * hours) / tookS).toFixed(1)} simulated hours a second` +
        (single ? `; digest ${report.digest.slice(0, 16)}` : ''),
    );
  }
  return 0;
}

/** One seed shows its timeline: faults, incidents, decisions and verdicts, or every line. */
function listener(): { onLine: (atMs: number, text: string) => void } | undefined {
  if (!single || values.json === true) return undefined;
  return {
    onLine(atMs, text) {
      const told = /^(?:FAULT|incident|decision|plan|release|controller)/u.test(text);
      if (values.verbose === true || told) print(`${stamp(atMs)}  ${text}`);
    },
  };
}

function explain(report: SeedReport): void {
  const [worst, ...others] = report.violations;
  if (worst === undefined || values.json === true) return;
  print(`\nVIOLATION in seed ${report.seed} at ${stamp(worst.atMs)}`);
  print(`  ${worst.checker}: ${worst.message}`);
  for (const other of others.slice(0, 9)) print(`  ${other.checker}: ${other.message}`);
  print('last lines of the story:');
  for (const line of report.story.slice(-40)) print(`  ${line}`);
  print(`repeat with: npm run sim -- --seed ${report.seed} --hours ${report.hours} --verbose`);
}
