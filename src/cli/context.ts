// What does a command get to work with? The terminal, the options that every command has, a clock,
// and the interruption by the user; tests hand in their own.
import { setTimeout as sleep } from 'node:timers/promises';
import { paintFor } from './style.ts';
import type { Paint } from './style.ts';

export interface Globals {
  readonly json: boolean;
  readonly state: string | undefined;
  readonly manifest: string | undefined;
  readonly gatewayPort: number | undefined;
  readonly controlPort: number | undefined;
}

export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTty: boolean;
  readonly columns: () => number;
  readonly rows: () => number;
}

export interface Context {
  readonly term: Terminal;
  readonly paint: Paint;
  readonly globals: Globals;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly nowMs: () => number;
  /** Ends early, without an error, when the signal is aborted. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export function processContext(globals: Globals): Context {
  const { stdout, stderr, env } = process;
  const isTty = stdout.isTTY;
  return {
    term: {
      out: (text) => void stdout.write(text),
      err: (text) => void stderr.write(text),
      isTty,
      columns: () => (isTty ? Math.max(40, stdout.columns) : 100),
      rows: () => (isTty ? Math.max(10, stdout.rows) : 10_000),
    },
    paint: paintFor(isTty, env),
    globals,
    env,
    cwd: process.cwd(),
    nowMs: () => Date.now(),
    sleep: quietSleep,
  };
}

export async function quietSleep(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}

export const lines = (context: Context, all: readonly string[]): void =>
  context.term.out(`${all.join('\n')}\n`);

/** `--json` prints one value on one line for one answer. */
export function answer(context: Context, value: unknown, text: () => readonly string[]): void {
  if (context.globals.json) context.term.out(`${JSON.stringify(value)}\n`);
  else lines(context, text());
}

export interface Interruption {
  /** Aborted at the first Ctrl-C, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** Called at the second one. */
  onForce(listener: () => void): void;
  end(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** From here on the user's Ctrl-C is ours to answer. */
export function watchInterruption(): Interruption {
  const controller = new AbortController();
  const listeners: (() => void)[] = [];
  const heard = (signal: NodeJS.Signals): void => {
    if (!controller.signal.aborted) controller.abort(signal);
    else for (const listener of listeners) listener();
  };
  for (const signal of SIGNALS) process.on(signal, heard);
  return {
    signal: controller.signal,
    onForce: (listener) => void listeners.push(listener),
    end: () => {
      for (const signal of SIGNALS) process.off(signal, heard);
    },
  };
}
