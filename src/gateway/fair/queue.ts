// Who of those that wait is let in next? One line for each tenant, taken from by deficit round
// robin with the tenants' weights, so that however long one's line is, the others' turn comes.
//
//   FQ1. Within one tenant the first to come is the first to go in.
//   FQ2. Of tenants that all wait, each gets its weight's share, whatever the lengths of the lines.
//        One whose line was empty comes first, once a round, so that a sparse sender waits for one
//        answer and not for a round; but no more of these in a row than there are lines, and
//        nobody of less than the usual weight.
//   FQ3. At most `waitingMax` wait in all and `tenantMax` of one tenant. When all places are taken,
//        one that comes takes the place of the last in the longest line of the lowest weight, if
//        that weight is lower than its own, or equal and its line longer than its own will be.
//   FQ4. Nobody waits longer than `patienceMs`; in a line that was not empty for as long, nobody
//        longer than `standingPatienceMs`: a line that stands helps nobody, it only delays.

export interface QueueLimits {
  readonly waitingMax: number;
  readonly tenantMax: number;
  readonly patienceMs: number;
  readonly standingPatienceMs: number;
}

export const QUEUE_LIMITS: QueueLimits = {
  waitingMax: 2_048,
  tenantMax: 256,
  patienceMs: 500,
  standingPatienceMs: 100,
};

/** The weight of priority 5, which most tenants have. */
const USUAL_WEIGHT = 6;
/** Six sixths are a little less than one. */
const ONE = 1 - 1e-9;

/** A tenant's weight from its priority, 0–9. */
export const weightOf = (priority: number | undefined): number =>
  1 + Math.max(0, Math.min(9, priority ?? 5));

export interface Waiting<T> {
  readonly line: Line<T>;
  readonly item: T;
  readonly sinceMs: number;
  /** Still in its line? */
  waits: boolean;
}

export interface Line<T> {
  readonly tenant: string;
  weight: number;
  /** Owned by the queue: what it may still take in this round. */
  deficit: number;
  /** From `first` on, which still waits; what is before is forgotten now and then. */
  waiting: Waiting<T>[];
  first: number;
  length: number;
  /** Since when it was never empty. */
  standsSinceMs: number;
}

export type QueueAnswer<T> =
  | { readonly kind: 'queued'; readonly waiting: Waiting<T>; readonly instead: T | undefined }
  | { readonly kind: 'full'; readonly reason: 'tenant-queue-full' | 'queue-full' };

export class FairQueue<T> {
  readonly limits: QueueLimits;
  readonly #lines = new Map<string, Line<T>>();
  /** Lines that are not empty, in the order of their turns; fresh ones have had none yet. */
  readonly #ring: Line<T>[] = [];
  readonly #fresh: Line<T>[] = [];
  /** Who came first in this round already. */
  readonly #favoured = new Set<string>();
  #freshInARow = 0;
  #at = 0;
  #length = 0;

  constructor(limits: QueueLimits = QUEUE_LIMITS) {
    this.limits = limits;
  }

  get length(): number {
    return this.#length;
  }

  /** Tenants that wait. */
  get lines(): number {
    return this.#lines.size;
  }

  lengthOf(tenant: string): number {
    return this.#lines.get(tenant)?.length ?? 0;
  }

  put(tenant: string, weight: number, item: T, nowMs: number): QueueAnswer<T> {
    const known = this.#lines.get(tenant);
    if ((known?.length ?? 0) >= this.limits.tenantMax) {
      return { kind: 'full', reason: 'tenant-queue-full' };
    }
    let instead: T | undefined;
    if (this.#length >= this.limits.waitingMax) {
      const victim = this.#victim(weight, (known?.length ?? 0) + 1);
      if (victim === undefined) return { kind: 'full', reason: 'queue-full' };
      instead = victim.item;
      this.remove(victim);
    }
    const line = this.#lines.get(tenant) ?? this.#open(tenant, weight, nowMs);
    line.weight = weight;
    const waiting: Waiting<T> = { line, item, sinceMs: nowMs, waits: true };
    line.waiting.push(waiting);
    line.length += 1;
    this.#length += 1;
    return { kind: 'queued', waiting, instead };
  }

  /** The next one that `may` go in, by turns; undefined when none may. */
  take(may: (tenant: string) => boolean): T | undefined {
    if (this.#ring.length === 0 || this.#freshInARow <= this.#lines.size) {
      const found = this.#takeFresh(may);
      if (found !== undefined) return found;
    }
    this.#freshInARow = 0;
    return this.#takeByTurns(may) ?? this.#takeFresh(may);
  }

  #takeFresh(may: (tenant: string) => boolean): T | undefined {
    for (const line of this.#fresh) {
      if (!may(line.tenant)) continue;
      const head = line.waiting[line.first];
      if (head === undefined) return undefined;
      this.#freshInARow += 1;
      this.#favoured.add(line.tenant);
      this.#fresh.splice(this.#fresh.indexOf(line), 1);
      this.#ring.push(line);
      this.remove(head);
      return head.item;
    }
    return undefined;
  }

  #takeByTurns(may: (tenant: string) => boolean): T | undefined {
    const { length } = this.#ring;
    // A line of the lowest weight has saved up for one after so many rounds.
    const rounds = USUAL_WEIGHT + 1;
    for (let i = 0, idle = 0; i < length * rounds && idle < length; i += 1) {
      if (this.#at >= this.#ring.length) {
        this.#at = 0;
        this.#favoured.clear();
      }
      const line = this.#ring[this.#at];
      if (line === undefined) return undefined;
      if (!may(line.tenant)) {
        idle += 1;
        this.#at += 1;
        continue;
      }
      idle = 0;
      // Its turn is taken up again where it stopped: what it may take is added once a round.
      if (line.deficit < ONE) line.deficit += line.weight / USUAL_WEIGHT;
      if (line.deficit < ONE) {
        this.#at += 1;
        continue;
      }
      line.deficit -= 1;
      const head = line.waiting[line.first];
      if (head === undefined) return undefined;
      if (line.deficit < ONE) this.#at += 1;
      this.remove(head);
      return head.item;
    }
    return undefined;
  }

  /** It leaves, for whatever reason; false when it had left already. */
  remove(waiting: Waiting<T>): boolean {
    if (!waiting.waits) return false;
    waiting.waits = false;
    const { line } = waiting;
    line.length -= 1;
    this.#length -= 1;
    if (line.length === 0) this.#close(line);
    else trim(line);
    return true;
  }

  /** FQ4. Takes out all who have waited too long, and answers them. */
  expire(nowMs: number): readonly T[] {
    const late: T[] = [];
    for (const line of [...this.#lines.values()]) {
      const patienceMs = this.#patienceMs(line, nowMs);
      for (const waiting of line.waiting.slice(line.first)) {
        if (!waiting.waits) continue;
        if (nowMs - waiting.sinceMs < patienceMs) break;
        if (this.remove(waiting)) late.push(waiting.item);
      }
    }
    return late;
  }

  /** Everybody leaves. */
  clear(): readonly T[] {
    const all: T[] = [];
    for (const line of [...this.#lines.values()]) {
      for (const waiting of [...line.waiting]) if (this.remove(waiting)) all.push(waiting.item);
    }
    return all;
  }

  #patienceMs(line: Line<T>, nowMs: number): number {
    const { patienceMs, standingPatienceMs } = this.limits;
    return nowMs - line.standsSinceMs >= patienceMs ? standingPatienceMs : patienceMs;
  }

  #open(tenant: string, weight: number, nowMs: number): Line<T> {
    const line: Line<T> = {
      tenant,
      weight,
      deficit: 0,
      waiting: [],
      first: 0,
      length: 0,
      standsSinceMs: nowMs,
    };
    this.#lines.set(tenant, line);
    if (this.#ring.length === 0) this.#favoured.clear();
    const isFavoured = weight >= USUAL_WEIGHT && !this.#favoured.has(tenant);
    (isFavoured ? this.#fresh : this.#ring).push(line);
    return line;
  }

  #close(line: Line<T>): void {
    this.#lines.delete(line.tenant);
    const fresh = this.#fresh.indexOf(line);
    if (fresh >= 0) this.#fresh.splice(fresh, 1);
    const at = this.#ring.indexOf(line);
    if (at < 0) return;
    this.#ring.splice(at, 1);
    if (at < this.#at) this.#at -= 1;
  }

  /** FQ3. */
  #victim(weight: number, lengthAfter: number): Waiting<T> | undefined {
    let found: Line<T> | undefined;
    for (const line of this.#lines.values()) {
      const isLower =
        found === undefined ||
        line.weight < found.weight ||
        (line.weight === found.weight && line.length > found.length);
      if (isLower) found = line;
    }
    if (found === undefined || found.weight > weight) return undefined;
    if (found.weight === weight && found.length <= lengthAfter) return undefined;
    return found.waiting.findLast(({ waits }) => waits);
  }
}

/** Forgets those that have left, from the front. */
function trim<T>(line: Line<T>): void {
  while (line.waiting[line.first]?.waits === false) line.first += 1;
  if (line.first < 64) return;
  line.waiting = line.waiting.slice(line.first);
  line.first = 0;
}
