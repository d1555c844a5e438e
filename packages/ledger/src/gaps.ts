// What becomes of entries that nobody waits for when they cannot be kept? They are counted, and the
// count reaches the log of everybody concerned, if need be after the next start.
// G1. Every loss is counted, in whatever state the log is.
// G2. At most one `ledger.gap` a second while losses go on, and none from the space that a full
//     disk keeps for outcomes, except while closing.
// G3. A tenant that lost entries has the gap in its own log: nobody can prove "complete" over it.
// G4. What could not be written lies in the document `outage.json` (best effort), and is written
//     by the next opening. A gap whose fate is unknown (a crash, a failed sync) may be there twice
//     rather than not at all.

import type { LedgerState } from './api.ts';
import { fromUtf8, utf8 } from './bytes.ts';
import { encodeEntry } from './entry.ts';
import type { LedgerClock } from './files.ts';
import { canonicalJson } from './json.ts';
import type { RecordStore } from './store.ts';
import { isTenantId, tenantOf } from './tenants/tenant-of.ts';

export const OUTAGE = 'outage.json';
export const OUTAGE_BYTES_MAX = 262_144;
const GAP_EVERY_MS = 1000;
/** Tenants that one gap names, and that gets an entry each in its group. */
const GAP_TENANTS_MAX = 100;
/** Tenants that are told apart; losses of others count for the log as a whole. */
const TENANTS_MAX = 1000;

export interface Losses {
  fromMs: number;
  toMs: number;
  /** Of no tenant, or of one too many. */
  unnamed: number;
  readonly tenants: Map<string, number>;
}

export interface GapPorts {
  readonly clock: LedgerClock;
  readonly store: Pick<RecordStore, 'replaceDocument' | 'removeDocument'>;
  readonly salt: (() => string) | undefined;
  readonly state: () => LedgerState['kind'];
  /** Submits before it returns; resolves when durable. */
  readonly write: (entry: Uint8Array, deadlineMs: number) => Promise<unknown>;
}

export class Gaps {
  readonly #ports: GapPorts;
  readonly #ended = new AbortController();
  #losses = noLosses();
  #lostTotal = 0;
  #writing = 0;
  #writtenAtMs = -Infinity;
  #isSleeping = false;
  /** Is there a document, and does it say all? */
  #document: 'none' | 'stale' | 'whole' = 'none';
  #turn: Promise<unknown> = Promise.resolve();
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(ports: GapPorts) {
    this.#ports = ports;
  }

  get lostTotal(): number {
    return this.#lostTotal;
  }

  /** G1: `atMs` is when the entry was handed in. */
  count(entry: Uint8Array, atMs: number): void {
    this.#lostTotal += 1;
    addLoss(this.#losses, tenantOf(entry), 1, atMs, this.#ports.clock.nowMs());
    if (this.#document === 'whole') this.#document = 'stale';
    if (!this.#isSleeping && this.#isStopped()) void this.#keep();
    this.#sleep();
  }

  /** After every group and every second: is something due? */
  tick(): void {
    if (totalOf(this.#losses) === 0) return;
    if (this.#isStopped()) {
      if (this.#document !== 'whole') void this.#keep();
      return;
    }
    const sinceMs = this.#ports.clock.monotonicMs() - this.#writtenAtMs;
    if (this.#ports.state() === 'open' && sinceMs >= GAP_EVERY_MS) void this.#write();
    else this.#sleep();
  }

  /** The disk has space again. */
  resumed(): void {
    void this.#write();
  }

  /** While closing, before nothing is taken any more: the last entries are handed in. */
  writeLast(): void {
    // Bounded by TENANTS_MAX: each round takes up to GAP_TENANTS_MAX of them.
    while (totalOf(this.#losses) > 0 && this.#ports.state() !== 'failed') {
      void this.#write('last');
    }
  }

  /**
   * Before the lock is given back; afterwards the folder may be another's. Tells how many losses
   * are written down nowhere.
   */
  async end(): Promise<number> {
    // What was handed in last has settled in the log, but may not be counted here yet.
    await this.#underWay;
    await this.#settle();
    await this.#keep();
    this.#ended.abort();
    return this.#document === 'whole' ? 0 : totalOf(this.#losses);
  }

  /** G4: what an earlier process left behind, as read by `readOutage`. */
  async recover(outage: Losses | 'damaged', deadlineMs: number): Promise<void> {
    this.#document = 'stale';
    const { clock, write } = this.#ports;
    const until = iso(clock.nowMs());
    if (outage === 'damaged') {
      const detail = { lost: null, until };
      const entry = encodeEntry({ v: 1, kind: 'ledger.gap', at: until, detail });
      const isTold = await write(entry, deadlineMs).then(
        () => true,
        () => false,
      );
      // The document stays for the next start.
      if (!isTold) return;
    } else {
      // As in `writeLast`.
      while (totalOf(outage) > 0) {
        const part = takePart(outage);
        await this.#submit(part, { since: iso(part.fromMs), until }, deadlineMs);
      }
    }
    await this.#settle();
  }

  async #write(when: 'due' | 'last' = 'due'): Promise<void> {
    if (totalOf(this.#losses) === 0 || (this.#writing > 0 && when === 'due')) return;
    this.#writtenAtMs = this.#ports.clock.monotonicMs();
    if (this.#document === 'whole') this.#document = 'stale';
    const part = takePart(this.#losses);
    const times = { from: iso(part.fromMs), to: iso(part.toMs) };
    this.#writing += 1;
    const written = this.#submit(part, { ...times, lostTotal: this.#lostTotal }, Infinity);
    this.#underWay = Promise.all([this.#underWay, written]);
    await written;
    this.#writing -= 1;
    await this.#settle();
  }

  /** One for the whole log and, in the same group, one for each tenant (G3). */
  async #submit(part: Losses, more: object, deadlineMs: number): Promise<void> {
    const { salt, write, clock } = this.#ports;
    const { fromMs, toMs } = part;
    const own = { v: 1, kind: 'ledger.gap', at: iso(clock.nowMs()) };
    const tenants = part.tenants.size === 0 ? {} : { tenants: Object.fromEntries(part.tenants) };
    const detail = { ...more, lost: totalOf(part), ...tenants };
    const whole = write(encodeEntry({ ...own, detail }), deadlineMs);
    const each = [...part.tenants].map(([tenant, lost]) => {
      if (salt === undefined) return whole;
      const entry = { ...own, detail: { ...more, lost, lostTotal: undefined } };
      return write(encodeEntry({ ...entry, tenant, salt: salt() }), deadlineMs);
    });
    const [outcome, ...ofTenants] = await Promise.allSettled([whole, ...each]);
    // Whatever was not written is counted again.
    const isRefused = outcome?.status === 'rejected';
    if (isRefused) addLoss(this.#losses, undefined, part.unnamed, fromMs, toMs);
    for (const [at, [tenant, lost]] of [...part.tenants].entries()) {
      if (!isRefused && ofTenants[at]?.status === 'fulfilled') continue;
      addLoss(this.#losses, tenant, lost, fromMs, toMs);
    }
  }

  /** What has been written needs no document any more; the rest needs one more than before. */
  #settle(): Promise<void> {
    if (totalOf(this.#losses) > 0) {
      this.#sleep();
      return this.#document !== 'none' || this.#isStopped() ? this.#keep() : Promise.resolve();
    }
    if (this.#document === 'none') return Promise.resolve();
    return this.#inTurn(async () => {
      if (totalOf(this.#losses) > 0) return;
      await this.#ports.store.removeDocument(OUTAGE);
      this.#document = 'none';
    });
  }

  #keep(): Promise<void> {
    return this.#inTurn(async () => {
      if (totalOf(this.#losses) === 0 || this.#document === 'whole') return;
      const { fromMs, tenants } = this.#losses;
      const lost = totalOf(this.#losses);
      const said = { v: 1, since: iso(fromMs), lost, tenants: Object.fromEntries(tenants) };
      this.#document = 'whole';
      await this.#ports.store
        .replaceDocument(OUTAGE, utf8(`${canonicalJson(said)}\n`))
        .catch(() => {
          // Tried again with the next loss, and at the end.
          this.#document = 'stale';
        });
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(() => (this.#ended.signal.aborted ? undefined : work()));
    const settled = done.catch(() => undefined);
    this.#turn = settled;
    return settled;
  }

  /** Nothing can be written now; `closed` is left to `end`. */
  #isStopped(): boolean {
    const state = this.#ports.state();
    return state === 'full' || state === 'failed';
  }

  #sleep(): void {
    const { clock } = this.#ports;
    const { signal } = this.#ended;
    if (this.#isSleeping || clock.sleep === undefined || signal.aborted) return;
    this.#isSleeping = true;
    const woken = clock.sleep(GAP_EVERY_MS, signal).catch(() => undefined);
    void woken.then(() => {
      this.#isSleeping = false;
      if (!signal.aborted) this.tick();
    });
  }
}

/** `damaged`: it was there, but nobody can tell how much was lost. */
export function readOutage(bytes: Uint8Array): Losses | 'damaged' {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes) ?? '');
  } catch {
    return 'damaged';
  }
  if (typeof value !== 'object' || value === null) return 'damaged';
  if (!('since' in value) || !('lost' in value) || !('tenants' in value)) return 'damaged';
  const { since, lost, tenants } = value;
  const fromMs = typeof since === 'string' ? Date.parse(since) : NaN;
  if (!isCount(lost) || !Number.isFinite(fromMs)) return 'damaged';
  if (typeof tenants !== 'object' || tenants === null) return 'damaged';
  const losses = noLosses();
  let named = 0;
  for (const [tenant, count] of Object.entries(tenants)) {
    if (!isTenantId(tenant) || !isCount(count)) return 'damaged';
    addLoss(losses, tenant, count, fromMs, fromMs);
    named += count;
  }
  if (named > lost) return 'damaged';
  addLoss(losses, undefined, lost - named, fromMs, fromMs);
  return losses;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function noLosses(): Losses {
  return { fromMs: Infinity, toMs: -Infinity, unnamed: 0, tenants: new Map() };
}

function totalOf({ unnamed, tenants }: Losses): number {
  let sum = unnamed;
  for (const count of tenants.values()) sum += count;
  return sum;
}

function addLoss(
  losses: Losses,
  tenant: string | undefined,
  count: number,
  fromMs: number,
  toMs: number,
): void {
  if (count === 0) return;
  losses.fromMs = Math.min(losses.fromMs, fromMs);
  losses.toMs = Math.max(losses.toMs, toMs);
  const known = tenant === undefined ? undefined : losses.tenants.get(tenant);
  if (tenant === undefined || (known === undefined && losses.tenants.size >= TENANTS_MAX)) {
    losses.unnamed += count;
  } else {
    losses.tenants.set(tenant, (known ?? 0) + count);
  }
}

/** What one gap can name; the rest stays. */
function takePart(losses: Losses): Losses {
  const { fromMs, toMs, unnamed } = losses;
  const named = [...losses.tenants].slice(0, GAP_TENANTS_MAX);
  for (const [tenant] of named) losses.tenants.delete(tenant);
  losses.unnamed = 0;
  if (losses.tenants.size === 0) {
    losses.fromMs = Infinity;
    losses.toMs = -Infinity;
  }
  return { fromMs, toMs, unnamed, tenants: new Map(named) };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
