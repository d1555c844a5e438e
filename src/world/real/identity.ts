// Is that process still the one that we knew? A pid is given to another process sooner or later, so
// an identity is the pid, the start time and the boot that both belong to. Used by the lock of the
// store; nothing here throws for a process that does not exist.
//
//   ID1. Two identities that are equal are the same process; a pid alone is never compared.
//   ID2. A zombie is dead: it answers `kill(pid, 0)` but will never do anything again.
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot on Linux, the start date elsewhere. Opaque: only compared. */
  readonly startedAt: string;
  readonly boot: string;
  readonly host: string;
  /** Which table of pids the number belongs to: two containers both have a pid 7. */
  readonly pidSpace: string;
}

export type Liveness = 'alive' | 'dead' | 'unknowable';

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Start time of a process that is not a zombie; undefined when there is none. */
export function startOf(pid: number): string | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (process.platform === 'linux') {
    const stat = textOf(`/proc/${pid}/stat`);
    // The name stands in brackets and may hold anything, so fields count from the last one.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
    const state = fields?.[0];
    if (state === undefined || state === 'Z' || state === 'X') return undefined;
    return fields?.[19];
  }
  try {
    const env = { LC_ALL: 'C', PATH: '/bin:/usr/bin' };
    const line = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], {
      env,
      timeout: 5000,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/u, '');
  } catch {
    return undefined;
  }
}

function bootId(): string {
  const linux = textOf('/proc/sys/kernel/random/boot_id')?.trim();
  if (linux !== undefined) return linux;
  try {
    const options = { encoding: 'utf8', timeout: 5000 } as const;
    return execFileSync('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid'], options).trim();
  } catch {
    return 'unknown';
  }
}

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return 'only';
  }
}

let own: ProcessIdentity | undefined;

export function ownIdentity(): ProcessIdentity {
  own ??= {
    pid: process.pid,
    startedAt: startOf(process.pid) ?? 'unknown',
    boot: bootId(),
    host: hostname(),
    pidSpace: pidSpace(),
  };
  return own;
}

/** `unknowable`: it runs, or ran, where our pids mean something else. */
export function livenessOf(other: ProcessIdentity): Liveness {
  const self = ownIdentity();
  if (other.boot === self.boot && other.pidSpace === self.pidSpace) {
    return startOf(other.pid) === other.startedAt ? 'alive' : 'dead';
  }
  const rebooted = other.boot !== self.boot && other.host === self.host;
  return rebooted ? 'dead' : 'unknowable';
}

export function identityFrom(text: string): ProcessIdentity | undefined {
  try {
    const raw: unknown = JSON.parse(text);
    if (typeof raw !== 'object' || raw === null) return undefined;
    const { pid, startedAt, boot, host, pidSpace: space } = raw as Record<string, unknown>;
    if (typeof pid !== 'number' || typeof startedAt !== 'string') return undefined;
    if (typeof boot !== 'string' || typeof host !== 'string') return undefined;
    if (typeof space !== 'string') return undefined;
    return { pid, startedAt, boot, host, pidSpace: space };
  } catch {
    return undefined;
  }
}
