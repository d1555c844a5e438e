// Which files make up a static tlog-tiles tree, and where are they read from? A folder, or whatever
// else can answer for a path, such as a web server or an archive.

import type { Files } from './files.ts';
import { TILE_WIDTH, formatTilePath, parseTilePath } from './tiles.ts';
import type { TilePath } from './tiles.ts';

export type StaticPath = Exclude<TilePath, { readonly kind: 'checkpoint' }>;

export interface StaticSource {
  /** Undefined when there is no such file. `path` is relative, such as `tile/0/x001/234`. */
  read(path: string, bytesMax: number): Promise<Uint8Array | undefined>;
  /** Names of files and folders in a folder; left out where nobody can tell (HTTP). */
  list?(folder: string): Promise<readonly string[]>;
}

export function folderSource(files: Files, dir: string): StaticSource {
  const place = dir.replace(/\/+$/, '');
  return {
    read: (path, bytesMax) => files.readWhole(`${place}/${path}`, bytesMax),
    list: (folder) => files.list(folder === '' ? place : `${place}/${folder}`),
  };
}

/** How many hashes there are at a level of a tree: roots of complete subtrees. */
export function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

export function levelsOf(size: number): number {
  let levels = 0;
  while (hashesAt(levels, size) > 0) levels += 1;
  return levels;
}

/** Of the tile or bundle with that number in a tree with `count` hashes at its level. */
export function widthOf(number: number, count: number): number {
  return Math.min(TILE_WIDTH, count - number * TILE_WIDTH);
}

export interface ExtraFiles {
  /** Partial tiles and bundles that the tree has outgrown; they must agree with what it has. */
  readonly partials: readonly StaticPath[];
  /** Whatever else lies there. It is no part of the log, and nothing is said about it. */
  readonly unknown: readonly string[];
}

const UNKNOWN_MAX = 100;

/** Looks through the folders in which files of a tree of that size can be. */
export async function extraFiles(source: StaticSource, size: number): Promise<ExtraFiles> {
  const partials: StaticPath[] = [];
  const unknown: string[] = [];
  const expected = expectedPaths(size);
  const waiting = ['', ...foldersOf(expected)];
  const known = new Set(waiting);
  for (let folder = waiting.shift(); folder !== undefined; folder = waiting.shift()) {
    for (const name of await namesIn(source, folder)) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (path === 'checkpoint' || expected.has(path) || known.has(path)) continue;
      if (path.endsWith('.p') && expected.has(path.slice(0, -2))) {
        known.add(path);
        waiting.push(path);
        continue;
      }
      const tile = parseTilePath(path);
      const full = path.replace(/\.p\/\d+$/, '');
      const isPart = tile !== undefined && tile.kind !== 'checkpoint' && tile.width < TILE_WIDTH;
      const isKnown = isPart && (expected.has(full) || isEdge(tile, size));
      if (isKnown) partials.push(tile);
      else if (unknown.length < UNKNOWN_MAX) unknown.push(path);
    }
  }
  return { partials, unknown };
}

/** A narrower version of the partial tile at the right edge. */
function isEdge(tile: StaticPath, size: number): boolean {
  const count = hashesAt(tile.kind === 'entries' ? 0 : tile.level, size);
  return tile.width < widthOf(tile.number, count);
}

async function namesIn(source: StaticSource, folder: string): Promise<readonly string[]> {
  try {
    return (await source.list?.(folder)) ?? [];
  } catch {
    // Not there; files that should be in it are reported when they are read.
    return [];
  }
}

function expectedPaths(size: number): ReadonlySet<string> {
  const paths = new Set<string>();
  for (let level = 0; level < levelsOf(size); level++) {
    const count = hashesAt(level, size);
    for (let number = 0; number * TILE_WIDTH < count; number++) {
      const width = widthOf(number, count);
      paths.add(formatTilePath({ kind: 'tile', level, number, width }));
      if (level === 0) paths.add(formatTilePath({ kind: 'entries', number, width }));
    }
  }
  return paths;
}

/** Every folder above one of the paths, each once. */
function foldersOf(paths: ReadonlySet<string>): readonly string[] {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end);
      if (folders.has(folder)) break;
      folders.add(folder);
    }
  }
  return [...folders];
}
