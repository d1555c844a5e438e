// Which words make a command, and do its program and script exist here? A text is split as a shell
// would split it, but no shell ever runs: what only a shell understands is refused with the fix.
//
//   CO1. Nothing is run to find out: only the file system is looked at.
//   CO2. A script named by a relative path is inside the release's source, because nothing else is
//        copied into a release.
import { access, constants, readdir, stat } from 'node:fs/promises';
import { basename, delimiter, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { nearest } from './nearest.ts';

export type SplitAnswer =
  | { readonly kind: 'ok'; readonly words: readonly string[] }
  | {
      readonly kind: 'bad';
      readonly found: string;
      readonly expected: string;
      readonly suggestion: string | undefined;
    };

const SHELL_ONLY = /[|&;<>`(]/u;

/** Splits by spaces outside quotes; `\` takes the next character as it is. */
export function splitCommand(text: string): SplitAnswer {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charAt(i);
    if (quote !== '') {
      const escapes = quote === '"' && c === '\\' && /["\\$`]/u.test(text.charAt(i + 1));
      if (c === quote) quote = '';
      else word = (word ?? '') + (escapes ? text.charAt((i += 1)) : c);
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (c === '\\' && i + 1 < text.length) {
      word = (word ?? '') + text.charAt((i += 1));
    } else if (/\s/u.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (SHELL_ONLY.test(c)) return shellOnly(c, text);
    else word = (word ?? '') + c;
  }
  if (quote !== '') return unclosed(quote);
  if (word !== undefined) words.push(word);
  const first = words[0] ?? '';
  if (/^[A-Za-z_][A-Za-z0-9_]*=/u.test(first)) return assigned(first);
  return { kind: 'ok', words };
}

function shellOnly(c: string, text: string): SplitAnswer {
  return {
    kind: 'bad',
    found: `"${c}", which only a shell understands`,
    expected: 'one program and its arguments (no shell runs)',
    suggestion: text.length < 80 && !text.includes('"') ? `[sh, -c, "${text}"]` : undefined,
  };
}

function unclosed(quote: string): SplitAnswer {
  return {
    kind: 'bad',
    found: `a quote ${quote} that is never closed`,
    expected: 'quotes in pairs',
    suggestion: undefined,
  };
}

function assigned(first: string): SplitAnswer {
  const name = first.slice(0, first.indexOf('='));
  return {
    kind: 'bad',
    found: `the variable ${name} before the program`,
    expected: 'the program first; variables belong under env',
    suggestion: `env: { ${name}: … }`,
  };
}

export type CommandAnswer =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'bad';
      readonly found: string;
      readonly expected: string;
      readonly suggestion: string | undefined;
    };

export interface CommandPlace {
  /** Absolute folder that becomes the release. */
  readonly sourceDir: string;
  /** Absolute folder inside it in which the command starts. */
  readonly cwd: string;
  /** The PATH of the replica, Node's own folder in front. */
  readonly path: string;
}

/** Is the program there and executable, and the script of `node SCRIPT` as well? (CO1) */
export async function checkCommand(
  command: readonly string[],
  place: CommandPlace,
): Promise<CommandAnswer> {
  const [program = '', ...words] = command;
  // What a reference will become is known at the start only.
  if (program === '' || program.includes('${')) return { kind: 'ok' };
  const answer = program.includes('/')
    ? await checkFile(program, place, 'executable')
    : await checkOnPath(program, place.path);
  if (answer.kind === 'bad' || !/^node(?:js)?$/u.test(basename(program))) return answer;
  const script = nodeScript(words);
  if (script === undefined || script.includes('${')) return answer;
  return checkFile(script, place, 'script');
}

async function checkOnPath(program: string, path: string): Promise<CommandAnswer> {
  const folders = path.split(delimiter).filter((folder) => isAbsolute(folder));
  for (const folder of folders) {
    if (await isExecutable(join(folder, program))) return { kind: 'ok' };
  }
  const known = await programsIn(folders);
  return {
    kind: 'bad',
    found: `the program ${JSON.stringify(program.slice(0, 60))}, which is not on the PATH`,
    expected: 'a program on the PATH, or a path with a slash such as ./bin/server',
    suggestion: nearest(program, known),
  };
}

const PROGRAMS_MAX = 10_000;

async function programsIn(folders: readonly string[]): Promise<ReadonlySet<string>> {
  const known = new Set<string>();
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    for (const name of names) if (known.size < PROGRAMS_MAX) known.add(name);
  }
  return known;
}

async function checkFile(
  written: string,
  place: CommandPlace,
  want: 'executable' | 'script',
): Promise<CommandAnswer> {
  const file = resolve(place.cwd, written);
  const shown = JSON.stringify(written.slice(0, 120));
  if (!isAbsolute(written) && !isInside(place.sourceDir, file)) {
    return {
      kind: 'bad',
      found: `${shown}, which leaves the source folder`,
      expected: 'a path inside `source`, because only that is copied into a release',
      suggestion: undefined,
    };
  }
  const good = want === 'executable' ? await isExecutable(file) : await isScript(file);
  if (good) return { kind: 'ok' };
  const there = await stat(file).catch(() => undefined);
  const found =
    there?.isFile() === true
      ? `${shown}, which may not be executed`
      : `${shown}, which does not exist`;
  const expected = want === 'script' ? 'a script that Node can load' : 'an executable file';
  return { kind: 'bad', found, expected, suggestion: await nearFile(place, written, file) };
}

async function nearFile(
  place: CommandPlace,
  written: string,
  file: string,
): Promise<string | undefined> {
  const names = await readdir(resolve(file, '..')).catch(() => []);
  const wanted = basename(file);
  const stem = wanted.replace(/\.[^.]*$/u, '');
  const others = names.filter((name) => name !== wanted).slice(0, PROGRAMS_MAX);
  const meant = others.find((name) => /\.[cm]?[jt]s$/u.test(name) && name.startsWith(`${stem}.`));
  const near = meant ?? nearest(wanted, others);
  if (near === undefined) return undefined;
  const path = relative(place.cwd, join(resolve(file, '..'), near));
  return written.startsWith('./') ? `./${path}` : path;
}

export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** Node completes an extension, and takes a folder for its index or its package's main file. */
async function isScript(file: string): Promise<boolean> {
  const ways = ['', '.js', '.cjs', '.mjs', '/index.js', '/index.cjs', '/package.json'];
  for (const end of ways) {
    const found = await stat(`${file}${end}`).catch(() => undefined);
    if (found?.isFile() === true) return true;
  }
  return false;
}

// Options whose value is the next word; the others carry it after "=" or have none.
const VALUED = new Set([
  '--require',
  '-r',
  '--import',
  '--loader',
  '--experimental-loader',
  '--conditions',
  '-C',
  '--env-file',
  '--env-file-if-exists',
  '--title',
  '--inspect-port',
  '--icu-data-dir',
  '--stack-trace-limit',
  '--max-http-header-size',
  '--openssl-config',
  '--watch-path',
]);
const NO_SCRIPT = new Set(['-e', '--eval', '-p', '--print', '--test', '--run', '-i', '-c', '-']);

/** The script that `node WORDS` runs; undefined when it runs none. */
export function nodeScript(words: readonly string[]): string | undefined {
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] ?? '';
    const name = word.replace(/=.*$/u, '');
    if (word === '--') return words[i + 1];
    if (NO_SCRIPT.has(name)) return undefined;
    if (!word.startsWith('-')) return word;
    if (VALUED.has(word)) i += 1;
  }
  return undefined;
}
