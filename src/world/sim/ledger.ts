// Where is everything written down in a simulation? An append-only list that outlives incarnations
// and checks its own rules; cheap enough for millions of entries. A part of the seeds run over the
// real transparency log instead.
//
//   SL1. Entries are appended, never changed; an index is given once.
//   SL2. An intent gets at most one outcome, and only an intent gets one.
import type { EntryKind } from '../../model/entry.ts';
import { assert } from '../../model/errors.ts';
import type { Ledger, OpenIntent, Written } from '../ledger.ts';
import type { Life } from './clock.ts';
import { unanswered } from './runtime.ts';

export interface SimEntry {
  readonly index: number;
  readonly kind: EntryKind;
  readonly detail: unknown;
}

/** What is on the ledger's disk. */
export interface LedgerDisk {
  size: number;
  readonly open: Map<number, OpenIntent>;
  /** How many outcomes each closed intent got: always 1. */
  closed: number;
  intents: number;
}

export const ledgerDisk = (): LedgerDisk => ({ size: 0, open: new Map(), closed: 0, intents: 0 });

export interface SimLedgerSetup {
  readonly disk: LedgerDisk;
  readonly life: Life;
  /** Takes time or throws, as a real disk does. */
  readonly before: () => Promise<void> | void;
  readonly onEntry: (entry: SimEntry) => void;
}

export function openSimLedger(setup: SimLedgerSetup): Ledger {
  const { disk, life } = setup;
  function append(kind: EntryKind, detail: unknown): Written {
    const index = disk.size;
    disk.size += 1;
    setup.onEntry({ index, kind, detail });
    return { index, leafHash: `simulated-${index}` };
  }
  async function gate<T>(work: () => T): Promise<T> {
    if (life.dead) return unanswered();
    await setup.before();
    if (life.dead) return unanswered();
    return work();
  }
  return {
    intent: (subject, detail) =>
      gate(() => {
        const written = append('plan.intent', detail);
        disk.intents += 1;
        disk.open.set(written.index, { index: written.index, subject, detail });
        return written;
      }),
    outcome: (index, result, detail) =>
      gate(() => {
        assert(disk.open.delete(index), `intent ${index} is open and gets its one outcome (SL2)`);
        disk.closed += 1;
        return append('plan.outcome', { index, result, detail });
      }),
    record: (kind, detail) => gate(() => append(kind, detail)),
    note(kind, detail) {
      void gate(() => append(kind, detail)).catch(() => undefined);
    },
    openIntents: () => [...disk.open.values()],
    troubles: () => [],
    head: () => ({ size: disk.size, checkpoint: '' }),
    async close() {},
  };
}
