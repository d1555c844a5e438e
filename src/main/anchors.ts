// How do the heads of the log leave this machine? One schedule over the anchors that the manifest
// names, its receipts beside the log, and at the start the question what they remember of us.
//
//   AN1. A medium that is away never holds up a start; one that remembers more of the log than its
//        folder holds refuses it (the ledger compares).
import { join } from 'node:path';
import type { HighWater } from '@kintsugi/ledger';
import { headOf, isRemembering } from '../drivers/anchors/anchor.ts';
import type { Anchor, AnchorReceipt } from '../drivers/anchors/anchor.ts';
import { openAnchorBook } from '../drivers/anchors/book.ts';
import { openAnchor } from '../drivers/anchors/open.ts';
import type { AnchorSpec } from '../drivers/anchors/open.ts';
import { openAnchorSchedule } from '../drivers/anchors/schedule.ts';
import type { AnchorState } from '../drivers/anchors/schedule.ts';
import { messageOf } from '../model/errors.ts';
import type { LedgerSpec } from '../model/manifest.ts';
import type { EvidenceTrouble } from '../model/signal.ts';
import type { Clock, Log, Random } from '../world/clock.ts';

export interface AnchorsWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface Anchors {
  /** What the anchors remember of this log: the largest size. */
  readonly highWater: HighWater | undefined;
  offer(checkpoint: string): void;
  states(): ReadonlyMap<string, AnchorState>;
  newest(anchor: string): AnchorReceipt | undefined;
  anchoredSize(): number;
  troubles(): readonly EvidenceTrouble[];
  close(): Promise<void>;
}

const REMEMBER_MS = 3_000;
/** A finding about our own history, as the anchors' errors name it. */
const FINDING = /KIN_ANCHOR_(?:FORK|ROLLED_BACK)/u;

export async function openAnchors(
  dir: string,
  origin: string,
  ledger: LedgerSpec,
  specs: readonly AnchorSpec[],
  world: AnchorsWorld,
  onAnchored: (size: number) => void,
): Promise<Anchors> {
  const all = [...specs, ...highWaterFile(ledger)];
  const anchors = await Promise.all(all.map((spec) => openAnchor(spec, world)));
  const book = await openAnchorBook(join(dir, 'anchors.log'));
  if (book.droppedBytes > 0) world.log.warn('a torn receipt was dropped', { ...book });
  const troubles = new Map<string, string>();
  const schedule = openAnchorSchedule({
    anchors,
    book,
    ...world,
    limits: { anchorEveryMs: ledger.anchorEveryMs, anchorEveryEntries: ledger.anchorEntries },
    onState(name, state) {
      if (state.kind === 'failed' && FINDING.test(state.reason)) troubles.set(name, state.reason);
      if (state.kind === 'anchored') troubles.delete(name);
      onAnchored(schedule.anchoredSize(1));
    },
  });
  return {
    highWater: await rememberedBy(anchors, origin, world),
    offer: (checkpoint) => schedule.offer(headOf(checkpoint)),
    states: () => schedule.states(),
    newest: (anchor) => book.newest(anchor),
    anchoredSize: () => schedule.anchoredSize(1),
    troubles: () => [...troubles].map(([name, detail]) => ({ part: `anchor ${name}`, detail })),
    async close() {
      await schedule.stop();
      await book.close();
    },
  };
}

/** `ledger.highWater` is the plainest anchor: a file that somebody else keeps. */
function highWaterFile({ highWater }: LedgerSpec): readonly AnchorSpec[] {
  if (highWater === undefined) return [];
  return [{ kind: 'file', name: 'high-water', path: highWater, layout: 'append' }];
}

/** AN1. */
async function rememberedBy(
  anchors: readonly Anchor[],
  origin: string,
  { clock, log }: AnchorsWorld,
): Promise<HighWater | undefined> {
  const asked = anchors.filter(isRemembering).map(async (anchor) => {
    const late = new AbortController();
    try {
      return await Promise.race([
        anchor.highWater(origin),
        clock.sleep(REMEMBER_MS, late.signal).then(() => undefined),
      ]);
    } catch (error) {
      log.warn('an anchor could not be asked', { anchor: anchor.name, error: messageOf(error) });
      return undefined;
    } finally {
      late.abort();
    }
  });
  const marks = (await Promise.all(asked)).filter((mark) => mark !== undefined);
  return marks.toSorted((a, b) => b.size - a.size)[0];
}
