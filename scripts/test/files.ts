// Which test files exist, which of them were asked for, and how may each be run?

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface TestFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  /** Under load, healing is judged by what clients see: such files say `Runs alone`, and do. */
  readonly isAlone: boolean;
  /** Only computes: in the background it disturbs nobody, not even one that runs alone. */
  readonly isPure: boolean;
  readonly limitMs: number;
  /** About what it costs, to begin with the longest: the last lane to end decides. */
  readonly costS: number;
}

const SKIPPED = new Set(['node_modules', 'build', 'dist', 'coverage']);
const LIMIT_MS = 60_000;
const LONG_LIMIT_MS = 170_000;
const ALONE_LIMIT_MS = 280_000;
const HEAD_CHARS = 2_000;
/**
 * CPU seconds as `npm test -- --times` prints them, more where it waits for long. Only the order of
 * the files hangs on it.
 */
const COSTS_S: readonly (readonly [string, number])[] = [
  ['test/e2e/bad-input.test.ts', 30],
  ['test/e2e/control.test.ts', 25],
  ['test/store/embedded.test.ts', 16],
  ['test/drivers/process.test.ts', 15],
  ['test/e2e/ledger.test.ts', 15],
  ['test/e2e/fresh.test.ts', 14],
  ['test/gateway/faults.test.ts', 13],
  ['test/cli/e2e.test.ts', 11],
  ['test/scripts/test.test.ts', 10],
  ['test/scripts/packages.test.ts', 9],
  ['packages/ledger/test/flips.test.ts', 9],
  ['test/e2e/any-service.test.ts', 8],
  ['test/examples/clinic-database.test.ts', 8],
  ['packages/ledger/test/static.test.ts', 7],
  ['packages/ledger/test/private/erasure-crash.test.ts', 7],
  ['test/sim/crash-points.test.ts', 7],
  ['packages/ledger/test/crash.test.ts', 6],
  ['test/manifest/hostile.test.ts', 5],
  ['test/examples/clinic-drills.test.ts', 5],
  ['packages/ledger/test/stores.test.ts', 5],
];
/** They compute: no processes, next to no sockets and disk. */
const PURE = [
  'packages/ledger/test/flips.',
  'packages/ledger/test/tiles.',
  'test/api/',
  'test/gateway/fair/',
  'test/gateway/http/differential.',
  'test/gateway/http/head.',
  'test/loop/',
  'test/manifest/',
  'test/scenarios/',
  'test/sim/',
  'test/tenancy/',
];
const COST_S = 1;
/** From here on a machine that is busy with other things as well needs more than the usual time. */
const LONG_S = 10;

export function findTestFiles(root: string): readonly TestFile[] {
  return [...walk(root)]
    .map((path) => relative(root, path))
    .toSorted()
    .map((path) => {
      const isLong = /(^|\/)e2e\/|\.e2e\.test\.ts$/.test(path);
      const isAlone = isLong && saysAlone(join(root, path));
      const costS = costOf(path);
      const longMs = isLong || costS >= LONG_S ? LONG_LIMIT_MS : LIMIT_MS;
      const isPure = PURE.some((folder) => path.startsWith(folder));
      // In the background it may wait for long.
      const limitMs = isAlone ? ALONE_LIMIT_MS : isPure ? LONG_LIMIT_MS : longMs;
      return { path, isAlone, isPure, limitMs, costS };
    })
    .toSorted((a, b) => b.costS - a.costS);
}

function costOf(path: string): number {
  return COSTS_S.find(([name]) => path === name)?.[1] ?? COST_S;
}

function saysAlone(path: string): boolean {
  const end = readFileSync(path, 'utf8').slice(0, HEAD_CHARS);
  return /^\/\/.*\bRuns alone\b/m.test(end);
}

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.') || SKIPPED.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile() && entry.name.endsWith('.test.ts')) yield path;
  }
}

/** A pattern is a part of a path; several patterns add up. None means all. */
export function selectFiles(
  files: readonly TestFile[],
  patterns: readonly string[],
): readonly TestFile[] {
  if (patterns.length === 0) return files;
  return files.filter(({ path }) => patterns.some((pattern) => path.includes(pattern)));
}
