// Who waits for the disk, and until when? One sleeper per busy period wakes for the earliest
// deadline, whatever the disk does. Both writers use it: the log's and that of private fields.

import type { LedgerError } from './errors.ts';
import type { LedgerClock } from './files.ts';

/** A write that somebody waits for; settled once, as done or as rejected. */
export interface Due {
  readonly dueAtMs: number;
  settled: boolean;
  readonly reject: (error: LedgerError) => void;
}

export interface DeadlineWatchParts {
  readonly clock: LedgerClock;
  /** Those that are being written, and those that wait. */
  readonly open: () => readonly (readonly Due[])[];
  /** Rejects what is past its deadline. */
  readonly expire: () => void;
}

/** A reason of our own: the default one is an error with a stack, made for every busy period. */
const OVER = 'over';

export class DeadlineWatch {
  readonly #parts: DeadlineWatchParts;
  #watch: AbortController | undefined;
  #wakeAtMs = Infinity;

  constructor(parts: DeadlineWatchParts) {
    this.#parts = parts;
  }

  /** When the sleeper wakes; Infinity while there is none. */
  get wakeAtMs(): number {
    return this.#wakeAtMs;
  }

  start(): void {
    this.stop();
    if (this.#parts.clock.sleep === undefined) return;
    const watch = new AbortController();
    this.#watch = watch;
    void this.#run(watch.signal);
  }

  stop(): void {
    this.#watch?.abort(OVER);
    this.#watch = undefined;
    this.#wakeAtMs = Infinity;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, open, expire } = this.#parts;
    // Each round either ends here or settles what was due.
    while (!signal.aborted) {
      const next = open().reduce((least, list) => nextDeadline(list, least), Infinity);
      this.#wakeAtMs = next;
      if (next === Infinity) return;
      const waitMs = Math.max(1, Math.ceil(next - clock.monotonicMs()));
      await clock.sleep?.(waitMs, signal).catch(() => undefined);
      if (!signal.aborted) expire();
    }
  }
}

function nextDeadline(list: readonly Due[], least: number): number {
  for (const { settled, dueAtMs } of list) if (!settled && dueAtMs < least) least = dueAtMs;
  return least;
}

export function rejectOnce(waiting: Due, error: LedgerError): void {
  if (waiting.settled) return;
  waiting.settled = true;
  waiting.reject(error);
}
