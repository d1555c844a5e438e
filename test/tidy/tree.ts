// Which files does the repository consist of? Reads them all; what is built, installed or hidden
// state is left out.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { isCode, parseSource, type Source } from './source.ts';

const SKIPPED = new Set(['node_modules', 'build', 'dist', 'coverage', '.git', '.kintsugi']);
const TEXT = /\.(ts|mts|mjs|json|ya?ml|md|sh|sql)$|(^|\/)(\.ci\/run|NOTICE|LICENSE)$/;
/** Written by tools, or by other people. */
const FOREIGN = /(^|\/)(package-lock\.json|LICENSE)$/;

export interface Tree {
  readonly root: string;
  /** Every text file by path. */
  readonly texts: ReadonlyMap<string, string>;
  readonly sources: readonly Source[];
}

export function readTree(root: string): Tree {
  const paths = [...walk(root)].map((path) => relative(root, path)).toSorted();
  const texts = new Map(
    paths
      .filter((path) => TEXT.test(path) && !FOREIGN.test(path))
      .map((path) => [path, readFileSync(join(root, path), 'utf8')]),
  );
  const sources = [...texts]
    .filter(([path]) => isCode(path))
    .map(([p, text]) => parseSource(p, text));
  return { root, texts, sources };
}

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (SKIPPED.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile()) yield path;
  }
}
