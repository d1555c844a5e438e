// The language between a test process and the runner: one JSON line an event, on file
// descriptor 3, so that whatever a test prints cannot be taken for a result.

export type TestEvent =
  | { readonly kind: 'started'; readonly title: string }
  | { readonly kind: 'passed'; readonly title: string; readonly durationMs: number }
  | { readonly kind: 'skipped'; readonly title: string; readonly reason: string }
  | { readonly kind: 'failed'; readonly title: string; readonly error: string }
  | { readonly kind: 'done' }
  /** The processes that descend from the test process at its end, and its own CPU time with that
   * of its ended children. */
  | { readonly kind: 'leaving'; readonly kin: readonly Kin[]; readonly cpuMs: number };

export interface Kin {
  readonly pid: number;
  /** Clock ticks since boot: with the pid it names one process for ever. */
  readonly startedAt: string;
}

export const EVENTS_FD = 3;

export function parseEvent(line: string): TestEvent | undefined {
  try {
    return JSON.parse(line) as TestEvent;
  } catch {
    return undefined;
  }
}
