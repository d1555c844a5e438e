// How are processes started without stopping the controller for it? Through the launcher (see
// `launcher-process.ts`), kept up here.
//
//   LA2. Each launch gets exactly one answer, and each launched process exactly one end: its exit,
//        or `lost` when the launcher died first (then it must be polled for).
//   LA3. A launcher that died is replaced at the next launch.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { extname, join } from 'node:path';

export interface LaunchOrder {
  readonly n: number;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Opened for appending, for its standard output and error. */
  readonly log: string;
}

export type LaunchReport =
  | { readonly n: number; readonly kind: 'launched'; readonly pid: number }
  | { readonly n: number; readonly kind: 'refused'; readonly code: string }
  | {
      readonly n: number;
      readonly kind: 'ended';
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
    };

export type End =
  | { readonly kind: 'exit'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: 'lost' };

export type LaunchAnswer =
  | { readonly kind: 'launched'; readonly pid: number; readonly end: Promise<End> }
  | { readonly kind: 'refused'; readonly code: string };

export interface Launcher {
  launch(order: Omit<LaunchOrder, 'n'>): Promise<LaunchAnswer>;
  /** The launcher ends; what it launched goes on, and no end is reported any more. */
  close(): void;
}

interface Waiting {
  readonly answer: PromiseWithResolvers<LaunchAnswer>;
  readonly end: PromiseWithResolvers<End>;
}

const ANSWER_MS = 5_000;

const PROGRAM = join(import.meta.dirname, `launcher-process${extname(import.meta.filename)}`);

export function openLauncher(): Launcher {
  const waiting = new Map<number, Waiting>();
  let child: ChildProcess | undefined = spawnLauncher();
  let count = 0;
  let closed = false;

  function hear(message: LaunchReport): void {
    const entry = waiting.get(message.n);
    if (entry === undefined) return;
    switch (message.kind) {
      case 'launched':
        entry.answer.resolve({ kind: 'launched', pid: message.pid, end: entry.end.promise });
        return;
      case 'refused':
        waiting.delete(message.n);
        entry.answer.resolve({ kind: 'refused', code: message.code });
        return;
      case 'ended':
        waiting.delete(message.n);
        entry.end.resolve({ kind: 'exit', code: message.code, signal: message.signal });
    }
  }
  function lose(): void {
    child = undefined;
    if (closed) return;
    for (const [n, entry] of waiting) {
      waiting.delete(n);
      // Launched or not, nobody knows: the record of the intent and its mark will tell (PD1).
      entry.answer.resolve({ kind: 'refused', code: 'EINTR' });
      entry.end.resolve({ kind: 'lost' });
    }
  }
  function listen(to: ChildProcess): ChildProcess {
    to.on('message', (message) => hear(message as LaunchReport));
    to.on('error', lose);
    to.on('exit', lose);
    to.unref();
    to.channel?.unref();
    return to;
  }
  listen(child);
  return {
    launch(order) {
      const n = (count += 1);
      const entry: Waiting = {
        answer: Promise.withResolvers<LaunchAnswer>(),
        end: Promise.withResolvers<End>(),
      };
      waiting.set(n, entry);
      child ??= listen(spawnLauncher());
      const asked = child;
      // One that hangs would hold every start for ever; a fresh one takes its place (LA3).
      const late = setTimeout(() => asked.kill('SIGKILL'), ANSWER_MS);
      late.unref();
      void entry.answer.promise.finally(() => clearTimeout(late));
      child.send({ ...order, n }, (error) => {
        if (error !== null) hear({ n, kind: 'refused', code: 'EINTR' });
      });
      return entry.answer.promise;
    },
    close() {
      closed = true;
      if (child?.connected === true) child.disconnect();
    },
  };
}

function spawnLauncher(): ChildProcess {
  // Nothing but where compiled code is kept, without which its start takes twice as long: whatever
  // a replica may know is in its order (LA1).
  const { NODE_COMPILE_CACHE } = process.env;
  return spawn(process.execPath, ['--max-old-space-size=64', PROGRAM], {
    env: NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}
