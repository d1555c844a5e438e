// How do two setups of one folder keep out of each other's way? By a file that its owner touches
// every second. A lock whose owner is dead, or that nobody touched for a while (as seen by the
// one who waits, so that clocks of two machines do not matter), is taken over. See I3.

import { randomUUID } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const TOUCH_MS = 1_000;
const SILENT_MS = 20_000;
const POLL_MS = 200;

export async function withLock(root, say, work) {
  const path = join(root, '.kintsugi', 'setup.lock');
  const mine = `${process.pid} ${hostname()} ${randomUUID()}`;
  mkdirSync(dirname(path), { recursive: true });
  await acquire(path, mine, say);
  const touch = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // Taken away from outside: the work goes on, and its result is checked at the end anyway.
    }
  }, TOUCH_MS);
  try {
    return await work();
  } finally {
    clearInterval(touch);
    if (read(path) === mine) unlinkSync(path);
    removeEmptyFolder(dirname(path));
  }
}

async function acquire(path, mine, say) {
  let seen = { text: undefined, touched: 0, sinceMs: performance.now() };
  let told = false;
  // Bounded by the owner: it either goes on touching its lock, or the lock is taken over.
  while (true) {
    if (create(path, mine)) return;
    const now = { text: read(path), touched: touchedAt(path) };
    if (now.text !== seen.text || now.touched !== seen.touched)
      seen = { ...now, sinceMs: performance.now() };
    const silentMs = performance.now() - seen.sinceMs;
    if (now.text !== undefined && (isDead(now.text) || silentMs > SILENT_MS))
      takeAway(path, now.text);
    else {
      if (!told) say('another setup of this folder is under way; waiting for it');
      told = true;
      await sleep(POLL_MS);
    }
  }
}

function create(path, mine) {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, mine, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST' || error.code === 'ENOENT') return false;
    throw error;
  }
}

function isDead(text) {
  const [pid, host] = text.split(' ');
  if (host !== hostname() || !/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** Between reading and renaming, somebody else may have taken the lock: theirs is put back. */
function takeAway(path, stale) {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    if (readFileSync(aside, 'utf8') !== stale) linkSync(aside, path);
  } catch {
    // Gone already, or taken again: the next round decides.
  } finally {
    try {
      unlinkSync(aside);
    } catch {
      // It was never moved.
    }
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function touchedAt(path) {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

function removeEmptyFolder(path) {
  try {
    rmdirSync(path);
  } catch {
    // Not empty: it holds somebody's state.
  }
}
