// Is the place that the log is written to still there while nobody writes? A look at intervals, so
// that a removed or swapped segment is noticed before the next append would have found it.
// PL1. A place that is lost ends the watch and is told once; a look that failed is told and
//      repeated.

import { isLedgerError, typedError } from '../errors.ts';
import type { LedgerError } from '../errors.ts';
import type { PublisherOptions } from './options.ts';

export type PlaceWatch = Pick<PublisherOptions, 'clock' | 'checkPlace' | 'checkPlaceEveryMs'>;

export interface PlaceNews {
  readonly lost: (error: LedgerError) => void;
  readonly failing: (error: LedgerError) => void;
}

const EVERY_MS = 1000;
const EVERY_MIN_MS = 10;

/** Resolves when `signal` aborts or the place is lost. */
export async function watchPlace(
  { clock, checkPlace, checkPlaceEveryMs = EVERY_MS }: PlaceWatch,
  signal: AbortSignal,
  news: PlaceNews,
): Promise<void> {
  if (checkPlace === undefined) return;
  // Bounded by the signal: each round waits for the clock.
  while (!signal.aborted) {
    await clock.sleep(Math.max(EVERY_MIN_MS, checkPlaceEveryMs), signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await checkPlace();
    } catch (cause) {
      if (isLedgerError(cause) && cause.code === 'KIN_LEDGER_SEGMENT_LOST') {
        news.lost(cause);
        return;
      }
      news.failing(typedError(cause, 'cannot look at the place of the log'));
    }
  }
}
