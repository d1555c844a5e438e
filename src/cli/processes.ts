// Which process is this, does it still live, and who has that port? Read from /proc where there is
// one; elsewhere only what signals and sockets can tell.
//
//   PRC1. A process is named by pid *and* start time: a reused pid is never signalled.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';

export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat; undefined where there is no /proc. */
  readonly start: string | undefined;
}

interface ProcessStat {
  readonly state: string;
  readonly group: number;
  readonly start: string;
}

function readStat(pid: number): ProcessStat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name stands in parentheses and may hold anything, so the fields are counted behind it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state, , group] = fields;
    const start = fields[19];
    if (state === undefined || group === undefined || start === undefined) return undefined;
    return { state, group: Number(group), start };
  } catch {
    return undefined;
  }
}

const HAS_PROC = process.platform === 'linux';

export function identify(pid: number): ProcessId {
  return { pid, start: HAS_PROC ? readStat(pid)?.start : undefined };
}

/** A zombie has ended: it only waits to be noticed by its parent. */
export function isAlive(id: ProcessId): boolean {
  if (!Number.isSafeInteger(id.pid) || id.pid <= 1) return false;
  if (HAS_PROC) {
    const stat = readStat(id.pid);
    if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return false;
    return id.start === undefined || id.start === stat.start;
  }
  try {
    process.kill(id.pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** PRC1. To the whole group when the process leads one. Answers whether it was there. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals): boolean {
  if (!isAlive(id)) return false;
  const leads = HAS_PROC && readStat(id.pid)?.group === id.pid;
  try {
    process.kill(leads ? -id.pid : id.pid, signal);
    return true;
  } catch {
    return false;
  }
}

export type PortAnswer =
  | { readonly kind: 'free' }
  | { readonly kind: 'taken'; readonly by: PortTaker | undefined }
  | { readonly kind: 'unusable'; readonly detail: string };

export interface PortTaker {
  readonly pid: number;
  readonly name: string;
}

/** Asks by listening for a moment. Port 0 is always free. */
export async function askPort(host: string, port: number): Promise<PortAnswer> {
  const server = createServer();
  const error = await new Promise<Error | undefined>((resolve) => {
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => resolve(undefined));
  });
  if (error === undefined) {
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    return { kind: 'free' };
  }
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return { kind: 'taken', by: portTaker(port) };
  return { kind: 'unusable', detail: error.message };
}

const LISTENING = '0A';

/** Only processes of this user can be looked into, unless root asks. */
export function portTaker(port: number): PortTaker | undefined {
  if (!HAS_PROC) return undefined;
  const sockets = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((f) => listeners(f, port)));
  if (sockets.size === 0) return undefined;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isSafeInteger(pid) || !holdsOneOf(pid, sockets)) continue;
    return { pid, name: commandName(pid) };
  }
  return undefined;
}

function listeners(file: string, port: number): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return [];
  }
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/u))
    .filter((f) => f[1]?.endsWith(`:${wanted}`) === true && f[3] === LISTENING)
    .map((f) => `socket:[${f[9]}]`);
}

function holdsOneOf(pid: number, sockets: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return sockets.has(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

/** The program and its script, never the other arguments: those may be somebody's secrets. */
function commandName(pid: number): string {
  try {
    const [program = '', script = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const base = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
    return /\.[cm]?[jt]s$/u.test(script) ? `${base(program)} ${base(script)}` : base(program);
  } catch {
    return 'unknown';
  }
}
