// Is this still the process that we started? By pid and start time, since pids come back, and with
// a look at its state, since a zombie still answers `kill(pid, 0)`. Kept apart from the process
// driver on purpose: the supervisor must not fall over code that it does not need.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Identity {
  readonly pid: number;
  /** Opaque; equal for the same process only, within one boot. */
  readonly start: string;
}

/** Set in the environment of each child: `<state id>:<child's name>`. */
export const MARK = 'KINTSUGI_INIT';

const isLinux = process.platform === 'linux';

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function run(file: string, args: readonly string[]): string {
  try {
    return execFileSync(file, args, {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { LC_ALL: 'C' },
    }).trim();
  } catch {
    return '';
  }
}

export function bootId(): string {
  if (isLinux) return read('/proc/sys/kernel/random/boot_id').trim();
  return run('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid']);
}

/** Undefined when there is no such process, or only its zombie. */
export function identityOf(pid: number): Identity | undefined {
  const facts = isLinux ? linuxFacts(pid) : macosFacts(pid);
  if (facts === undefined || facts.start === '' || /^[ZXx]/u.test(facts.state)) return undefined;
  return { pid, start: facts.start };
}

export const isSame = ({ pid, start }: Identity): boolean => identityOf(pid)?.start === start;

interface Facts {
  readonly state: string;
  readonly start: string;
  readonly pgid: number;
}

/** proc(5); fields are counted from the last `)`, because the name before it may hold anything. */
function linuxFacts(pid: number): Facts | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === '') return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', pgid: Number(fields[2]), start: fields[19] ?? '' };
}

function macosFacts(pid: number): Facts | undefined {
  const [state = '', pgid = '', ...start] = run('/bin/ps', [
    ...['-p', String(pid), '-o', 'stat=,pgid=,lstart='],
  ]).split(/\s+/u);
  return state === '' ? undefined : { state, pgid: Number(pgid), start: start.join(' ') };
}

/**
 * Group leaders that carry our mark, by the name in it: children of an earlier init, even those
 * that it started in its last instant. On macOS the status file alone must do.
 */
export function markedLeaders(stateId: string): ReadonlyMap<string, readonly Identity[]> {
  const found = new Map<string, Identity[]>();
  if (!isLinux) return found;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid) || pid === process.pid) continue;
    const mark = read(`/proc/${pid}/environ`)
      .split('\0')
      .find((pair) => pair.startsWith(`${MARK}=${stateId}:`));
    const identity = mark === undefined ? undefined : identityOf(pid);
    if (mark === undefined || identity === undefined || linuxFacts(pid)?.pgid !== pid) continue;
    const child = mark.slice(mark.indexOf(':') + 1);
    found.set(child, [...(found.get(child) ?? []), identity]);
  }
  return found;
}

/** Says whether somebody was there to get it; compares the start time first. */
export function signalTo(identity: Identity, signal: NodeJS.Signals): boolean {
  if (identity.pid <= 1 || identity.pid === process.pid || !isSame(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    return false;
  }
}
