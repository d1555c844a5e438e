// What would a manifest for this folder look like? Reads what is there (package.json, lock files,
// Dockerfile, Procfile, the entry file) and writes a manifest with comments, plus the few questions
// that only a person can answer.
//
//   GU1. Nothing is executed or imported, and every file is read with a limit.
//   GU2. What comes out is a manifest that `loadManifest` accepts once its program exists.
import { constants } from 'node:fs';
import { open, readdir, realpath } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { nodeScript, splitCommand } from './command.ts';
import { clues, framework, packageOf } from './guess-clues.ts';
import type { Clues, PackageFile } from './guess-clues.ts';
import { writeGuess } from './guess-text.ts';
import { likelyName } from './nearest.ts';

export type QuestionId = 'name' | 'command' | 'port' | 'health';

export interface GuessQuestion {
  readonly id: QuestionId;
  readonly ask: string;
  /** What holds when nobody answers. */
  readonly guess: string;
  readonly why: string;
}

export interface ManifestGuess {
  readonly yaml: string;
  readonly questions: readonly GuessQuestion[];
}

export interface Guessed {
  readonly name: string;
  readonly command: readonly string[];
  readonly commandFrom: string;
  readonly variables: ReadonlyMap<string, string>;
  /** 0: the program reads PORT. */
  readonly port: number;
  readonly portFrom: string;
  /** Empty: TCP. */
  readonly health: string;
  readonly clues: Clues;
  readonly framework: string | undefined;
}

/** Guesses from the folder; `answers` to an earlier guess's questions go before the guesses. */
export async function guessManifest(
  folder: string,
  answers: Partial<Readonly<Record<QuestionId, string>>> = {},
): Promise<ManifestGuess> {
  const dir = await realpath(resolve(folder));
  const files = new Set(await readdir(dir).catch(() => []));
  const pack = packageOf(await readText(join(dir, 'package.json')));
  const found = await commandOf(dir, files, pack, answers.command);
  const entry = entryOf(found.command);
  const seen = clues(entry === undefined ? '' : await readText(join(dir, entry)), pack);
  const docker = await readText(join(dir, 'Dockerfile'));
  const port = portOf(seen, docker, found.words, answers.port);
  const name = answers.name ?? pack.name ?? basename(dir);
  const guess: Guessed = {
    name: likelyName(name.replace(/^@[^/]*\//u, ''), 'name') ?? 'app',
    command: found.command,
    commandFrom: found.from,
    variables: found.variables,
    ...port,
    health: healthOf(seen, answers.health),
    clues: seen,
    framework: framework(pack),
  };
  return { yaml: writeGuess(guess), questions: questionsOf(guess, answers) };
}

const READ_BYTES_MAX = 256 * 1024;

/** The start of a text file, or nothing. */
async function readText(path: string): Promise<string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return '';
      const { bytesRead, buffer } = await file.read(Buffer.alloc(READ_BYTES_MAX), 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}

interface FoundCommand {
  readonly command: readonly string[];
  readonly from: string;
  readonly variables: ReadonlyMap<string, string>;
  /** Every text that was looked at, for the port. */
  readonly words: string;
}

async function commandOf(
  dir: string,
  files: ReadonlySet<string>,
  pack: PackageFile,
  answer: string | undefined,
): Promise<FoundCommand> {
  if (answer !== undefined) {
    const split = splitCommand(answer);
    const command = split.kind === 'ok' ? split.words : ['sh', '-c', answer];
    return plainCommand(command, 'as you said');
  }
  const manager = managerOf(files);
  if (pack.start !== undefined) return fromScript(pack.start, [manager, 'run', 'start']);
  const main = pack.main ?? ENTRIES.find((name) => files.has(name));
  if (main !== undefined) return plainCommand(['node', main], 'the entry file of the package');
  const procfile = /^web:\s*(.+)$/mu.exec(await readText(join(dir, 'Procfile')))?.[1];
  if (procfile !== undefined) return fromScript(procfile, ['sh', '-c', procfile]);
  const docker = dockerCommand(await readText(join(dir, 'Dockerfile')));
  if (docker !== undefined) return plainCommand(docker, 'CMD of the Dockerfile');
  if (files.has('manage.py')) {
    const django = ['python3', 'manage.py', 'runserver', '--noreload', '127.0.0.1:${port}'];
    return plainCommand(django, 'manage.py');
  }
  const python = ['app.py', 'main.py', 'server.py'].find((name) => files.has(name));
  if (python !== undefined) return plainCommand(['python3', python], python);
  return plainCommand(['node', 'server.js'], 'a guess: nothing in this folder says it');
}

const ENTRIES = ['server.js', 'server.ts', 'index.js', 'index.ts', 'app.js', 'main.js', 'main.ts'];

function plainCommand(command: readonly string[], from: string): FoundCommand {
  return { command, from, variables: new Map(), words: command.join(' ') };
}

function managerOf(files: ReadonlySet<string>): string {
  if (files.has('pnpm-lock.yaml')) return 'pnpm';
  if (files.has('yarn.lock')) return 'yarn';
  return files.has('bun.lock') || files.has('bun.lockb') ? 'bun' : 'npm';
}

/** A script that needs no shell is run directly: one process less between us and the program. */
function fromScript(script: string, whole: readonly string[]): FoundCommand {
  const variables = new Map<string, string>();
  let rest = script.trim();
  // Each turn takes one assignment off the front.
  for (let m = ASSIGNMENT.exec(rest); m !== null; m = ASSIGNMENT.exec(rest)) {
    variables.set(m[1] ?? '', m[2] ?? '');
    rest = rest.slice(m[0].length);
  }
  const split = splitCommand(rest);
  const words = split.kind === 'ok' ? split.words : [];
  const direct = ['node', 'deno', 'bun', 'python3', 'python'].includes(words[0] ?? '');
  if (!direct || rest.includes('$')) {
    return { command: whole, from: 'the start script', variables: new Map(), words: script };
  }
  return { command: words, from: 'the start script', variables, words: script };
}

const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=([^\s"'$`\\]*)\s+/u;

function dockerCommand(docker: string): readonly string[] | undefined {
  const line = [...docker.matchAll(/^(?:CMD|ENTRYPOINT)\s+(\[.*\])\s*$/gmu)].at(-1)?.[1];
  if (line === undefined) return undefined;
  try {
    const words: unknown = JSON.parse(line);
    const texts =
      Array.isArray(words) && words.length > 0 && words.every((w) => typeof w === 'string');
    return texts ? words : undefined;
  } catch {
    return undefined;
  }
}

function entryOf(command: readonly string[]): string | undefined {
  const [program = '', ...words] = command;
  if (program === 'node') return nodeScript(words);
  return words.find((word) => /\.(?:[cm]?[jt]s|py)$/u.test(word));
}

function portOf(
  seen: Clues,
  docker: string,
  words: string,
  answer: string | undefined,
): Pick<Guessed, 'port' | 'portFrom'> {
  if (answer !== undefined) {
    const port = Number(answer);
    const fixed = Number.isInteger(port) && port > 0 && port <= 65_535;
    return { port: fixed ? port : 0, portFrom: 'as you said' };
  }
  if (seen.readsPort) return { port: 0, portFrom: 'the program reads PORT' };
  const flag = /(?:--port|-p)[= ](\d{2,5})\b/u.exec(words)?.[1];
  if (flag !== undefined) return { port: Number(flag), portFrom: 'the start command' };
  if (seen.port !== undefined)
    return { port: seen.port, portFrom: 'a fixed port in the entry file' };
  const exposed = /^EXPOSE\s+(\d{2,5})\b/mu.exec(docker)?.[1];
  if (exposed !== undefined && Number(exposed) <= 65_535) {
    return { port: Number(exposed), portFrom: 'EXPOSE of the Dockerfile' };
  }
  return { port: 0, portFrom: 'a guess: nothing says which port it listens on' };
}

function healthOf(seen: Clues, answer: string | undefined): string {
  const path = answer ?? seen.health ?? '';
  return /^\/[\w./-]{0,100}$/u.test(path) && !path.includes('//') ? path : '';
}

function questionsOf(
  guess: Guessed,
  answers: Partial<Readonly<Record<QuestionId, string>>>,
): readonly GuessQuestion[] {
  const all: GuessQuestion[] = [
    {
      id: 'command',
      ask: 'Which command starts the service?',
      guess: guess.command.join(' '),
      why: `guessed from ${guess.commandFrom}`,
    },
    {
      id: 'port',
      ask: 'Which port does it listen on? (0: it reads the variable PORT)',
      guess: String(guess.port),
      why: guess.portFrom,
    },
    {
      id: 'health',
      ask: 'Which path answers 200 when it is ready? (empty: only open a connection)',
      guess: guess.health,
      why: guess.health === '' ? 'none was found in the entry file' : 'found in the entry file',
    },
  ];
  return all.filter((question) => answers[question.id] === undefined);
}
