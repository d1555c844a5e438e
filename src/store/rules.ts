// Which rules hold for every store, in SQL and in memory alike? Limits, pages, and which changes of
// a run are lawful. Pure.
import { RUN_TABLE } from '../model/run.ts';
import type { RunState } from '../model/run.ts';

/** What is kept at most of what is over; the oldest goes first. */
export interface KeepLimits {
  readonly story: number;
  readonly endedRuns: number;
  readonly healedIncidents: number;
  readonly decidedApprovals: number;
  /** Of each service; the newest keep the ordinals from being given twice (F1). */
  readonly goneReplicas: number;
}

export const KEEP: KeepLimits = {
  story: 100_000,
  endedRuns: 10_000,
  healedIncidents: 10_000,
  decidedApprovals: 10_000,
  goneReplicas: 200,
};

export const PAGE_MAX = 1000;

export function page(limit: number): number {
  return Math.min(Math.max(Math.trunc(limit), 0), PAGE_MAX);
}

/** States from which `to` may be reached; writing the same state again is a repeat (RUN1). */
export function statesBefore(to: RunState): readonly RunState[] {
  const states = Object.keys(RUN_TABLE) as RunState[];
  return states.filter((from) => from === to || RUN_TABLE[from].includes(to));
}

/** The last of several with the same id counts, as if they had been written one by one. */
export function lastOf<T>(values: readonly T[] | undefined, idOf: (value: T) => string): T[] {
  return [...new Map((values ?? []).map((value) => [idOf(value), value])).values()];
}

/** What is put in the same change is not dropped by it: drops come first. */
export function dropped(ids: readonly string[] | undefined, put: readonly string[]): string[] {
  return (ids ?? []).filter((id) => !put.includes(id));
}
