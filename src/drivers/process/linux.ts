// How does Linux answer `Machine`? By /proc alone: no child process, no dependency. One read costs
// about 20 µs, a look at every process some milliseconds.
import { readdirSync, readFileSync } from 'node:fs';
import type { Machine, MarkedProcess, ProcessFacts } from './machine.ts';
import { marksIn } from './marks.ts';

interface Stat extends ProcessFacts {
  readonly cpuTicks: number;
  readonly rssPages: number;
}

export function openLinux(): Machine {
  const { pageBytes, ticksPerSecond } = readAuxv();
  const all = (): readonly Stat[] =>
    pids().flatMap((pid) => {
      const stat = readStat(pid);
      return stat === undefined ? [] : [stat];
    });
  return {
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
    facts: readStat,
    all,
    usage(list) {
      let rssPages = 0;
      let cpuTicks = 0;
      for (const pid of list) {
        const stat = readStat(pid);
        if (stat === undefined || stat.state === 'dead') continue;
        rssPages += stat.rssPages;
        cpuTicks += stat.cpuTicks;
      }
      return { rssBytes: rssPages * pageBytes, cpuMs: (cpuTicks * 1000) / ticksPerSecond };
    },
    marked: (owner) =>
      pids().flatMap((pid) => {
        const found = readMarks(pid, owner);
        return found === undefined ? [] : [found];
      }),
    startedAtMs: (start) => (Number(start) * 1000) / ticksPerSecond,
  };
}

function pids(): readonly number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/u.test(name) ? [Number(name)] : []));
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function readStat(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(pid, text);
}

/**
 * proc(5). The second field is the command's name in parentheses and may itself hold spaces and
 * parentheses, so fields are counted from the last `)`: the state is field 3.
 */
export function parseStat(pid: number, text: string): Stat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): string => fields[number - 3] ?? '';
  const state = field(3);
  if (state === '' || field(22) === '') return undefined;
  return {
    pid,
    ppid: Number(field(4)),
    pgid: Number(field(5)),
    start: field(22),
    state: state === 'Z' || state === 'X' || state === 'x' ? 'dead' : 'alive',
    // Its own time and that of the children it has waited for, so that the sum never falls.
    cpuTicks: Number(field(14)) + Number(field(15)) + Number(field(16)) + Number(field(17)),
    rssPages: Number(field(24)),
  };
}

function readMarks(pid: number, owner: string): MarkedProcess | undefined {
  const text = read(`/proc/${pid}/environ`);
  if (text === undefined || !text.includes(`KINTSUGI_OWNER=${owner}`)) return undefined;
  const marks = marksIn(text.split('\0'), owner);
  const facts = readStat(pid);
  if (marks === undefined || facts === undefined || facts.state === 'dead') return undefined;
  return { facts, ...marks };
}

/**
 * getauxval(3) without C: 64-bit pairs of type and value; 6 is the page size, 17 the clock tick.
 */
function readAuxv(): { readonly pageBytes: number; readonly ticksPerSecond: number } {
  const found = new Map<number, number>();
  try {
    const bytes = readFileSync('/proc/self/auxv');
    for (let at = 0; at + 16 <= bytes.length; at += 16)
      found.set(Number(bytes.readBigUInt64LE(at)), Number(bytes.readBigUInt64LE(at + 8)));
  } catch {
    // Hidden in some sandboxes; the values below hold on every platform that Node is built for
    // except arm64 kernels with large pages, where only the shown memory would be too small.
  }
  return { pageBytes: found.get(6) ?? 4096, ticksPerSecond: found.get(17) ?? 100 };
}
