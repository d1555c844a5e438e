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
//   GA6. Whoever is inside for clearly longer than answers take (250 to 500 ms, or 4 to 8 times the
//        usual) holds no place of the adaptive limit any more: a replica that hangs, or a wait for
//        one that is to come, is no overload, and others must get past.
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
  /** Of the gate when it was let in. */
  readonly generation: number;
  readonly answer: Promise<Entry>;
  /** Was it let in? It may be heard of later. */
  readonly isIn: boolean;
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
const STUCK_MS = 250;
const STUCK_FACTOR = 4;
/** What the others needed is forgotten by so much each time. */
const NEED_EVERY_MS = 100;
const NEED_KEEP = 0.95;

class QueuedWaiter implements Waiter {
  readonly kind = 'waiter';
  readonly tenant: string;
  readonly answer: Promise<Entry>;
  place: Waiting<QueuedWaiter> | undefined;
  generation = 0;
  isIn = false;
  #resolve: (entry: Entry) => void = () => undefined;

  constructor(tenant: string) {
    this.tenant = tenant;
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  settle(entry: Entry): void {
    this.isIn = entry === 'in';
    this.#resolve(entry);
  }
}

/** `young` came in the present generation, `old` in the one before: these hold places. */
interface Account {
  inside: number;
  generation: number;
  young: number;
  old: number;
}

const newAccount = (): Account => ({ inside: 0, generation: 0, young: 0, old: 0 });

export class Gate {
  readonly limit: Limit;
  readonly #nowMs: () => number;
  readonly #later: (afterMs: number, act: () => void) => () => void;
  readonly #queue: FairQueue<QueuedWaiter>;
  readonly #accounts = new Map<string, Account>();
  readonly #mayEnter = (tenant: string): boolean => this.#mayHaveMore(this.#account(tenant));
  /** All that are inside; whoever holds a place is among the young and the old of it. */
  readonly #all = newAccount();
  #generationFromMs = 0;
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
    return this.#all.inside;
  }

  /** Told back with `leave`, by whoever was just let in. */
  get generation(): number {
    return this.#all.generation;
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
    this.#age(nowMs);
    const account = this.#account(tenant);
    // Who waits while there is room is one that may not go in (GA2): nobody is overtaken here.
    if (
      this.#hasRoom &&
      this.#mayHaveMore(account) &&
      (this.#queue.length === 0 || this.#queue.lengthOf(tenant) === 0)
    ) {
      this.#count(account);
      return 'in';
    }
    return this.#queueUp(tenant, weight, nowMs);
  }

  /** `tookMs`: until the head of the answer came. `generation`: when it was let in. */
  leave(
    tenant: string,
    tookMs: number,
    ended: Ended,
    nowMs: number,
    generation = this.#all.generation,
  ): void {
    this.#age(nowMs);
    const account = this.#account(tenant);
    const busy = this.#busy(this.#all);
    const isFlood = this.#need >= 0.5 && this.#topBusy() * 2 >= busy;
    // What is refused to the one that floods tells of that one, not of the service.
    const isOwn = isFlood && account === this.#top && ended === 'refused';
    this.limit.note(tookMs, isOwn ? 'broken' : ended, busy, nowMs, isFlood);
    this.#uncount(this.#all, generation);
    this.#uncount(account, generation);
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
    if (account.inside === 0) this.#present += 1;
    for (const one of [this.#all, account]) {
      this.#renew(one);
      one.inside += 1;
      one.young += 1;
    }
    const isNew = account !== this.#top && this.#busy(account) > this.#topBusy();
    if (isNew) this.#top = account;
    const others = this.#busy(this.#all) - this.#topBusy();
    if (isNew || others > this.#need) this.#need = others;
  }

  #forgetNeed(nowMs: number): void {
    this.#needAtMs = nowMs;
    const others = this.#busy(this.#all) - this.#topBusy();
    this.#need = Math.max(others, this.#need * NEED_KEEP);
    if (this.#need < 0.1) this.#need = 0;
  }

  /** GA3. */
  #mayHaveMore(account: Account): boolean {
    const limit = this.limit.value;
    const most = Math.max(1, Math.min(limit - 1, Math.floor(limit * SHARE_MAX)));
    const busy = this.#busy(account);
    if (busy >= most) return false;
    if (account !== this.#top) return true;
    const tenants = Math.max(1, this.#present, this.#queue.lines);
    return busy < Math.max(1, limit / tenants, limit - this.#need);
  }

  /** GA6: a generation is so long that what is older than one of them is stuck. */
  #age(nowMs: number): void {
    const usualMs = this.limit.usualMs;
    const lengthMs = Math.max(STUCK_MS, Number.isNaN(usualMs) ? 0 : STUCK_FACTOR * usualMs);
    const ageMs = nowMs - this.#generationFromMs;
    if (ageMs < lengthMs) return;
    const all = this.#all;
    all.old = ageMs < 2 * lengthMs ? all.young : 0;
    all.young = 0;
    // Whoever comes after a long pause finds nobody of the generation before.
    all.generation += ageMs < 2 * lengthMs ? 1 : 2;
    this.#generationFromMs = nowMs;
  }

  /** The ceiling counts all, whatever they do there; the adaptive limit those that hold a place. */
  get #hasRoom(): boolean {
    return this.#all.inside < this.limit.ceiling && this.#busy(this.#all) < this.limit.value;
  }

  #renew(account: Account): void {
    const { generation } = this.#all;
    if (account.generation === generation) return;
    account.old = account.generation === generation - 1 ? account.young : 0;
    account.young = 0;
    account.generation = generation;
  }

  #busy(account: Account): number {
    this.#renew(account);
    return account.young + account.old;
  }

  #topBusy(): number {
    return this.#top === undefined ? 0 : this.#busy(this.#top);
  }

  #uncount(account: Account, generation: number): void {
    this.#renew(account);
    account.inside -= 1;
    if (generation === account.generation && account.young > 0) account.young -= 1;
    else if (generation >= account.generation - 1 && account.old > 0) account.old -= 1;
  }

  #account(tenant: string): Account {
    const known = this.#accounts.get(tenant);
    if (known !== undefined) return known;
    if (this.#accounts.size >= ACCOUNTS_MAX) this.#forgetIdle();
    const account = newAccount();
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
    while (this.#hasRoom && this.#queue.length > 0) {
      const waiter = this.#queue.take(this.#mayEnter);
      if (waiter === undefined) return;
      this.#count(this.#account(waiter.tenant));
      waiter.generation = this.#all.generation;
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
      const nowMs = this.#nowMs();
      this.#age(nowMs);
      this.#sweep(nowMs);
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
