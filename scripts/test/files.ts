// Which test files exist, which of them were asked for, and how may each be run?

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface TestFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  /** Under load, healing is judged by what clients see: such files say `Runs alone`, and do. */
  readonly isAlone: boolean;
  readonly limitMs: number;
}

const SKIPPED = new Set(['node_modules', 'build', 'dist', 'coverage']);
const LIMIT_MS = 60_000;
const LONG_LIMIT_MS = 170_000;
const HEAD_CHARS = 2_000;

export function findTestFiles(root: string): readonly TestFile[] {
  return [...walk(root)]
    .map((path) => relative(root, path))
    .toSorted()
    .map((path) => {
      const isLong = /(^|\/)e2e\/|\.e2e\.test\.ts$/.test(path);
      const isAlone = isLong && saysAlone(join(root, path));
      return { path, isAlone, limitMs: isLong ? LONG_LIMIT_MS : LIMIT_MS };
    })
    .toSorted((a, b) => b.limitMs - a.limitMs);
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
