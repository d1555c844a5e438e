// The service as folders: one good release and one bad one, each with its copy of the SDK's
// source, so that every contender runs the very same files and none depends on where this
// repository lies.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(dirname(import.meta.dirname));

export interface App {
  readonly good: string;
  readonly bad: string;
  /** Compiled code is kept here; for every contender alike. */
  readonly cache: string;
}

export function writeApp(folder: string): App {
  const cache = join(folder, 'cache');
  mkdirSync(cache, { recursive: true });
  return {
    good: writeRelease(join(folder, 'good'), 'good'),
    bad: writeRelease(join(folder, 'bad'), 'bad'),
    cache,
  };
}

export function writeRelease(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'packages', 'sdk', 'src'), join(folder, 'sdk'), { recursive: true });
  const source = readFileSync(join(import.meta.dirname, 'service.ts'), 'utf8');
  const text = source.replace(`'@kintsugi/sdk'`, `'./sdk/index.ts'`);
  if (text === source) throw new Error('service.ts does not import the SDK as expected');
  writeFileSync(join(folder, 'service.ts'), text);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "private": true }\n');
  writeFileSync(join(folder, 'release'), `${name}\n`);
  if (name.startsWith('bad')) writeFileSync(join(folder, 'bad'), '');
  return folder;
}

/** What every contender gives the service: of this shell only what a program needs to run. */
export function appEnvironment(app: App): Record<string, string> {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG'];
  const inherited = names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), NODE_COMPILE_CACHE: app.cache };
}
