// How does a bad-input test call a program? In a process of its own, as this or another user; and
// what must every refusal look like: one error with code and cause, one fix, one exit status.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = resolve(fileURLToPath(import.meta.url), '../../../..');
export const LAUNCHER = join(REPOSITORY, 'bin/kintsugi.mjs');

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Also its group; only root may. */
  readonly uid?: number;
}

const TIMEOUT_MS = 120_000;

/** Nothing of the developer's own settings is seen. */
export function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { PATH = '', HOME = '/', TMPDIR } = process.env;
  const temporary = TMPDIR === undefined ? {} : { TMPDIR };
  return { PATH, HOME, NO_COLOR: '1', USER: 'tester', ...temporary, ...more };
}

export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const user = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid };
  const child = spawn(file, args, {
    cwd: options.cwd ?? '/',
    env: environment(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  });
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.out += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.err += chunk));
  const late = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(late);
  return { code, ...text };
}

export const kintsugi = (args: readonly string[], options: RunOptions = {}): Promise<Ran> =>
  run(process.execPath, [LAUNCHER, ...args], options);

export interface Refusal {
  readonly code: string;
  readonly exit: number;
  /** Each must be said: the cause, with its place. */
  readonly says: readonly RegExp[];
}

/** One error, one fix, and never a stack. */
export function assertRefused(ran: Ran, { code, exit, says }: Refusal): void {
  const all = `exit ${ran.code}\n${ran.out}${ran.err}`;
  const errors = [...ran.err.matchAll(/^error (KIN_[A-Z_]+): \S/gmu)].map((found) => found[1]);
  assert.deepEqual(errors, [code], all);
  assert.equal(ran.err.match(/^fix: \S.+/gmu)?.length, 1, all);
  assert.doesNotMatch(ran.err, /^\s+at .+:\d+/mu, all);
  for (const said of says) assert.match(ran.err, said, all);
  assert.equal(ran.code, exit, all);
}
