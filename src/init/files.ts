// Which files does init leave behind? Its pid file (only one init a state folder), its status, and
// bounded logs. All are written whole or not at all, readable by this user alone.
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { isSame, type Identity } from './identity.ts';

const LOG_MAX_BYTES = 8 * 1024 * 1024;
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;

export function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
}

/** For a child's output. Both ends append, so that truncating while it writes is safe. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fd = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error('the log is not a plain file');
}

/** Keeps the newest part as `.1` and empties the file: two files of at most `maxBytes` a log. */
export function trimLog(path: string, maxBytes = LOG_MAX_BYTES): void {
  const fd = openLog(path);
  try {
    const { size } = fstatSync(fd);
    if (size <= maxBytes) return;
    const kept = Buffer.alloc(Math.min(size, maxBytes));
    const read = readSync(fd, kept, 0, kept.length, size - kept.length);
    rmSync(`${path}.1`, { force: true });
    writeFileSync(`${path}.1`, kept.subarray(0, read), { mode: 0o600, flag: 'wx' });
    ftruncateSync(fd, 0);
  } finally {
    closeSync(fd);
  }
}

export function appendLine(path: string, line: string): void {
  try {
    const fd = openLog(path);
    writeSync(fd, `${line}\n`);
    closeSync(fd);
  } catch {
    // A full disk must not end the supervisor; the status file shows the state all the same.
  }
}

/** IN5. The other init, when there is one; undefined when the file is ours now. */
export function claim(path: string, own: Identity): Identity | undefined {
  const temporary = `${path}.${process.pid}.claim`;
  writeFileSync(temporary, `${own.pid} ${own.start}\n`, { mode: 0o600 });
  try {
    // Bound: each further round found a dead owner and removed its file.
    for (let round = 0; round < 5; round += 1) {
      if (link(temporary, path)) return undefined;
      const holder = readClaim(path);
      if (holder !== undefined && isSame(holder)) return holder;
      removeDead(path, holder);
    }
    return readClaim(path) ?? own;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Takes the file away to look at it: another init may have replaced the dead one's meanwhile. */
function removeDead(path: string, dead: Identity | undefined): void {
  const aside = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  const taken = readClaim(aside);
  if (taken?.pid !== dead?.pid || taken?.start !== dead?.start) link(aside, path);
  rmSync(aside, { force: true });
}

/** Fails where the name exists: the one atomic test-and-set of a file system. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

export function readClaim(path: string): Identity | undefined {
  try {
    const [pid = '', ...start] = readFileSync(path, 'utf8').trim().split(' ');
    return /^\d+$/u.test(pid) ? { pid: Number(pid), start: start.join(' ') } : undefined;
  } catch {
    return undefined;
  }
}
