// Who keeps the book? One keeper: a change is durable in the store first, then it is true here, and
// what gateways must know of it is pushed.
//
//   BK1. What `fleet()` answers is durable.
//   BK2. Table versions only grow, over restarts too: the epoch is their upper part.
//   BK3. An ordinal is given out once, even when the plan that asked for it never runs.
import type { Fleet, ServiceBook } from '../../model/fleet.ts';
import type { RoutingTable } from '../../model/routing.ts';
import type { ServiceName } from '../../model/ids.ts';
import type { Replica } from '../../model/replica.ts';
import { mayBecome } from '../../model/replica.ts';
import { assert } from '../../model/errors.ts';
import type { PushAnswer } from '../../world/gateways.ts';
import type { FleetChange } from '../../world/store.ts';
import type { World } from '../../world/world.ts';

export interface Book {
  fleet(): Fleet;
  /** Durable and true when it resolves. */
  change(change: FleetChange | ((fleet: Fleet) => FleetChange)): Promise<void>;
  /** Gives the newest table to every gateway. */
  publish(): Promise<PushAnswer>;
  /** Gateways that have not said yet that they applied the newest table. */
  lagging(): readonly string[];
  /** Of the table that was pushed last. */
  version(): number;
  /** Raises the next ordinal of a service to above `ordinal`, here at once. */
  reserve(service: ServiceName, ordinal: number): void;
}

export interface BookPorts {
  readonly world: Pick<World, 'store' | 'gateways'>;
  readonly epoch: number;
  readonly fleet: Fleet;
  /** Builds the table from the book; keys and settings are its owner's business. */
  readonly table: (fleet: Fleet, version: number) => RoutingTable;
}

const PUSH_TIMEOUT_MS = 1_000;
/** Versions of one epoch: more pushes than a controller does in its life. */
const EPOCH_ROOM = 1_000_000;

export function keepBook(ports: BookPorts): Book {
  let fleet = ports.fleet;
  let version = ports.epoch * EPOCH_ROOM;
  let missing: readonly string[] = [];
  // One change at a time, in order: memory and store must never disagree about which came last.
  let queue: Promise<void> = Promise.resolve();

  async function apply(wanted: FleetChange | ((fleet: Fleet) => FleetChange)): Promise<void> {
    const change = typeof wanted === 'function' ? wanted(fleet) : wanted;
    // Reserved ordinals may be ahead of what the caller saw (BK3).
    const services = change.services?.map((book) => {
      const here = fleet.services.get(book.name)?.nextOrdinal ?? 1;
      return { ...book, nextOrdinal: Math.max(book.nextOrdinal, here) };
    });
    const full = services === undefined ? change : { ...change, services };
    await ports.world.store.changeFleet(full, ports.epoch);
    fleet = applyChange(fleet, full);
  }
  return {
    fleet: () => fleet,
    version: () => version,
    change(change) {
      const done = queue.then(() => apply(change));
      queue = done.catch(() => undefined);
      return done;
    },
    lagging: () => missing,
    async publish() {
      version += 1;
      const mine = version;
      const answer = await ports.world.gateways.push(ports.table(fleet, mine), PUSH_TIMEOUT_MS);
      // A later push has the last word.
      if (mine === version) missing = answer.kind === 'applied' ? [] : answer.missing;
      return answer;
    },
    reserve(service, ordinal) {
      const book = fleet.services.get(service);
      if (book === undefined || book.nextOrdinal > ordinal) return;
      const raised: ServiceBook = { ...book, nextOrdinal: ordinal + 1 };
      fleet = { ...fleet, services: new Map(fleet.services).set(service, raised) };
    },
  };
}

export function applyChange(fleet: Fleet, change: FleetChange): Fleet {
  const services = new Map(fleet.services);
  for (const book of change.services ?? []) services.set(book.name, book);
  for (const name of change.dropServices ?? []) services.delete(name as ServiceName);
  const replicas = new Map(fleet.replicas);
  for (const replica of change.replicas ?? []) {
    checkPhase(replicas.get(replica.id), replica);
    // What is gone leaves the book here; the store keeps its row for the story.
    if (replica.phase === 'gone') replicas.delete(replica.id);
    else replicas.set(replica.id, replica);
  }
  const releases = new Map(fleet.releases);
  for (const release of change.releases ?? []) releases.set(release.id, release);
  const quarantines = new Map(fleet.quarantines);
  for (const rule of change.quarantine ?? []) quarantines.set(rule.id, rule);
  for (const id of change.unquarantine ?? []) {
    for (const key of quarantines.keys()) if (key === id) quarantines.delete(key);
  }
  const holds = new Map(fleet.holds);
  for (const hold of change.hold ?? []) holds.set(hold.id, hold);
  for (const id of change.unhold ?? []) {
    for (const key of holds.keys()) if (key === id) holds.delete(key);
  }
  return { services, replicas, releases, quarantines, holds };
}

function checkPhase(before: Replica | undefined, after: Replica): void {
  if (before === undefined || before.phase === after.phase) return;
  assert(
    mayBecome(before.phase, after.phase),
    `${after.id} went from ${before.phase} to ${after.phase}`,
  );
}
