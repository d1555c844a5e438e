// How does a package get into a test's folder as `npm install` would leave it, without a network?
// It and all that it needs are copied from this repository's node_modules, with the link in .bin.
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { REPOSITORY } from './run.ts';

interface Package {
  readonly bin?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

export function installInto(folder: string, name: string): void {
  const found = new Set<string>();
  collect(join(REPOSITORY, 'node_modules', name), found);
  for (const path of found) {
    // What lies inside another one comes with it.
    if (path.lastIndexOf('node_modules') !== path.indexOf('node_modules')) continue;
    cpSync(path, join(folder, relative(REPOSITORY, path)), { recursive: true });
  }
  const { bin } = read(join(REPOSITORY, 'node_modules', name));
  if (bin === undefined) return;
  mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
  symlinkSync(join('..', name, bin), join(folder, 'node_modules/.bin', name));
}

function collect(path: string, found: Set<string>): void {
  if (found.has(path)) return;
  found.add(path);
  for (const name of Object.keys(read(path).dependencies ?? {})) {
    collect(resolvePackage(name, path), found);
  }
}

/** As Node looks for it: beside, then further up. */
function resolvePackage(name: string, from: string): string {
  for (let at = from; at.startsWith(REPOSITORY); at = dirname(at)) {
    const path = join(at, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) return path;
  }
  throw new Error(`${name}, which ${from} needs, is not installed`);
}

const read = (path: string): Package =>
  JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Package;
