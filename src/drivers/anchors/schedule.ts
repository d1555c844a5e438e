// When is a head anchored? Each anchor goes its own way: when its interval is over, or when enough
// entries came, it takes the newest head; a failure is retried with capped, jittered pauses, and
// never given up.
//
//   AS1. `offer` returns at once: neither the log nor another anchor ever waits for a slow medium.
//   AS2. A receipt counts only once it is durable in the book.
//   AS3. Failures never end the tries (P5); a finding (fork, roll-back) is told at once.
//   AS4. The state always says since when, and why.
import type { Clock, Log, Random } from '../../world/clock.ts';
import { messageOf } from '../../model/errors.ts';
import {
  type Anchor,
  type AnchoredHead,
  type AnchorReceipt,
  isPromise,
  isUpgrading,
} from './anchor.ts';
import type { AnchorBook } from './book.ts';
import { AnchorError } from './errors.ts';

const FAILED_AFTER = 3;
const UPGRADES_AT_ONCE = 16;
/** A day of promises at one every few minutes. */
const PROMISES_MAX = 512;
const STOP_MS = 3_000;

export interface ScheduleLimits {
  readonly anchorEveryMs: number;
  /** 0: only time counts. */
  readonly anchorEveryEntries: number;
  readonly retryFirstMs: number;
  readonly retryMaxMs: number;
}

export const SCHEDULE_LIMITS: ScheduleLimits = {
  anchorEveryMs: 600_000,
  anchorEveryEntries: 0,
  retryFirstMs: 5_000,
  retryMaxMs: 900_000,
};

export interface AnchorState {
  readonly kind: 'anchored' | 'pending' | 'failed';
  /** Wall clock, ms. */
  readonly sinceMs: number;
  readonly reason: string;
  /** The newest size that the medium holds for us; 0 before the first. */
  readonly size: number;
  /** Failures in a row. */
  readonly attempts: number;
}

export interface AnchorScheduleSetup {
  readonly anchors: readonly Anchor[];
  readonly book: Pick<AnchorBook, 'append' | 'receipts' | 'newest'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits?: Partial<ScheduleLimits>;
  /** Called after each change of a state, never twice for the same one. */
  readonly onState?: (anchor: string, state: AnchorState) => void;
  readonly onReceipt?: (receipt: AnchorReceipt) => void;
}

export interface AnchorSchedule {
  /** The newest published head; older ones are forgotten. */
  offer(head: AnchoredHead): void;
  states(): ReadonlyMap<string, AnchorState>;
  /** The largest size that at least `count` anchors hold; a mere promise does not count. */
  anchoredSize(count: number): number;
  /** Asks every anchor to act now, whatever its interval. */
  hurry(): void;
  stop(): Promise<void>;
}

export function openAnchorSchedule(setup: AnchorScheduleSetup): AnchorSchedule {
  const names = new Set(setup.anchors.map(({ name }) => name));
  if (names.size !== setup.anchors.length)
    throw new AnchorError('KIN_ANCHOR_CONFIG', 'two anchors have the same name');
  const limits = { ...SCHEDULE_LIMITS, ...setup.limits };
  const lanes = setup.anchors.map((anchor) => new Lane(anchor, setup, limits));
  return {
    offer: (head) => {
      for (const lane of lanes) lane.offer(head);
    },
    states: () => new Map(lanes.map((lane) => [lane.name, lane.state])),
    anchoredSize(count) {
      const sizes = lanes.map(({ heldSize }) => heldSize).toSorted((a, b) => b - a);
      return count < 1 ? 0 : (sizes[count - 1] ?? 0);
    },
    hurry: () => {
      for (const lane of lanes) lane.hurry();
    },
    async stop() {
      await Promise.all(lanes.map((lane) => lane.stop()));
    },
  };
}

/** One anchor on its own way. */
class Lane {
  readonly name: string;
  state: AnchorState;
  /** The largest size of a receipt that is no mere promise. */
  heldSize: number;
  readonly #anchor: Anchor;
  readonly #setup: AnchorScheduleSetup;
  readonly #limits: ScheduleLimits;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #head: AnchoredHead | undefined;
  #wake = new AbortController();
  #isHurried = false;
  #turn = -1;
  /** When the next regular round is due, on the monotonic clock. */
  #dueMs: number;

  constructor(anchor: Anchor, setup: AnchorScheduleSetup, limits: ScheduleLimits) {
    this.name = anchor.name;
    this.#anchor = anchor;
    this.#setup = setup;
    this.#limits = limits;
    const newest = setup.book.newest(anchor.name);
    this.state = stateOf(newest, setup.clock.nowMs());
    this.heldSize = 0;
    for (const receipt of setup.book.receipts(this.name, PROMISES_MAX)) this.#count(receipt);
    // After a start the first head is anchored at once: nobody knows how long we were away.
    this.#dueMs = setup.clock.monotonicMs();
    this.#running = this.#run();
  }

  offer(head: AnchoredHead): void {
    if (this.#head !== undefined && head.size < this.#head.size) return;
    this.#head = head;
    this.#wake.abort();
  }

  hurry(): void {
    this.#isHurried = true;
    this.#wake.abort();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake.abort();
    const late = new AbortController();
    const waited = this.#setup.clock.sleep(STOP_MS, late.signal).catch(() => undefined);
    // A server that hangs ends by its own timeout; nobody has to wait for that.
    await Promise.race([this.#running, waited]);
    late.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      if (this.#isDue()) {
        await this.#round();
        continue;
      }
      const leftMs = this.#dueMs - this.#setup.clock.monotonicMs();
      // Nothing new to anchor: only an offer, a promise to upgrade or the end can change that.
      await this.#sleep(leftMs > 0 ? leftMs : this.#limits.anchorEveryMs);
    }
  }

  #isDue(): boolean {
    const hasNews = this.#head !== undefined && this.#head.size > this.state.size;
    if (this.#isHurried) return true;
    const isTime = this.#setup.clock.monotonicMs() >= this.#dueMs;
    if (isTime) return hasNews || this.state.attempts > 0 || this.#promises().length > 0;
    const { anchorEveryEntries } = this.#limits;
    const gained = (this.#head?.size ?? 0) - this.state.size;
    // Failures wait for their pause, however many entries come.
    return anchorEveryEntries > 0 && gained >= anchorEveryEntries && this.state.attempts === 0;
  }

  async #round(): Promise<void> {
    this.#isHurried = false;
    try {
      const head = this.#head;
      if (head !== undefined && head.size > this.state.size)
        await this.#keep(await this.#anchor.anchor(head, this.#stopped.signal));
      await this.#upgrade();
      this.#dueMs = this.#setup.clock.monotonicMs() + this.#limits.anchorEveryMs;
      this.#become({ ...stateOf(this.#newest(), this.#setup.clock.nowMs()), attempts: 0 });
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#fail(error);
    }
  }

  #promises(): readonly AnchorReceipt[] {
    if (!isUpgrading(this.#anchor)) return [];
    return this.#setup.book.receipts(this.name, PROMISES_MAX).filter(isPromise);
  }

  /** A few of them a round, in turn, so that one calendar that is gone cannot starve the others. */
  async #upgrade(): Promise<void> {
    const anchor = this.#anchor;
    const promises = this.#promises();
    if (!isUpgrading(anchor) || promises.length === 0) return;
    let failure: Error | undefined;
    for (let turn = 0; turn < Math.min(UPGRADES_AT_ONCE, promises.length); turn += 1) {
      this.#turn = (this.#turn + 1) % promises.length;
      const receipt = promises[this.#turn];
      if (receipt === undefined || this.#stopped.signal.aborted) return;
      try {
        const upgraded = await anchor.upgrade(receipt);
        if (upgraded !== receipt) await this.#keep(upgraded);
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error(messageOf(error));
      }
    }
    if (failure !== undefined) throw failure;
  }

  async #keep(receipt: AnchorReceipt): Promise<void> {
    await this.#setup.book.append(receipt);
    this.#count(receipt);
    this.#setup.onReceipt?.(receipt);
  }

  #count(receipt: AnchorReceipt): void {
    if (!isPromise(receipt)) this.heldSize = Math.max(this.heldSize, receipt.size);
  }

  #newest(): AnchorReceipt | undefined {
    return this.#setup.book.newest(this.name);
  }

  #fail(error: unknown): void {
    const { clock, random, log } = this.#setup;
    const { retryFirstMs, retryMaxMs } = this.#limits;
    const attempts = this.state.attempts + 1;
    const isFinal = !(error instanceof AnchorError) || !error.retryable;
    const pauseMs = Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(attempts - 1, 30));
    // Half to all of the pause, so that several anchors do not knock in step.
    this.#dueMs = clock.monotonicMs() + pauseMs * (0.5 + random.next(`anchor.${this.name}`) / 2);
    const kind = isFinal || attempts >= FAILED_AFTER ? 'failed' : 'pending';
    const code = error instanceof AnchorError ? `${error.code}: ` : '';
    const reason = `${code}${messageOf(error)}`;
    if (isFinal) log.error('anchoring failed', { anchor: this.name, reason });
    else log.warn('anchoring failed, it is tried again', { anchor: this.name, reason, attempts });
    const sinceMs = this.state.kind === kind ? this.state.sinceMs : clock.nowMs();
    this.#become({ kind, sinceMs, reason, size: this.state.size, attempts });
  }

  #become(state: AnchorState): void {
    const before = this.state;
    const isSame =
      before.kind === state.kind && before.reason === state.reason && before.size === state.size;
    this.state = { ...state, sinceMs: isSame ? before.sinceMs : state.sinceMs };
    if (!isSame) this.#setup.onState?.(this.name, this.state);
  }

  async #sleep(ms: number): Promise<void> {
    this.#wake = new AbortController();
    // A head offered between the look and this line must not be slept over.
    if (this.#stopped.signal.aborted || this.#isDue()) return;
    try {
      await this.#setup.clock.sleep(ms, this.#wake.signal);
    } catch (error) {
      if (!this.#wake.signal.aborted) throw error;
    }
  }
}

function stateOf(receipt: AnchorReceipt | undefined, nowMs: number): AnchorState {
  if (receipt === undefined)
    return {
      kind: 'pending',
      sinceMs: nowMs,
      reason: 'nothing anchored yet',
      size: 0,
      attempts: 0,
    };
  const { size, atMs } = receipt;
  if (isPromise(receipt))
    return { kind: 'pending', sinceMs: atMs, reason: 'promised by calendars', size, attempts: 0 };
  return { kind: 'anchored', sinceMs: atMs, reason: `size ${size} is anchored`, size, attempts: 0 };
}
