// Who read what, and who was refused? Written into the ledger, once a minute at most for the same
// principal, log and action, so that a client that fetches tiles does not flood it.
//
//   EN1. The first read of each kind is written at once; the rest of its minute as one count. Acts
//        are written one by one.
//   EN2. A refusal is written into the log of whoever asked, never into the log that was named: a
//        stranger must not be able to begin logs by asking for them.
//   EN3. Nothing waits for a record, and a record that fails stops no answer; except
//   EN4. that private fields are shown only after a record of its own is durable.
import { KinError } from '../model/errors.ts';
import type { Action, Principal, Resource } from './principal.ts';
import { logName, principalName } from './principal.ts';

export type EvidenceNoteKind =
  | 'evidence.read'
  | 'evidence.denied'
  | 'evidence.act'
  | 'auditor.added'
  | 'auditor.removed';

/** Queued, never awaited. `tenant`: whose log takes the entry as well; undefined: the system's. */
export type NotePort = (
  kind: EvidenceNoteKind,
  tenant: string | undefined,
  detail: Readonly<Record<string, string | number>>,
) => void;

/** Resolves when it is durable in the ledger; rejects with the ledger's reason. */
export type RecordPort = (...record: Parameters<NotePort>) => Promise<void>;

export interface AccessNotes {
  read(principal: Principal, action: Action, resource: Resource, policy: string): void;
  /** An erasure, a hold, a publication: each on its own, by the name of who asked. */
  acted(actor: string, action: Action, resource: Resource, policy: string): void;
  /** EN4. Rejects when it cannot be written: then nothing may be shown. */
  revealing(actor: string, resource: Resource, policy: string): Promise<void>;
  denied(
    principal: Principal | undefined,
    what: { readonly action: string; readonly log: string },
    why: { readonly reason: string; readonly policy: string },
  ): void;
  /** Writes the counts of minutes that are over; `all`: of those under way too. */
  flush(all: boolean): void;
}

const MINUTE_MS = 60_000;
const FLUSH_MS = 1_000;
const KEYS_MAX = 10_000;

interface Counted {
  readonly kind: EvidenceNoteKind;
  readonly tenant: string | undefined;
  readonly detail: Readonly<Record<string, string>>;
  readonly untilMs: number;
  /** Those that were not written yet. */
  more: number;
}

export function openNotes(note: NotePort, nowMs: () => number, record?: RecordPort): AccessNotes {
  const counted = new Map<string, Counted>();
  const write = ({ kind, tenant, detail }: Counted, times: number): void => {
    try {
      note(kind, tenant, { ...detail, times });
    } catch {
      // EN3. The ledger counts what it could not take.
    }
  };
  let dueMs = 0;
  const flush = (all: boolean): void => {
    const now = nowMs();
    // Asked at every read: the walk over all keys is done once a second at most.
    if (!all && now < dueMs && now > dueMs - MINUTE_MS) return;
    dueMs = now + FLUSH_MS;
    for (const [key, entry] of counted) {
      // A wall clock that went back must not keep an entry for ever.
      const isOver = now >= entry.untilMs || now < entry.untilMs - MINUTE_MS;
      if (!all && !isOver) continue;
      if (entry.more > 0) write(entry, entry.more);
      counted.delete(key);
    }
  };
  const count = (
    kind: EvidenceNoteKind,
    tenant: string | undefined,
    detail: Readonly<Record<string, string>>,
    same: readonly string[],
  ): void => {
    flush(false);
    const key = JSON.stringify([kind, ...same]);
    const known = counted.get(key);
    if (known !== undefined) {
      known.more += 1;
      return;
    }
    if (counted.size >= KEYS_MAX) flush(true);
    const entry: Counted = { kind, tenant, detail, untilMs: nowMs() + MINUTE_MS, more: 0 };
    counted.set(key, entry);
    write(entry, 1);
  };
  return {
    read(principal, action, resource, policy) {
      const tenant = resource.kind === 'tenant' ? resource.tenant : undefined;
      const name = principalName(principal);
      const log = logName(resource);
      const same = [name, log, action];
      count('evidence.read', tenant, { principal: name, log, action, policy }, same);
    },
    acted(actor, action, resource, policy) {
      const tenant = resource.kind === 'tenant' ? resource.tenant : undefined;
      const detail = { principal: actor, log: logName(resource), action, policy };
      write({ kind: 'evidence.act', tenant, detail, untilMs: 0, more: 0 }, 1);
    },
    revealing: (actor, resource, policy) => revealing(record, actor, resource, policy),
    denied(principal, { action, log }, { reason, policy }) {
      // EN2.
      const tenant = principal?.kind === 'tenant' ? principal.tenant : undefined;
      const name = principal === undefined ? 'unknown' : principalName(principal);
      // The log that is named does not tell refusals apart: there are as many names as one likes.
      const same = [name, action, reason];
      count('evidence.denied', tenant, { principal: name, log, action, reason, policy }, same);
    },
    flush,
  };
}

/** EN4. */
async function revealing(
  record: RecordPort | undefined,
  actor: string,
  resource: Resource,
  policy: string,
): Promise<void> {
  if (record === undefined) throw unrecorded();
  const tenant = resource.kind === 'tenant' ? resource.tenant : undefined;
  const log = logName(resource);
  const detail = { principal: actor, log, action: 'RevealPrivate', policy, times: 1 };
  await record('evidence.read', tenant, detail);
}

function unrecorded(): KinError {
  return new KinError(
    'KIN_ACCESS_UNRECORDED',
    'it cannot be written down who sees private fields, so they are not shown',
    'Ask again once the ledger takes entries; without `reveal` everything else is answered.',
  );
}

const ACTS: ReadonlySet<Action> = new Set(['Erase', 'Hold', 'Publish']);

export const isAct = (action: Action): boolean => ACTS.has(action);

/** The operator holds the disk: that it reads the system log tells nobody anything. */
export function isRecorded(principal: Principal, resource: Resource): boolean {
  return principal.kind !== 'operator' || resource.kind === 'tenant';
}
