// The simulated hours: not a matter of time but of correctness, in the table because it is a bar
// of the same list. It runs what `npm run sim` runs, with the same seeds for everybody.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { bar } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs } from '../clock.ts';
import { msText } from '../numbers.ts';
import { owned } from '../processes.ts';

const root = dirname(dirname(dirname(import.meta.dirname)));
const HOURS = 10;

/** Each in a process of its own, half of the seeds for each. */
const PROCESSES = 2;

export async function simRow(bench: Bench): Promise<RowReport> {
  const seeds = bench.options.quick ? 10 : 200;
  bench.say(`sim: ${seeds} seeds of ${HOURS} hours`);
  const fromMs = nowMs();
  const each = seeds / PROCESSES;
  const parts = await Promise.all(
    Array.from({ length: PROCESSES }, (_, i) => simulate(1 + i * each, each)),
  );
  const tookMs = nowMs() - fromMs;
  const reports = parts.flatMap((part) => part.reports);
  const violations = reports.reduce((sum, report) => sum + (report.violations?.length ?? 0), 0);
  const sumOf = (key: 'faults' | 'incidents' | 'acts'): string =>
    String(reports.reduce((sum, report) => sum + (report[key] ?? 0), 0));
  const isWhole = reports.length === seeds && parts.every((part) => part.code === 0);
  return {
    name: 'sim',
    title: `simulation: ${seeds} seeds of ${HOURS} hours with random faults`,
    table: [
      ['', 'seeds', 'hours', 'faults', 'incidents', 'acts', 'violations', 'wall time'],
      [
        'Kintsugi',
        String(reports.length),
        String(reports.length * HOURS),
        sumOf('faults'),
        sumOf('incidents'),
        sumOf('acts'),
        String(violations),
        msText(tookMs),
      ],
    ],
    bars: [
      bar(
        'checker violations',
        `0 in ${seeds * HOURS} h`,
        `${violations} in ${reports.length * HOURS} h`,
        violations === 0 && isWhole,
      ),
    ],
    notes: reports
      .filter((report) => (report.violations?.length ?? 0) > 0)
      .map((report) => `seed ${report.seed}: ${JSON.stringify(report.violations?.[0])}`),
    inside: [],
    data: { tookMs, codes: parts.map((part) => part.code), seeds: reports.length, violations },
  };
}

/** What is used here of the line that the simulation prints for each seed. */
interface SeedLine {
  readonly seed: number;
  readonly violations?: readonly unknown[];
  readonly faults?: number;
  readonly incidents?: number;
  readonly acts?: number;
}

interface Part {
  readonly code: number | null;
  readonly reports: readonly SeedLine[];
}

async function simulate(from: number, seeds: number): Promise<Part> {
  const script = join(root, 'test', 'sim', 'sim.ts');
  const args = ['--from', String(from), '--seeds', String(seeds), '--hours', String(HOURS)];
  const child = owned(
    spawn(process.execPath, [script, ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  const lines = out.split('\n').filter((line) => line.startsWith('{'));
  return { code, reports: lines.map((line) => JSON.parse(line) as SeedLine) };
}
