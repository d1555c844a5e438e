// Which control groups may this user make on this machine? Looks at what the kernel mounts and
// where this process stands in it, tries, and says why not.
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { messageOf } from '../../model/errors.ts';
import {
  memberOf,
  noCages,
  pidsIn,
  read,
  removeAll,
  removeBase,
  thoseThere,
  tidyBelow,
  valueIn,
  type Cage,
  type CageLimits,
  type Cages,
} from './cage.ts';

const CPU_PERIOD_US = 100_000;
/** cgroup v1 writes "no limit" as a huge number of pages. */
const UNLIMITED_BYTES = 2 ** 60;
const ADVICE = 'the loop watches memory by itself';

export interface CgroupSight {
  /** Text of /proc/self/mountinfo. */
  readonly mounts: string;
  /** Text of /proc/self/cgroup. */
  readonly self: string;
  readonly isRoot: boolean;
}

export function seeCgroups(): CgroupSight {
  return {
    mounts: read('/proc/self/mountinfo') ?? '',
    self: read('/proc/self/cgroup') ?? '',
    isRoot: process.getuid?.() === 0,
  };
}

/** `group`: the folder name of this instance, unique on the machine. */
export function openCages(group: string, sight: CgroupSight = seeCgroups()): Cages {
  const found = mountsOf(sight);
  const memory = found.find((mount) => mount.controllers.includes('memory'));
  if (memory?.version === 1) {
    return openV1(
      group,
      memory,
      found.find((mount) => mount.controllers.includes('cpu')),
    );
  }
  const unified = found.find((mount) => mount.version === 2);
  if (unified !== undefined) return openV2(group, unified, sight.isRoot);
  return noCages(`no control groups are mounted here; ${ADVICE}`);
}

interface Mount {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  readonly root: string;
  /** The group of this process. */
  readonly own: string;
}

/** proc(5): `id parent dev root MOUNTPOINT options… - TYPE source SUPEROPTIONS`. */
function mountsOf(sight: CgroupSight): readonly Mount[] {
  const groups = sight.self.split('\n').map((line) => line.split(':'));
  return sight.mounts.split('\n').flatMap((line): Mount[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , base = '/', root = ''] = before.split(' ');
    const [type = '', , options = ''] = after.split(' ');
    if (type !== 'cgroup' && type !== 'cgroup2') return [];
    const controllers = type === 'cgroup' ? options.split(',') : [];
    const mine = groups.find(([, names = '']) =>
      type === 'cgroup2'
        ? names === ''
        : names.split(',').some((each) => controllers.includes(each)),
    );
    const path = mine?.slice(2).join(':') ?? '/';
    // In a container the mount may show a part of the tree only; paths are below that part.
    const below = path.startsWith(base) && base !== '/' ? path.slice(base.length) : path;
    return [
      { version: type === 'cgroup2' ? 2 : 1, controllers, root, own: join(root, below || '/') },
    ];
  });
}

/** A record that names a foreign group (whose processes we would end) is not believed. */
function isBelow(folder: string, base: string | undefined): boolean {
  return base !== undefined && dirname(folder) === base && !folder.endsWith('..');
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** PD7. The root of the tree, unless this process itself is limited: then its own group. */
function baseV1(mount: Mount, isLimited: (folder: string) => boolean): string {
  let folder = mount.own;
  for (let depth = 0; depth < 32 && folder.startsWith(mount.root); depth += 1) {
    if (isLimited(folder)) return mount.own;
    if (folder === mount.root) break;
    folder = dirname(folder);
  }
  return mount.root;
}

function openV1(group: string, memory: Mount, cpu: Mount | undefined): Cages {
  const number = (folder: string, name: string): number => Number(read(join(folder, name)) ?? '-1');
  const isMemoryLimited = (folder: string): boolean => {
    const limit = number(folder, 'memory.limit_in_bytes');
    return limit >= 0 && limit < UNLIMITED_BYTES;
  };
  const isCpuLimited = (folder: string): boolean => number(folder, 'cpu.cfs_quota_us') > 0;
  const memoryBase = join(baseV1(memory, isMemoryLimited), 'kintsugi', group);
  const made = tryMake(memoryBase, 'memory.limit_in_bytes');
  if (made !== undefined)
    return noCages(`no memory control group may be made (${made}); ${ADVICE}`);
  const cpuBase =
    cpu === undefined ? undefined : join(baseV1(cpu, isCpuLimited), 'kintsugi', group);
  const cpuProblem = cpuBase === undefined ? 'not mounted' : tryMake(cpuBase, 'cpu.cfs_quota_us');
  const hasCpu = cpuBase !== undefined && cpuProblem === undefined;
  const foldersOf = (name: string): readonly string[] => [
    join(memoryBase, name),
    ...(hasCpu ? [join(cpuBase, name)] : []),
  ];
  return {
    kind: 'cgroup-v1',
    detail: hasCpu ? 'memory and CPU' : `memory only, no CPU limits (${cpuProblem ?? ''})`,
    build(name, limits) {
      const folders = foldersOf(name);
      for (const folder of folders) mkdirSync(folder, { recursive: true });
      limitV1(folders, limits);
      return cageV1(folders);
    },
    existing: (name) => thoseThere(foldersOf(name)),
    reopen: (folders) => {
      const own = folders.filter(
        (folder) => isBelow(folder, memoryBase) || isBelow(folder, cpuBase),
      );
      return own.length === 0 || own.length < folders.length ? undefined : cageV1(own);
    },
    tidy: (inUse) => {
      tidyBelow(memoryBase, inUse);
      if (hasCpu) tidyBelow(cpuBase, inUse);
    },
    close: () => {
      removeBase(memoryBase);
      if (hasCpu) removeBase(cpuBase);
    },
  };
}

function limitV1([memory = '', cpu]: readonly string[], limits: CageLimits): void {
  if (limits.memoryBytes !== undefined) {
    const bytes = String(Math.floor(limits.memoryBytes));
    writeFileSync(join(memory, 'memory.limit_in_bytes'), bytes);
    // Swap would only stretch the end of a leak; the file is missing where swap is not accounted.
    tryWrite(join(memory, 'memory.memsw.limit_in_bytes'), bytes);
  }
  if (limits.cpuCores === undefined || cpu === undefined) return;
  writeFileSync(join(cpu, 'cpu.cfs_period_us'), String(CPU_PERIOD_US));
  writeFileSync(join(cpu, 'cpu.cfs_quota_us'), String(quotaUs(limits.cpuCores)));
}

/** The kernel refuses less than 1 ms. */
const quotaUs = (cores: number): number => Math.max(1000, Math.round(cores * CPU_PERIOD_US));

function cageV1(folders: readonly string[]): Cage {
  const memory = folders[0] ?? '';
  return {
    folders,
    enter: memberOf(folders),
    pids: () => pidsIn(memory),
    memoryKills: () => valueIn(read(join(memory, 'memory.oom_control')), 'oom_kill'),
    memoryBytes: () =>
      unreclaimable(
        read(join(memory, 'memory.usage_in_bytes')),
        read(join(memory, 'memory.stat')),
        'total_',
      ),
    remove: () => removeAll(folders),
  };
}

/** Page cache goes by itself when memory is short: it must not look like a leak. */
function unreclaimable(
  usage: string | undefined,
  stat: string | undefined,
  prefix: string,
): number | undefined {
  if (usage === undefined || stat === undefined) return undefined;
  const cache = valueIn(stat, `${prefix}inactive_file`) + valueIn(stat, `${prefix}active_file`);
  return Math.max(0, Number(usage) - cache);
}

/** Undefined when it went well, else why not. */
function tryMake(folder: string, proof: string): string | undefined {
  try {
    mkdirSync(folder, { recursive: true });
    return isWritable(join(folder, proof)) ? undefined : `${proof} may not be written`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? messageOf(error);
  }
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text);
    return true;
  } catch {
    return false;
  }
}

/** A group of version 2 can hold processes or limited children, not both. */
function openV2(group: string, mount: Mount, isRoot: boolean): Cages {
  const parent = placeV2(mount, isRoot);
  if (parent === undefined) {
    const fix = 'start Kintsugi by the unit that `kintsugi unit` prints to have limits';
    return noCages(`this control group is not delegated to this user; ${ADVICE} (${fix})`);
  }
  const base = join(parent, 'kintsugi', group);
  for (const folder of [parent, dirname(base), base]) {
    const problem = tryMake(folder, 'cgroup.subtree_control');
    if (problem !== undefined) return noCages(`no control group below ${parent} (${problem})`);
    if (!tryWrite(join(folder, 'cgroup.subtree_control'), '+memory'))
      return noCages(`memory limits are not available below ${parent}; ${ADVICE}`);
    tryWrite(join(folder, 'cgroup.subtree_control'), '+cpu');
  }
  const hasCpu = (read(join(base, 'cgroup.subtree_control')) ?? '').includes('cpu');
  return {
    kind: 'cgroup-v2',
    detail: hasCpu ? 'memory and CPU' : 'memory only, the CPU controller is not delegated',
    build(name, limits) {
      const folder = join(base, name);
      mkdirSync(folder, { recursive: true });
      limitV2(folder, limits, hasCpu);
      return cageV2(folder);
    },
    existing: (name) => thoseThere([join(base, name)]),
    reopen: ([folder]) =>
      folder !== undefined && isBelow(folder, base) ? cageV2(folder) : undefined,
    tidy: (inUse) => tidyBelow(base, inUse),
    close: () => removeBase(base),
  };
}

/**
 * Below which group may we make groups? systemd's `DelegateSubgroup=control` puts this process in a
 * leaf below the delegated group, so the parent is ours. Root outside of any limit uses the top.
 */
function placeV2(mount: Mount, isRoot: boolean): string | undefined {
  const parent = dirname(mount.own);
  const isDelegated = basename(mount.own) === 'control' && mount.own !== mount.root;
  if (isDelegated && isWritable(join(parent, 'cgroup.subtree_control'))) return parent;
  let folder = mount.own;
  for (let depth = 0; depth < 32 && folder !== mount.root; depth += 1) {
    const limit = read(join(folder, 'memory.max'))?.trim() ?? 'max';
    if (limit !== 'max') return undefined;
    folder = dirname(folder);
  }
  const atTop = join(mount.root, 'cgroup.subtree_control');
  return isRoot && isWritable(atTop) ? mount.root : undefined;
}

function limitV2(folder: string, limits: CageLimits, hasCpu: boolean): void {
  if (limits.memoryBytes !== undefined) {
    writeFileSync(join(folder, 'memory.max'), String(Math.floor(limits.memoryBytes)));
    tryWrite(join(folder, 'memory.swap.max'), '0');
    // A replica without its child is half a replica: all of it ends, and is replaced as one.
    tryWrite(join(folder, 'memory.oom.group'), '1');
  }
  if (limits.cpuCores !== undefined && hasCpu)
    writeFileSync(join(folder, 'cpu.max'), `${quotaUs(limits.cpuCores)} ${CPU_PERIOD_US}`);
}

function cageV2(folder: string): Cage {
  return {
    folders: [folder],
    enter: memberOf([folder]),
    pids: () => pidsIn(folder),
    memoryKills: () => valueIn(read(join(folder, 'memory.events')), 'oom_kill'),
    memoryBytes: () =>
      unreclaimable(read(join(folder, 'memory.current')), read(join(folder, 'memory.stat')), ''),
    remove: () => removeAll([folder]),
  };
}
