// Who owns the folder of the embedded store? Two PGlite processes on one folder silently lose each
// other's rows, and PGlite itself takes no lock, so ours decides.
//
//   OW1. At most one living process holds a folder. Each contender first writes its own file, whole
//        and by one link, and only then looks at the others; so of two that come at once, at least
//        one sees the other and steps back.
//   OW2. A file is removed only when its owner is dead for certain: the identity in its name and
//        content never comes back, so removing it can never hit a new owner.
//   OW3. An owner that cannot be judged from here (another container, another machine) counts as
//        alive for as long as its file is touched.
import { randomBytes } from 'node:crypto';
import { link, open, readFile, readdir, stat, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { KinError } from '../model/errors.ts';
import { identityFrom, livenessOf, ownIdentity } from '../world/real/identity.ts';
import type { ProcessIdentity } from '../world/real/identity.ts';

const TOUCH_MS = 2000;
/** Three touches: one may come late when a long statement blocks the owner's thread. */
const WATCH_MS = 7000;
const LOOK_MS = 100;
const TRIES_MAX = 4;
const OWNER_FILE = /^owner-.+\.json$/u;
const LEFTOVER = /^\.owner-.+\.tmp$/u;
const LEFTOVER_AGE_MS = 60_000;

export interface FolderLock {
  release(): Promise<void>;
}

interface Held {
  readonly file: string;
  readonly identity: ProcessIdentity | undefined;
}

export async function lockFolder(dir: string, watchMs = WATCH_MS): Promise<FolderLock> {
  const mine = await announce(dir);
  try {
    for (let attempt = 1; ; attempt += 1) {
      const other = await livingOther(dir, mine, watchMs);
      if (other === undefined) break;
      if (attempt >= TRIES_MAX || !(await isYoung(dir, other))) throw lockedBy(dir, other);
      // Two that came at the same moment both step back here, for different times.
      await unlink(join(dir, mine));
      await pause(20 + (randomBytes(1)[0] ?? 0));
      await announce(dir, mine);
    }
  } catch (error) {
    await unlink(join(dir, mine)).catch(() => undefined);
    throw error;
  }
  return hold(join(dir, mine));
}

function hold(path: string): FolderLock {
  const timer = setInterval(() => {
    const at = new Date();
    utimes(path, at, at).catch(() => undefined);
  }, TOUCH_MS);
  timer.unref();
  let released = false;
  return {
    async release() {
      if (released) return;
      released = true;
      clearInterval(timer);
      await unlink(path).catch(() => undefined);
    },
  };
}

/** Writes our file beside, then links it in: nobody ever reads half of it. Answers its name. */
async function announce(dir: string, name?: string): Promise<string> {
  const identity = ownIdentity();
  const mark = randomBytes(6).toString('hex');
  const file =
    name ?? `owner-${identity.pid}-${identity.startedAt.replace(/\W/gu, '')}-${mark}.json`;
  const temporary = join(dir, `.${file}.${mark}.tmp`);
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(JSON.stringify(identity));
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(temporary, join(dir, file));
  } finally {
    await unlink(temporary);
  }
  return file;
}

/** The first other owner that is not dead for certain; the dead ones are cleared away. */
async function livingOther(dir: string, mine: string, watchMs: number): Promise<Held | undefined> {
  for (const file of await readdir(dir)) {
    if (LEFTOVER.test(file)) await dropLeftover(join(dir, file));
    if (!OWNER_FILE.test(file) || file === mine) continue;
    const text = await readFile(join(dir, file), 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const identity = identityFrom(text);
    const liveness = identity === undefined ? 'unknowable' : livenessOf(identity);
    if (liveness === 'alive') return { file, identity };
    if (liveness === 'unknowable' && (await isTouched(join(dir, file), watchMs)))
      return { file, identity };
    await unlink(join(dir, file)).catch(() => undefined);
  }
  return undefined;
}

async function dropLeftover(path: string): Promise<void> {
  const facts = await stat(path).catch(() => undefined);
  if (facts === undefined || Date.now() - facts.mtimeMs < LEFTOVER_AGE_MS) return;
  await unlink(path).catch(() => undefined);
}

/** Watches the file for a while; ends at the first touch. */
async function isTouched(path: string, watchMs: number): Promise<boolean> {
  const before = await stat(path).catch(() => undefined);
  if (before === undefined) return false;
  for (let waitedMs = 0; waitedMs < watchMs; waitedMs += LOOK_MS) {
    await pause(LOOK_MS);
    const now = await stat(path).catch(() => undefined);
    if (now === undefined) return false;
    if (now.mtimeMs !== before.mtimeMs) return true;
  }
  return false;
}

async function isYoung(dir: string, held: Held): Promise<boolean> {
  const facts = await stat(join(dir, held.file)).catch(() => undefined);
  return facts === undefined || Date.now() - facts.birthtimeMs < 1000;
}

function lockedBy(dir: string, held: Held): KinError {
  const owner = held.identity;
  const name =
    owner === undefined
      ? `an owner that cannot be read (${held.file})`
      : `process ${owner.pid} on ${owner.host}`;
  const elsewhere = owner === undefined || livenessOf(owner) === 'unknowable';
  return new KinError(
    'KIN_STORE_LOCKED',
    `the store in ${dir} is in use by ${name}`,
    elsewhere
      ? 'Stop it there, or, when that machine or container is gone for good, remove ' +
          `${join(dir, held.file)}.`
      : 'Use the instance that runs (`kintsugi status`), stop it (`kintsugi down`), ' +
          'or give this one another state folder.',
  );
}
