// `npm test`: runs every `*.test.ts` of the repository and says what passed.
//   npm test                      everything
//   npm test -- loop gateway      files whose path contains one of the words
//   npm test -- --name REGEX      tests whose title matches
//   npm test -- --limit-s 20      ends a file after 20 s instead of its usual limit
//   npm test -- --times           prints the CPU seconds of each file as well, the largest first
//
// T1. The last line is `N passed, N failed` (and `, N skipped`); the exit status tells the same.
// T2. Finding no test is a failure.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { TestEvent } from './test/events.ts';
import { findTestFiles, selectFiles, type TestFile } from './test/files.ts';
import { type FileResult, repositoryRoot, runFile, type RunOptions } from './test/run-file.ts';

const BUDGET_S = 300;
const SIDE_BY_SIDE_MAX = 4;
const OUTPUT_LINES_MAX = 40;
const TIMES_MAX = 40;

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      'limit-s': { type: 'string' },
      times: { type: 'boolean', default: false },
      root: { type: 'string', default: repositoryRoot },
    },
  });
  const startedAtMs = performance.now();
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort());
  const limit = values['limit-s'];
  // What costs seconds to make and is the same for many files, made once (test/store/template.ts).
  const templates = mkdtempSync(join(tmpdir(), 'kintsugi-templates-'));
  const options: RunOptions = {
    root: values.root,
    env: { KINTSUGI_TEST_TEMPLATES: templates },
    namePattern: values.name,
    limitMs: limit === undefined ? undefined : Number(limit) * 1000,
    signal: abort.signal,
  };
  const files = selectFiles(findTestFiles(values.root), positionals);
  const results: FileResult[] = [];
  const totals = await runAll(files, options, results);
  rmSync(templates, { recursive: true, force: true });
  if (values.times) showTimes(results);
  const seconds = (performance.now() - startedAtMs) / 1000;
  return conclude(totals, files.length, seconds, abort.signal.aborted);
}

async function runAll(
  files: readonly TestFile[],
  options: RunOptions,
  results: FileResult[],
): Promise<Totals> {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  // Most of them wait for processes most of the time: one more than there are cores.
  const lanes = Math.max(1, Math.min(availableParallelism() + 1, SIDE_BY_SIDE_MAX));
  const alone = files.filter(({ isAlone }) => isAlone);
  const isLater = ({ isPure }: TestFile): boolean => isPure && alone.length > 0;
  const together = files.filter((file) => !file.isAlone && !isLater(file));
  const beside = files.filter((file) => !file.isAlone && isLater(file));
  const play = async (queue: TestFile[], own: RunOptions): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      if (options.signal.aborted) return;
      const result = await runFile(file, own);
      results.push(result);
      show(result, totals, options.namePattern !== undefined);
    }
  };
  await Promise.all(Array.from({ length: lanes }, () => play(together, options)));
  // While one runs alone most of the machine is idle: enough for what only computes. What is left
  // of that when it has ended needs to step back no more.
  const rest = play(alone, options).then(() =>
    Promise.all(Array.from({ length: lanes }, () => play(beside, options))),
  );
  await Promise.all([rest, play(beside, { ...options, stepsBack: true })]);
  return totals;
}

function show(result: FileResult, totals: Totals, isFiltered: boolean): void {
  const of = (kind: TestEvent['kind']): readonly TestEvent[] =>
    result.events.filter((event) => event.kind === kind);
  // With a filter on titles, a file without a match is no fault of that file.
  const isNoMatch =
    isFiltered && of('failed').length === 1 && titleOf(of('failed')[0]) === '(no tests)';
  if (isNoMatch) return;
  const counts = { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
  totals.passed += counts.passed.length;
  totals.failed += counts.failed.length;
  totals.skipped += counts.skipped.length;
  const words = (['passed', 'failed', 'skipped'] as const)
    .filter((kind) => counts[kind].length > 0)
    .map((kind) => `${counts[kind].length} ${kind}`);
  const sign = counts.failed.length > 0 ? '✗' : '✓';
  print(`${sign} ${result.path}  ${words.join(', ')}  ${(result.durationMs / 1000).toFixed(1)} s`);
  for (const event of result.events) showEvent(event);
  if (counts.failed.length > 0 && result.output.trim() !== '') {
    print(`    it printed:`);
    print(indent(result.output.trim().split('\n').slice(-OUTPUT_LINES_MAX).join('\n'), 6));
  }
}

function showEvent(event: TestEvent): void {
  if (event.kind === 'skipped') {
    const because = event.reason === '' || event.reason === 'true' ? '' : `: ${event.reason}`;
    print(`    skipped  ${event.title}${because}`);
  }
  if (event.kind !== 'failed') return;
  print(`    FAILED   ${event.title}`);
  print(indent(event.error, 6));
}

function showTimes(results: readonly FileResult[]): void {
  const sorted = results.toSorted((a, b) => b.cpuMs - a.cpuMs);
  const row = (cpuMs: number, what: string): void =>
    print(`${(cpuMs / 1000).toFixed(1).padStart(8)}  ${what}`);
  print('\nCPU seconds, with all processes that a file started:');
  for (const { cpuMs, path } of sorted.slice(0, TIMES_MAX)) row(cpuMs, path);
  const sum = sorted.reduce((ms, each) => ms + each.cpuMs, 0);
  row(sum, `all ${sorted.length} files`);
}

function conclude(totals: Totals, files: number, seconds: number, isAborted: boolean): number {
  const { passed, failed, skipped } = totals;
  const isEmpty = passed + failed === 0;
  if (isEmpty) print('no test was run: nothing matches, which is a failure and not a success');
  if (isAborted) print('interrupted: the remaining files were not run');
  if (seconds > BUDGET_S) print(`slow: ${seconds.toFixed(0)} s, the budget is ${BUDGET_S} s`);
  print(`\n${files} files in ${seconds.toFixed(1)} s`);
  const all = failed + (isEmpty ? 1 : 0);
  print(`${passed} passed, ${all} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return isAborted ? 130 : all > 0 ? 1 : 0;
}

const titleOf = (event: TestEvent | undefined): string | undefined =>
  event !== undefined && 'title' in event ? event.title : undefined;

const indent = (text: string, by: number): string => text.replaceAll(/^/gm, ' '.repeat(by));

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main();
