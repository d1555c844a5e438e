// Runs one test file in a process (and a process group) of its own and says what came of it.
//
// R1. A file that does not end within its limit is ended with everything that it started.
// R2. A file that ran no test, crashed, or left processes behind has failed, whatever else it
//     reported.
// R3. One that steps back, and all that it starts, gets only the time that nobody else wants.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EVENTS_FD, parseEvent, type TestEvent } from './events.ts';
import type { TestFile } from './files.ts';
import { Family, type Leftover, MARK } from './leftovers.ts';

export interface FileResult {
  readonly path: string;
  readonly events: readonly TestEvent[];
  readonly durationMs: number;
  /** Of the process and all that it started. */
  readonly cpuMs: number;
  /** The end of what the process printed. */
  readonly output: string;
}

export interface RunOptions {
  readonly root: string;
  readonly namePattern: string | undefined;
  readonly limitMs: number | undefined;
  /** Beside that of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** See R3. */
  readonly stepsBack?: boolean;
}

const OUTPUT_CHARS_MAX = 16_000;
const NOTICE_EVERY_MS = 400;
/** The last lines of an ended process are in the pipe already. */
const EVENTS_WITHIN_MS = 500;
/** What a test told to stop may still be stopping. */
const LEFTOVER_GRACE_MS = 3_000;
const REPORTER = new URL('./reporter.ts', import.meta.url).href;

export async function runFile(file: TestFile, options: RunOptions): Promise<FileResult> {
  const startedAtMs = performance.now();
  const mark = randomUUID();
  const child = start(file, options, mark);
  const events: TestEvent[] = [];
  const output = collect(child);
  const read = readEvents(child, events);
  const family = new Family(child.pid ?? 0, mark);
  const noticing = setInterval(() => family.notice(), NOTICE_EVERY_MS);
  const ending = await waitForEnd(child, options.limitMs ?? file.limitMs, options.signal);
  clearInterval(noticing);
  family.notice();
  if (ending.kind === 'ended') await Promise.race([read, sleep(EVENTS_WITHIN_MS)]);
  let cpuMs = 0;
  for (const event of events) {
    if (event.kind !== 'leaving') continue;
    family.add(event.kin);
    ({ cpuMs } = event);
  }
  const left = await endLeftovers(child, family, ending.kind !== 'ended');
  for (const stream of child.stdio) stream?.destroy();
  const problem = judge(ending, events, left);
  if (problem !== undefined) events.push(problem);
  const durationMs = performance.now() - startedAtMs;
  cpuMs += family.looseCpuMs();
  return { path: file.path, events, durationMs, cpuMs, output: output() };
}

function start(file: TestFile, options: RunOptions, mark: string): ChildProcess {
  const { NODE_TEST_CONTEXT: _ignored, ...env } = process.env;
  const pattern = options.namePattern;
  const flags = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`];
  const child = spawn(process.execPath, [`--test-reporter=${REPORTER}`, ...flags, file.path], {
    cwd: options.root,
    env: { ...env, ...options.env, [MARK]: mark },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  if (options.stepsBack === true) stepBack(child.pid);
  return child;
}

/** What it starts inherits it. */
function stepBack(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It has ended already.
  }
}

function collect(child: ChildProcess): () => string {
  let text = '';
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString('utf8')).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return () => text;
}

async function readEvents(child: ChildProcess, events: TestEvent[]): Promise<void> {
  const stream = child.stdio[EVENTS_FD] as Readable;
  stream.on('error', () => undefined);
  for await (const line of createInterface({ input: stream })) {
    const event = parseEvent(line);
    if (event !== undefined) events.push(event);
  }
}

type Ending =
  | { readonly kind: 'ended'; readonly status: number | string }
  | { readonly kind: 'stuck'; readonly limitMs: number }
  | { readonly kind: 'interrupted' };

async function waitForEnd(
  child: ChildProcess,
  limitMs: number,
  signal: AbortSignal,
): Promise<Ending> {
  const over = new AbortController();
  const ended = once(child, 'exit').then(
    ([code, by]): Ending => ({ kind: 'ended', status: (code as number) ?? (by as string) }),
    (error: Error): Ending => ({ kind: 'ended', status: error.message }),
  );
  const stuck = sleep(limitMs, undefined, { signal: over.signal }).then(
    (): Ending => ({ kind: 'stuck', limitMs }),
    (): Ending => ({ kind: 'interrupted' }),
  );
  const stop = (): void => over.abort();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([ended, stuck]);
  } finally {
    signal.removeEventListener('abort', stop);
    over.abort();
  }
}

const isDone = (events: readonly TestEvent[]): boolean =>
  events.some(({ kind }) => kind === 'done');

/** R1. Returns what was still alive of a file that ended by itself. */
async function endLeftovers(
  child: ChildProcess,
  family: Family,
  isForced: boolean,
): Promise<readonly Leftover[]> {
  if (isForced && child.pid !== undefined) kill(-child.pid);
  const untilMs = performance.now() + (isForced ? 0 : LEFTOVER_GRACE_MS);
  let left = family.alive();
  while (left.length > 0 && performance.now() < untilMs) {
    await sleep(100);
    left = family.alive();
  }
  for (const { pid } of left) kill(pid);
  if (child.pid !== undefined) kill(-child.pid);
  return isForced ? [] : left;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Ended by itself in between.
  }
}

const COUNTED = new Set<TestEvent['kind']>(['passed', 'failed', 'skipped']);

/** R2. */
function judge(
  ending: Ending,
  events: readonly TestEvent[],
  left: readonly Leftover[],
): TestEvent | undefined {
  const failed = (title: string, error: string): TestEvent => ({ kind: 'failed', title, error });
  const started = events.filter(({ kind }) => kind === 'started').length;
  const counted = events.filter(({ kind }) => COUNTED.has(kind)).length;
  const running = events.findLast(({ kind }) => kind === 'started');
  const last = running?.kind === 'started' ? running.title : '(not in a test)';
  if (ending.kind === 'interrupted') return failed('(interrupted)', `interrupted in: ${last}`);
  if (ending.kind === 'stuck')
    return failed(
      '(stuck)',
      `ended after ${ending.limitMs / 1000} s, last begun: ${last}; if its tests are done, a ` +
        'timer, a socket or a child process was left open',
    );
  const hasFailed = events.some(({ kind }) => kind === 'failed');
  if (ending.status !== 0 && !hasFailed)
    return failed('(crashed)', `the process ended with ${ending.status}, in: ${last}`);
  if (counted === 0 && started === 0) return failed('(no tests)', 'the file contains no test');
  if (!isDone(events) && !hasFailed) return failed('(crashed)', `ended early, in: ${last}`);
  if (counted === 0) return failed('(no tests)', 'no test of the file was run');
  if (left.length > 0)
    return failed(
      '(left processes behind)',
      left.map(({ pid, command }) => `${pid} ${command}`).join('\n'),
    );
  return undefined;
}

export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
