// How does macOS answer `Machine`? By ps(1), one child process a question: slower than /proc, good
// enough for development, which is what macOS is supported for.
import { execFileSync } from 'node:child_process';
import type { Machine, MarkedProcess, ProcessFacts } from './machine.ts';
import { marksIn } from './marks.ts';

const OUTPUT_MAX_BYTES = 32 * 1024 * 1024;

export function openMacos(): Machine {
  return {
    bootId: run('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid']).trim(),
    facts: (pid) => listed(['-p', String(pid)])[0],
    all: () => listed(['-ax']),
    usage(pids) {
      const text = ps(['-p', pids.join(','), '-o', 'rss=,time=']);
      let rssBytes = 0;
      let cpuMs = 0;
      for (const line of lines(text)) {
        const [rss = '0', time = '0'] = line.trim().split(/\s+/u);
        rssBytes += Number(rss) * 1024;
        cpuMs += msOfTime(time);
      }
      return { rssBytes, cpuMs };
    },
    marked: (owner) => markedBy(owner),
    startedAtMs: () => undefined,
  };
}

function run(file: string, args: readonly string[]): string {
  return execFileSync(file, args, {
    encoding: 'utf8',
    timeout: 5000,
    maxBuffer: OUTPUT_MAX_BYTES,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { LC_ALL: 'C', PATH: '/bin:/usr/bin' },
  });
}

/** ps exits with 1 when nothing matches: that is an empty answer, not a failure. */
function ps(args: readonly string[]): string {
  try {
    return run('/bin/ps', args);
  } catch {
    return '';
  }
}

const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');

function listed(which: readonly string[]): readonly ProcessFacts[] {
  const text = ps([...which, '-o', 'pid=,ppid=,pgid=,stat=,lstart=']);
  return lines(text).flatMap((line) => parseFacts(line) ?? []);
}

/** `  501     1   501 Ss   Fri Nov 20 12:53:33 2026` */
export function parseFacts(line: string): ProcessFacts | undefined {
  const [pid, ppid, pgid, stat, ...start] = line.trim().split(/\s+/u);
  if (pid === undefined || stat === undefined || start.length < 5) return undefined;
  return {
    pid: Number(pid),
    ppid: Number(ppid),
    pgid: Number(pgid),
    start: start.slice(0, 5).join(' '),
    state: stat.startsWith('Z') ? 'dead' : 'alive',
  };
}

/** `-E` appends the environment to the command; values with spaces are cut, our marks have none. */
function markedBy(owner: string): readonly MarkedProcess[] {
  const text = ps(['-axEww', '-o', 'pid=,command=']);
  return lines(text).flatMap((line) => {
    if (!line.includes(`KINTSUGI_OWNER=${owner}`)) return [];
    const [pid = '', ...words] = line.trim().split(/\s+/u);
    const marks = marksIn(words, owner);
    const facts = listed(['-p', pid])[0];
    if (marks === undefined || facts === undefined || facts.state === 'dead') return [];
    return [{ facts, ...marks }];
  });
}

/** `[[dd-]hh:]mm:ss.cc` */
export function msOfTime(text: string): number {
  const [days, clock] = text.includes('-') ? text.split('-') : ['0', text];
  let seconds = 0;
  for (const part of (clock ?? '0').split(':')) seconds = seconds * 60 + Number(part);
  return Math.round((Number(days) * 86_400 + seconds) * 1000);
}
