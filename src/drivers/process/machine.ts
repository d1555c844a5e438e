// What does the operating system know about a process? One small view over Linux and macOS.
//
//   M1. A zombie is dead: it still answers `kill(pid, 0)`, so that call is never used as proof of
//       life, only as proof of absence.
//   M2. A process is the pair of pid and start time; a pid alone says nothing, since pids come
//       back.
import { KinError } from '../../model/errors.ts';
import { openLinux } from './linux.ts';
import { openMacos } from './macos.ts';

export interface ProcessFacts {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  /** Opaque; equal for the same process only, within one boot. */
  readonly start: string;
  readonly state: 'alive' | 'dead';
}

export interface ProcessUsage {
  readonly rssBytes: number;
  readonly cpuMs: number;
}

/** A living process that carries our mark in the environment that it was started with. */
export interface MarkedProcess {
  readonly facts: ProcessFacts;
  /** Value of KINTSUGI_REPLICA. */
  readonly replica: string;
  readonly service: string;
  readonly release: string;
  readonly port: number;
}

export interface Machine {
  /** Changes with every boot of the machine: pids and start times mean nothing across it. */
  readonly bootId: string;
  facts(pid: number): ProcessFacts | undefined;
  /** Every process that we may see, zombies included. */
  all(): readonly ProcessFacts[];
  usage(pids: readonly number[]): ProcessUsage;
  /** Those whose KINTSUGI_OWNER is this value. */
  marked(owner: string): readonly MarkedProcess[];
  /** Ms since boot at which a process of this start began, or undefined when unknown. */
  startedAtMs(start: string): number | undefined;
}

export function openMachine(platform: string = process.platform): Machine {
  switch (platform) {
    case 'linux':
      return openLinux();
    case 'darwin':
      return openMacos();
    default:
      throw new KinError(
        'KIN_PLATFORM_UNSUPPORTED',
        `the process driver cannot supervise processes on ${platform}`,
        'Run on Linux (WSL 2 works), or on macOS for development.',
      );
  }
}

/** M1, M2. Is exactly this process, and no later owner of its pid, still alive? */
export function isSame(machine: Machine, pid: number, start: string): boolean {
  const facts = machine.facts(pid);
  return facts !== undefined && facts.state === 'alive' && facts.start === start;
}

/** Living members of the group that `leader` founded; none when its number has a new owner. */
export function groupOf(
  machine: Machine,
  leader: { readonly pid: number; readonly start: string },
): readonly ProcessFacts[] {
  if (isGroupAbsent(leader.pid)) return [];
  const all = machine.all();
  const holder = all.find((facts) => facts.pid === leader.pid);
  if (holder !== undefined && holder.start !== leader.start) return [];
  return all.filter((facts) => facts.pgid === leader.pid && facts.state === 'alive');
}

function isGroupAbsent(pgid: number): boolean {
  try {
    process.kill(-pgid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Sends a signal and says whether somebody was there to get it. Never to 0, 1 or our own group. */
export function signalTo(pid: number, signal: NodeJS.Signals): boolean {
  if (!Number.isSafeInteger(pid) || Math.abs(pid) <= 1) return false;
  if (Math.abs(pid) === process.pid) return false;
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
