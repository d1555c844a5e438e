// How does somebody who takes part in the gateway benches run? As a process on one core, with a
// free port, known CPU time and memory, and gone at the end of the row.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { atEnd, freePorts, isAlive, owned, statOf } from '../heal/processes.ts';

export function which(name: string): string | undefined {
  for (const folder of `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':')) {
    const path = join(folder, name);
    if (folder !== '' && existsSync(path)) return path;
  }
  return undefined;
}

export const hasTaskset = which('taskset') !== undefined;

export function pinned(core: number, command: readonly string[]): string[] {
  return hasTaskset ? ['taskset', '-c', String(core), ...command] : [...command];
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

export async function untilListening(port: number, child?: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (child !== undefined && child.exitCode !== null) break;
    const socket = connect(port, '127.0.0.1');
    const answer = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nobody listens on ${port}`);
}

/** What the current row started and has not stopped. */
const running = new Set<ChildProcess>();

/** After each row, also one that broke off: nothing of it disturbs the next. */
export async function endRow(): Promise<void> {
  for (const child of running) await end(child);
}

// Also on Ctrl-C: nginx's workers outlive their master when that is killed.
atEnd(endRow);

export interface Peer {
  readonly name: string;
  readonly port: number;
  /** Processes whose CPU time and memory count. */
  pids(): number[];
  stop(): Promise<void>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export function start(
  core: number,
  command: readonly string[],
  env: Environment = process.env,
): ChildProcess {
  const [file = '', ...args] = pinned(core, command);
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const;
  const child = owned(spawn(file, args, { stdio: [...stdio], env }));
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Kills it and its own children, and waits until it is gone. */
export async function end(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const below = isAlive(pid) ? childrenOf(pid) : [];
  const gone = once(child, 'exit');
  for (const one of [pid, ...below]) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  await gone;
}

export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}

export function peerOf(name: string, port: number, child: ChildProcess): Peer {
  const pid = child.pid ?? 0;
  return { name, port, pids: () => [pid], stop: () => end(child) };
}

/** A script of this folder, which listens on the port that it is given. */
export async function ownProcess(
  name: string,
  core: number,
  file: string,
  args: (port: number) => readonly string[],
  flags: readonly string[] = [],
): Promise<Peer> {
  const port = await freePort();
  const script = join(import.meta.dirname, file);
  const child = start(core, [process.execPath, ...flags, script, ...args(port)]);
  await untilListening(port, child);
  return peerOf(name, port, child);
}

/** CPU time so far, ms (Linux; ticks of 10 ms). */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.cpuMs ?? 0), 0);
}

export function rssMb(pids: readonly number[]): number {
  const bytes = pids.reduce((sum, pid) => sum + (statOf(pid)?.rssBytes ?? 0), 0);
  return Math.round(bytes / 1_048_576);
}
