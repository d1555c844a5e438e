// When is which witness asked? In rounds: all that are ready get the same checkpoint at once, so
// that their cosignatures meet on one size; a slow one joins again with whatever is newest then.
// RO1. A round ends when the quorum answered or when everybody did: nobody slow delays the next.
// RO2. Between rounds nothing spins: the loop sleeps until something is offered or due.

import { LedgerError } from '../errors.ts';
import type { LedgerClock } from '../files.ts';
import { judgeQuorum } from '../policy.ts';
import type { Policy } from '../policy.ts';
import type { Target } from '../publish/target.ts';
import { WitnessClient } from './client.ts';
import type { OwnCheckpoint, WitnessStatus } from './client.ts';
import type { WitnessEvidence } from './evidence.ts';
import { checkHighWaterOf } from './high-water.ts';
import type { HighWaterVerdict } from './high-water.ts';
import { nodeWitnessHttp } from './http-client.ts';
import type { WitnessHttp } from './http-client.ts';

/** How to reach the witnesses of a policy. */
export interface WitnessReach {
  readonly log: {
    checkpoint(): OwnCheckpoint;
    consistency(before: number, after: number): Promise<readonly string[]>;
  };
  /** All keys of the log. */
  readonly vkeys: readonly string[];
  readonly policy: Policy;
  readonly clock: LedgerClock;
  readonly http?: WitnessHttp;
  readonly random?: () => number;
  readonly witnessTimeoutMs?: number;
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  readonly skewMaxMs?: number;
}

export interface RoundsParts extends WitnessReach {
  readonly clock: LedgerClock & Required<Pick<LedgerClock, 'sleep'>>;
  isQuorum(target: Target): boolean;
  onCosigned(target: Target, witness: string, lines: string): Promise<void>;
  /** All witnesses of a round answered or failed. */
  onSettled(target: Target): Promise<void>;
  onEvidence(evidence: WitnessEvidence): void;
  onChange(): void;
}

const IDLE_MS = 3_600_000;

export class WitnessRounds {
  readonly #parts: RoundsParts;
  readonly #http: WitnessHttp;
  readonly #clients: readonly WitnessClient[];
  readonly #open = new Set<Promise<void>>();
  readonly #loop: Promise<void>;
  #target: Target | undefined;
  #wake = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(parts: RoundsParts) {
    this.#parts = parts;
    this.#http = parts.http ?? nodeWitnessHttp();
    this.#clients = clientsOf(parts, this.#http);
    this.#loop = this.#run();
  }

  offer(target: Target): void {
    this.#target = target;
    this.#wake.abort();
  }

  remember(witness: string, size: number): void {
    this.#clients.find(({ name }) => name === witness)?.remember(size);
  }

  statuses(): readonly WitnessStatus[] {
    return this.#clients.map((client) => client.status());
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  /** RO2. */
  async #run(): Promise<void> {
    while (this.#closing === undefined) {
      const wake = new AbortController();
      this.#wake = wake;
      // What is offered from here on wakes the sleep below, even before it begins.
      const target = this.#target;
      const size = target?.checkpoint.size ?? 0;
      const waits = this.#clients.map((client) => client.readyInMs(size));
      const leastMs = target === undefined ? Infinity : Math.min(...waits);
      if (target !== undefined && leastMs <= 0) await this.#round(target);
      else await this.#parts.clock.sleep(Math.min(leastMs, IDLE_MS), wake.signal);
    }
  }

  /** RO1. */
  async #round(target: Target): Promise<void> {
    const { size } = target.checkpoint;
    const ready = this.#clients.filter((client) => client.readyInMs(size) <= 0);
    const met = Promise.withResolvers<void>();
    const asked = ready.map(async (client) => {
      await this.#ask(client, target);
      if (this.#parts.isQuorum(target)) met.resolve();
    });
    const settled = Promise.all(asked).then(() => this.#parts.onSettled(target));
    this.#open.add(settled);
    const over = (): void => {
      this.#open.delete(settled);
      this.#wake.abort();
    };
    settled.then(over, over);
    await Promise.race([settled, met.promise]);
  }

  async #ask(client: WitnessClient, target: Target): Promise<void> {
    const outcome = await client.ask(target.checkpoint);
    if (this.#closing !== undefined) return;
    if (outcome.kind === 'cosigned') {
      await this.#parts.onCosigned(target, client.name, outcome.lines);
    } else if (outcome.kind === 'failed' && outcome.evidence !== undefined) {
      this.#parts.onEvidence(outcome.evidence);
    }
    this.#parts.onChange();
    // Free again: there may be something newer for it.
    this.#wake.abort();
  }

  async #closeNow(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.#wake.abort();
    await Promise.allSettled([this.#loop, ...this.#open]);
    if (this.#parts.http === undefined) this.#http.close();
  }
}

/** Asks every witness once, before the log may grow: see high-water.ts. */
export async function checkWitnessHighWater(reach: WitnessReach): Promise<HighWaterVerdict> {
  const http = reach.http ?? nodeWitnessHttp();
  const clients = clientsOf(reach, http);
  try {
    return await checkHighWaterOf(reach.policy, clients, reach.log.checkpoint());
  } finally {
    for (const client of clients) client.close();
    if (reach.http === undefined) http.close();
  }
}

/** Witnesses without an address cannot be asked; the others must be able to be the quorum. */
function clientsOf(reach: WitnessReach, http: WitnessHttp): readonly WitnessClient[] {
  const { policy, log, vkeys, clock } = reach;
  const witnesses = policy.witnesses.filter(({ url }) => url !== undefined);
  const verdict = judgeQuorum(policy, new Set(witnesses.map(({ name }) => name)));
  if (verdict.kind === 'unmet') {
    const why = `the quorum needs witnesses without an address: ${verdict.missing.join(', ')}`;
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
  }
  const parts = {
    log: {
      size: () => log.checkpoint().size,
      consistency: (before: number, after: number) => log.consistency(before, after),
      vkeys,
    },
    http,
    clock,
    random: reach.random ?? Math.random,
    timeoutMs: reach.witnessTimeoutMs ?? 1000,
    // Without a pause a witness that refuses at once would be asked in a busy loop.
    retryMinMs: Math.max(10, reach.retryMinMs ?? 1000),
    retryMaxMs: reach.retryMaxMs ?? 300_000,
    skewMaxMs: reach.skewMaxMs ?? 3_600_000,
  };
  return witnesses.map((witness) => new WitnessClient(witness, parts));
}
