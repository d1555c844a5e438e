// How are a replica's memory and CPU limited? By one control group a replica where this user may
// make one; else not at all, with the reason said, and the loop watches memory by itself.
//
//   PD7. A limit that an administrator set on Kintsugi itself is never escaped: inside a limited
//        group, the replicas' groups are made below it.
//   PD8. A process enters its cage right after it was started. What it allocated in those first
//        milliseconds counts elsewhere; children that it made by then are brought in too.
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface CageLimits {
  readonly memoryBytes: number | undefined;
  readonly cpuCores: number | undefined;
}

/** The control groups of one replica. */
export interface Cage {
  readonly folders: readonly string[];
  /** Takes some ms in the kernel, so it happens off the main thread. */
  enter(pid: number): Promise<void>;
  pids(): readonly number[];
  /** Processes that the kernel ended in here for want of memory. */
  memoryKills(): number;
  /** What cannot be reclaimed, or undefined when memory is not accounted. */
  memoryBytes(): number | undefined;
  /** False while somebody is still inside. */
  remove(): boolean;
}

export interface Cages {
  readonly kind: 'cgroup-v1' | 'cgroup-v2' | 'none';
  readonly detail: string;
  /**
   * Undefined where there are no control groups. Throws nothing: the reason comes with the answer.
   */
  build(name: string, limits: CageLimits): Cage | undefined;
  /** Folders of a cage by this name, when there is one. */
  existing(name: string): readonly string[];
  /** The cage of a replica that was started before us. */
  reopen(folders: readonly string[]): Cage | undefined;
  /** Removes empty cages that nobody uses any more. */
  tidy(inUse: ReadonlySet<string>): void;
  /** Leaves no folder behind when no replica is left. */
  close(): void;
}

export function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** The value after `key ` in a file of `key value` lines; 0 when absent. */
export function valueIn(text: string | undefined, key: string): number {
  const line = text?.split('\n').find((each) => each.startsWith(`${key} `));
  return Number(line?.slice(key.length + 1) ?? 0);
}

export function pidsIn(folder: string): readonly number[] {
  const text = read(join(folder, 'cgroup.procs')) ?? '';
  return text.split('\n').flatMap((line) => (/^\d+$/u.test(line) ? [Number(line)] : []));
}

export function memberOf(folders: readonly string[]): (pid: number) => Promise<void> {
  return async (pid) => {
    for (const folder of folders) await writeFile(join(folder, 'cgroup.procs'), String(pid));
  };
}

export function thoseThere(folders: readonly string[]): readonly string[] {
  return folders.every((folder) => existsSync(folder)) ? folders : [];
}

/** Only ever empties the folders of groups: rmdir refuses a group with a process or a child. */
export function removeAll(folders: readonly string[]): boolean {
  return folders.map(removeOne).every(Boolean);
}

function removeOne(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

export function tidyBelow(base: string, inUse: ReadonlySet<string>): void {
  let names: readonly string[] = [];
  try {
    names = readdirSync(base, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return;
  }
  for (const name of names) if (!inUse.has(join(base, name))) removeOne(join(base, name));
}

/** The instance's folder and the one above it; rmdir refuses what is in use. */
export function removeBase(base: string): void {
  if (removeOne(base)) removeOne(dirname(base));
}

export function noCages(detail: string): Cages {
  return {
    kind: 'none',
    detail,
    build: () => undefined,
    existing: () => [],
    reopen: () => undefined,
    tidy: () => undefined,
    close: () => undefined,
  };
}
