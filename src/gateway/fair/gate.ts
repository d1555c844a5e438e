// May one more request of this tenant go to this service's replicas now, or must it wait, or go
// away? Joins the adaptive limit with the fair queue: at once and without garbage while there is
// room, by turns when there is none.
//
//   GA1. `inside` is exact: whoever was told 'in' owes one `leave`, nobody else does.
//   GA2. No wake-up is lost: while there is room, nobody waits who may go in.
//   GA3. No tenant is on more than nine tenths of the places (all but one of few), and the one with
//        most leaves as many as the others needed at once lately, down to its fair share: whoever
//        comes beside a flood finds room at once, instead of after the next answer.
//   GA4. A waiter gets exactly one answer: in, or why not. After `cancel` it is never let in.
//   GA5. No timer runs while nobody waits.
import { Limit } from './limit.ts';
import type { Ended } from './limit.ts';
import { FairQueue, QUEUE_LIMITS } from './queue.ts';
import type { QueueLimits, Waiting } from './queue.ts';

export type ShedReason =
  | 'queue-full'
  | 'tenant-queue-full'
  /** One of higher priority, or of a shorter line, came when all places were taken. */
  | 'gave-place'
  | 'waited-too-long'
  | 'cancelled'
  | 'closed';

export interface Shed {
  readonly kind: 'shed';
  readonly reason: ShedReason;
  readonly retryAfterMs: number;
}

export type Entry = 'in' | Shed;

export interface Waiter {
  readonly kind: 'waiter';
  readonly answer: Promise<Entry>;
}

export interface GateOptions {
  /** Of this worker: `ServiceRoute.concurrencyMax` shared out over the workers. */
  readonly ceiling: number;
  /** Replicas of the service: fewer requests inside than these are never overload. */
  readonly replicas?: number;
  readonly nowMs: () => number;
  /** Calls back once after so many ms; answers how to call it off. */
  readonly later?: (afterMs: number, act: () => void) => () => void;
  readonly queue?: QueueLimits;
}

export const CEILING_DEFAULT = 2_048;
const SHARE_MAX = 0.9;
const SWEEP_MS = 25;
const RETRY_AFTER_MS = 1_000;
const ACCOUNTS_MAX = 16_384;
/** What the others needed is forgotten by so much each time. */
const NEED_EVERY_MS = 100;
const NEED_KEEP = 0.95;

class QueuedWaiter implements Waiter {
  readonly kind = 'waiter';
  readonly tenant: string;
  readonly answer: Promise<Entry>;
  place: Waiting<QueuedWaiter> | undefined;
  #resolve: (entry: Entry) => void = () => undefined;

  constructor(tenant: string) {
    this.tenant = tenant;
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  settle(entry: Entry): void {
    this.#resolve(entry);
  }
}

interface Account {
  inside: number;
}

export class Gate {
  readonly limit: Limit;
  readonly #nowMs: () => number;
  readonly #later: (afterMs: number, act: () => void) => () => void;
  readonly #queue: FairQueue<QueuedWaiter>;
  readonly #accounts = new Map<string, Account>();
  readonly #mayEnter = (tenant: string): boolean => this.#mayHaveMore(this.#account(tenant));
  #inside = 0;
  /** Tenants with something inside. */
  #present = 0;
  /** Who has most inside, and what the others together had inside at most, lately. */
  #top: Account | undefined;
  #need = 0;
  #needAtMs = 0;
  #sweptAtMs = 0;
  #callOff: (() => void) | undefined;
  #closed = false;

  constructor(options: GateOptions) {
    this.limit = new Limit(options.ceiling, options.replicas);
    this.#nowMs = options.nowMs;
    this.#later = options.later ?? timer;
    this.#queue = new FairQueue(options.queue ?? QUEUE_LIMITS);
  }

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  insideOf(tenant: string): number {
    return this.#accounts.get(tenant)?.inside ?? 0;
  }

  waitingOf(tenant: string): number {
    return this.#queue.lengthOf(tenant);
  }

  /** A new table. */
  setBounds(ceiling: number, replicas: number): void {
    this.limit.setBounds(ceiling, replicas);
    this.#letIn();
  }

  enter(tenant: string, weight: number, nowMs: number): Entry | Waiter {
    const account = this.#account(tenant);
    // Who waits while there is room is one that may not go in (GA2): nobody is overtaken here.
    if (
      this.#inside < this.limit.value &&
      this.#mayHaveMore(account) &&
      (this.#queue.length === 0 || this.#queue.lengthOf(tenant) === 0)
    ) {
      this.#count(account);
      return 'in';
    }
    return this.#queueUp(tenant, weight, nowMs);
  }

  /** `tookMs`: until the head of the answer came. */
  leave(tenant: string, tookMs: number, ended: Ended, nowMs: number): void {
    const account = this.#account(tenant);
    const isFlood = this.#need >= 0.5 && (this.#top?.inside ?? 0) * 2 >= this.#inside;
    this.limit.note(tookMs, ended, this.#inside, nowMs, isFlood);
    this.#inside -= 1;
    account.inside -= 1;
    if (account.inside === 0) this.#present -= 1;
    if (nowMs - this.#needAtMs >= NEED_EVERY_MS) this.#forgetNeed(nowMs);
    if (this.#queue.length === 0) return;
    if (nowMs - this.#sweptAtMs >= SWEEP_MS) this.#sweep(nowMs);
    this.#letIn();
  }

  /** Its client is gone. False: it was let in before, and owes its `leave`. */
  cancel(waiter: Waiter): boolean {
    if (!(waiter instanceof QueuedWaiter) || waiter.place === undefined) return false;
    if (!this.#queue.remove(waiter.place)) return false;
    waiter.settle(shed('cancelled'));
    return true;
  }

  /** Everybody who waits is sent away. */
  close(): void {
    this.#closed = true;
    this.#callOff?.();
    this.#callOff = undefined;
    for (const waiter of this.#queue.clear()) waiter.settle(shed('closed'));
  }

  #queueUp(tenant: string, weight: number, nowMs: number): Shed | Waiter {
    if (this.#closed) return shed('closed');
    const waiter = new QueuedWaiter(tenant);
    const answer = this.#queue.put(tenant, weight, waiter, nowMs);
    if (answer.kind === 'full') return shed(answer.reason);
    waiter.place = answer.waiting;
    answer.instead?.settle(shed('gave-place'));
    this.#arm();
    return waiter;
  }

  #count(account: Account): void {
    this.#inside += 1;
    if (account.inside === 0) this.#present += 1;
    account.inside += 1;
    const isNew = account !== this.#top && account.inside > (this.#top?.inside ?? 0);
    if (isNew) this.#top = account;
    const others = this.#inside - (this.#top?.inside ?? 0);
    if (isNew || others > this.#need) this.#need = others;
  }

  #forgetNeed(nowMs: number): void {
    this.#needAtMs = nowMs;
    const others = this.#inside - (this.#top?.inside ?? 0);
    this.#need = Math.max(others, this.#need * NEED_KEEP);
    if (this.#need < 0.1) this.#need = 0;
  }

  /** GA3. */
  #mayHaveMore(account: Account): boolean {
    const limit = this.limit.value;
    const most = Math.max(1, Math.min(limit - 1, Math.floor(limit * SHARE_MAX)));
    if (account.inside >= most) return false;
    if (account !== this.#top) return true;
    const tenants = Math.max(1, this.#present, this.#queue.lines);
    return account.inside < Math.max(1, limit / tenants, limit - this.#need);
  }

  #account(tenant: string): Account {
    const known = this.#accounts.get(tenant);
    if (known !== undefined) return known;
    if (this.#accounts.size >= ACCOUNTS_MAX) this.#forgetIdle();
    const account = { inside: 0 };
    this.#accounts.set(tenant, account);
    return account;
  }

  #forgetIdle(): void {
    for (const [tenant, { inside }] of this.#accounts) {
      if (inside === 0) this.#accounts.delete(tenant);
    }
    if (this.#top?.inside === 0) this.#top = undefined;
  }

  #letIn(): void {
    while (this.#inside < this.limit.value && this.#queue.length > 0) {
      const waiter = this.#queue.take(this.#mayEnter);
      if (waiter === undefined) return;
      this.#count(this.#account(waiter.tenant));
      waiter.settle('in');
    }
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const waiter of this.#queue.expire(nowMs)) waiter.settle(shed('waited-too-long'));
  }

  /** GA5. */
  #arm(): void {
    if (this.#callOff !== undefined || this.#closed) return;
    this.#callOff = this.#later(SWEEP_MS, () => {
      this.#callOff = undefined;
      this.#sweep(this.#nowMs());
      this.#letIn();
      if (this.#queue.length > 0) this.#arm();
    });
  }
}

const shed = (reason: ShedReason): Shed => ({
  kind: 'shed',
  reason,
  retryAfterMs: RETRY_AFTER_MS,
});

function timer(afterMs: number, act: () => void): () => void {
  const running = setTimeout(act, afterMs);
  return () => clearTimeout(running);
}
