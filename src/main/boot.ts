// In which order does a controller come up? Lease, book, adoption, then the loop: nothing is acted
// on before it is known what is running (P6).
//
//   BO1. One leader: the lease of an owner on this machine that is dead is taken over at once.
//   BO3. With a store that was lost, ordinals go on above those that the runtime remembers.
//   BO2. What runs and stands in the book is adopted; what runs and does not is ended, and both are
//        written down.
import { hostname } from 'node:os';
import type { Fleet, ServiceBook } from '../model/fleet.ts';
import { replicaId } from '../model/ids.ts';
import type { Run } from '../model/run.ts';
import type { Replica } from '../model/replica.ts';
import { KinError } from '../model/errors.ts';
import type { Clock, Log } from '../world/clock.ts';
import { livenessOf, ownIdentity, identityFrom } from '../world/real/identity.ts';
import type { AdoptReport, Runtime } from '../world/runtime.ts';
import type { LeaseAnswer, Store } from '../world/store.ts';

const LEASE_TTL_MS = 10_000;
const LEASE_WAIT_MS = 30_000;
const LEASE_RETRY_MS = 500;

export interface Lease {
  readonly epoch: number;
  readonly owner: string;
}

export async function takeLease(
  store: Store,
  clock: Clock,
  log: Log,
  stop: AbortSignal,
): Promise<Lease> {
  const owner = `${hostname()} ${JSON.stringify(ownIdentity())}`;
  const untilMs = clock.monotonicMs() + LEASE_WAIT_MS;
  // Bounded by `untilMs`.
  for (;;) {
    const answer = await store.lease(owner, clock.nowMs(), LEASE_TTL_MS);
    if (answer.kind === 'held') return { epoch: answer.epoch, owner };
    if (isDeadHere(answer.owner)) {
      log.info('taking over the lease of a controller that died', { owner: answer.owner });
      await store.release(answer.owner);
      continue;
    }
    if (clock.monotonicMs() > untilMs) {
      throw new KinError(
        'KIN_LEADER_EXISTS',
        `another controller leads: ${answer.owner}`,
        'Stop it first, or let it lead: a standby takes over when its lease ends.',
      );
    }
    log.info('standing by: another controller leads', { owner: answer.owner });
    await clock.sleep(500, stop);
  }
}

function isDeadHere(owner: string): boolean {
  const space = owner.indexOf(' ');
  if (owner.slice(0, space) !== hostname()) return false;
  const identity = identityFrom(owner.slice(space + 1));
  return identity !== undefined && livenessOf(identity) === 'dead';
}

/** Renews until stopped; a lease that is lost ends the controller through `lost`. */
export async function keepLease(
  store: Store,
  lease: Lease,
  clock: Clock,
  stop: AbortSignal,
  lost: (why: string) => void,
): Promise<void> {
  while (!stop.aborted) {
    try {
      await clock.sleep(LEASE_TTL_MS / 3, stop);
    } catch {
      return;
    }
    const answer = await renewed(store, lease, clock, stop);
    if (answer === undefined) {
      if (!stop.aborted) lost('nobody: the store did not answer for as long as a lease lasts');
      return;
    }
    if (answer.kind === 'taken' || answer.epoch !== lease.epoch) {
      lost(answer.kind === 'taken' ? answer.owner : `epoch ${answer.epoch}`);
      return;
    }
  }
}

/** A store that is away for a moment costs no lead; one that is away for a whole lease does. */
async function renewed(
  store: Store,
  lease: Lease,
  clock: Clock,
  stop: AbortSignal,
): Promise<LeaseAnswer | undefined> {
  const untilMs = clock.monotonicMs() + LEASE_TTL_MS / 2;
  // Bounded by `untilMs`.
  while (!stop.aborted) {
    try {
      return await store.lease(lease.owner, clock.nowMs(), LEASE_TTL_MS);
    } catch {
      if (clock.monotonicMs() > untilMs) return undefined;
      await clock.sleep(LEASE_RETRY_MS, stop).catch(() => undefined);
    }
  }
  return undefined;
}

export interface Adoption {
  readonly report: AdoptReport;
  readonly fleet: Fleet;
  /** Rows whose replica is neither wanted nor running: to be written as gone. */
  readonly gone: readonly Replica[];
}

const ORDINALS_SEEN_MAX = 5_000;

/**
 * F1 with an empty store: ids that the runtime still knows of an earlier life are not given again.
 * Its records may have gaps where old ones were dropped, so all of the range is asked.
 */
export function aboveTheKnown(
  services: readonly ServiceBook[],
  runtime: Pick<Runtime, 'look'>,
): readonly ServiceBook[] {
  return services.map((book) => {
    let { nextOrdinal } = book;
    for (let ordinal = 1; ordinal <= ORDINALS_SEEN_MAX; ordinal += 1) {
      if (runtime.look(replicaId(book.name, ordinal)) !== 'unknown') {
        nextOrdinal = Math.max(nextOrdinal, ordinal + 1);
      }
    }
    return { ...book, nextOrdinal };
  });
}

/** BO2. A replica that was starting or leaving under no open run has nobody who looks after it. */
export async function adopt(
  fleet: Fleet,
  runs: readonly Run[],
  runtime: Runtime,
): Promise<Adoption> {
  const cared = new Set<string>(
    runs.flatMap((run) =>
      run.plan.steps.flatMap(({ step, undo }) =>
        [step, ...undo].flatMap((s) => ('replica' in s ? [s.replica] : [])),
      ),
    ),
  );
  const alive = [...fleet.replicas.values()].filter((r) => r.phase !== 'gone');
  const known = alive.filter((r) => r.phase === 'ready' || cared.has(r.id));
  // A start that was interrupted may have come to a process before it came to the book.
  const starting = runs.flatMap((run) =>
    run.plan.steps.flatMap(({ step }) => (step.kind === 'start' ? [step.replica] : [])),
  );
  const report = await runtime.adopt(new Set([...known.map((r) => r.id), ...starting]));
  const gone = alive
    .filter((r) => !known.includes(r))
    .map((r): Replica => ({ ...r, phase: 'gone', weight: 0 }));
  const replicas = new Map(known.map((r) => [r.id, r]));
  return { report, fleet: { ...fleet, replicas }, gone };
}
