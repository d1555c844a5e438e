// What did our own processes write? Read from the state folder, never through the API: these logs
// are wanted most when nothing answers.
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { LogPart } from '../api/contract.ts';
import { statePaths } from '../api/state-folder.ts';
import { KinError } from '../model/errors.ts';

export function ownLogs(stateDir: string, target: string, bytes: number): readonly LogPart[] {
  const { logs } = statePaths(stateDir);
  const init = join(stateDir, 'init.log');
  if (target === 'init' && existsSync(init)) {
    return [{ source: 'init', text: tail(init, bytes) }];
  }
  const names = listed(logs).filter((name) => {
    const own = sourceOf(name);
    return own === target || own?.startsWith(`${target}-`) === true;
  });
  if (names.length > 0) {
    return names.map((name) => ({
      source: sourceOf(name) ?? name,
      text: tail(join(logs, name), bytes),
    }));
  }
  throw new KinError(
    'KIN_LOG_NOT_FOUND',
    `${target} has not written a log in ${logs}`,
    'Start Kintsugi first, or name another target: kintsugi logs REPLICA.',
  );
}

/** The part that writes this file now: what was rotated away is for whoever collects it. */
function sourceOf(name: string): string | undefined {
  return /^([\w-]+)\.(?:log|ndjson)$/u.exec(name)?.[1];
}

function listed(dir: string): string[] {
  try {
    return readdirSync(dir).toSorted();
  } catch {
    return [];
  }
}

/** The last bytes, from the beginning of a line. */
export function tail(path: string, bytes: number): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const from = Math.max(0, size - bytes);
    const buffer = Buffer.alloc(size - from);
    const read = readSync(fd, buffer, 0, buffer.length, from);
    const text = buffer.toString('utf8', 0, read);
    const line = from === 0 ? 0 : text.indexOf('\n') + 1;
    return text.slice(line);
  } finally {
    closeSync(fd);
  }
}
