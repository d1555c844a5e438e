// What does init show, and what does the next init find? One JSON file. The CLI reads it too, so
// its shape changes only together with `version`.
import { readFileSync } from 'node:fs';
import type { Identity } from './identity.ts';

const VERSION = 1;

export interface ChildStatus {
  readonly name: string;
  readonly state: 'running' | 'waiting' | 'stopping' | 'stopped';
  readonly pid: number | null;
  readonly start: string | null;
  /** Wall time of its latest start. */
  readonly sinceMs: number | null;
  readonly restarts: number;
  readonly lastEnd: {
    readonly atMs: number;
    /** `exit code 1`, `ended by SIGKILL`, `not started (ENOENT)`, `ended (status not seen)`. */
    readonly how: string;
    /** It said that its configuration is wrong: a person is needed. */
    readonly isConfiguration: boolean;
  } | null;
  readonly nextStartAtMs: number | null;
  /** Runs with an older command or environment than the configuration now says. */
  readonly isStale: boolean;
}

export interface InitStatus {
  readonly version: typeof VERSION;
  readonly pid: number;
  readonly start: string;
  readonly bootId: string;
  readonly updatedAtMs: number;
  readonly phase: 'running' | 'stopping' | 'stopped';
  /** Why the latest re-read configuration was refused; the one before stays in force. */
  readonly configProblem: string | null;
  readonly children: readonly ChildStatus[];
}

export function statusText(status: Omit<InitStatus, 'version'>): string {
  return `${JSON.stringify({ version: VERSION, ...status })}\n`;
}

/** Who ran when this was written, in this boot. A damaged file is as good as none. */
export function lastRunning(path: string, bootId: string): ReadonlyMap<string, Identity> {
  const found = new Map<string, Identity>();
  try {
    const status = JSON.parse(readFileSync(path, 'utf8')) as Partial<InitStatus>;
    if (status.version !== VERSION || status.bootId !== bootId) return found;
    for (const { name, pid, start } of status.children ?? [])
      if (typeof pid === 'number' && pid > 1 && typeof start === 'string')
        found.set(name, { pid, start });
  } catch {
    // None, or damaged.
  }
  return found;
}
