// Which test files exist, which of them were asked for, and how may each be run?

import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface TestFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  /** Tests with real processes run one at a time, so that they do not slow each other down. */
  readonly isAlone: boolean;
  readonly limitMs: number;
}

const SKIPPED = new Set(['node_modules', 'build', 'dist', 'coverage']);
const LIMIT_MS = 60_000;
const ALONE_LIMIT_MS = 170_000;

export function findTestFiles(root: string): readonly TestFile[] {
  return [...walk(root)]
    .map((path) => relative(root, path))
    .toSorted()
    .map((path) => {
      const isAlone = /(^|\/)e2e\/|\.e2e\.test\.ts$/.test(path);
      return { path, isAlone, limitMs: isAlone ? ALONE_LIMIT_MS : LIMIT_MS };
    });
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
