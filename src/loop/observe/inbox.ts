// Where do signals wait until the loop looks? In one bounded list; an urgent one wakes the loop at
// once, any other waits for the next look.
//
//   IN1. At most `limit` signals wait; past it routine samples are dropped and counted, facts
//        (exits, gateway events, changes) never are.
import type { Signal } from '../../model/signal.ts';
import type { Clock } from '../../world/clock.ts';

export interface Inbox {
  put(signal: Signal): void;
  /** Wakes the loop without a signal (a run ended, a person decided). */
  nudge(): void;
  take(): readonly Signal[];
  /** Resolves when something urgent came or `maxMs` passed. */
  wait(maxMs: number, stop: AbortSignal): Promise<void>;
  readonly dropped: number;
}

const URGENT: ReadonlySet<Signal['kind']> = new Set(['exited', 'gateway', 'clock-jumped']);

export function createInbox(clock: Clock, limit = 20_000): Inbox {
  let waiting: Signal[] = [];
  let urgent = false;
  let wake: AbortController | undefined;
  let dropped = 0;

  function nudge(): void {
    urgent = true;
    wake?.abort();
  }
  return {
    put(signal) {
      const fact = URGENT.has(signal.kind);
      if (waiting.length >= limit && !fact) {
        dropped += 1;
        return;
      }
      waiting.push(signal);
      if (fact) nudge();
    },
    nudge,
    take() {
      const taken = waiting;
      waiting = [];
      urgent = false;
      return taken;
    },
    async wait(maxMs, stop) {
      if (urgent || stop.aborted) return;
      const alarm = new AbortController();
      const onStop = (): void => alarm.abort();
      stop.addEventListener('abort', onStop);
      wake = alarm;
      try {
        await clock.sleep(maxMs, alarm.signal);
      } catch {
        // Woken: that is what the signal is for.
      } finally {
        wake = undefined;
        stop.removeEventListener('abort', onStop);
      }
    },
    get dropped() {
      return dropped;
    },
  };
}
