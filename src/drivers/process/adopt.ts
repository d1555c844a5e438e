// Which replicas did the last controller leave behind? Compares three lists: what should be alive
// (`known`), what our records say, and what carries our mark; keeps the first, ends the rest.
import type { ReleaseId, ReplicaId } from '../../model/ids.ts';
import { asReplicaId, isName, releaseId, serviceName } from '../../model/ids.ts';
import type { Exit } from '../../model/replica.ts';
import type { AdoptReport } from '../../world/runtime.ts';
import { endAll, signalLeader, type Body } from './ending.ts';
import { isSame, type MarkedProcess } from './machine.ts';
import { removeCage } from './stop.ts';
import { fileNameOf, type ReplicaRecord } from './record.ts';
import { admit, KILL_WAIT_MS, runningOf, type Live, type Ward } from './ward.ts';

/** Log size of a replica whose record was lost. */
const LOG_BYTES_DEFAULT = 8 * 1024 * 1024;
/** An orphan may be a database: it gets this long to end by itself. */
const REAP_TERM_MS = 2000;
const REAP_POLL_MS = 20;

type Found =
  | { readonly kind: 'alive'; readonly live: Live }
  /** Its leader is dead; others of its group may not be. */
  | { readonly kind: 'dead'; readonly record: ReplicaRecord; readonly exit: Exit }
  /** Was about to be started and never was. */
  | { readonly kind: 'never' };

export async function adoptAll(ward: Ward, known: ReadonlySet<ReplicaId>): Promise<AdoptReport> {
  const marked = ward.machine.marked(ward.owner);
  const ended = new Map<ReplicaId, Exit>();
  const orphans: Body[] = [];
  for (const record of ward.records.live()) {
    const tombstone = ward.records.ended(record.id);
    const found: Found =
      tombstone === undefined
        ? resolve(ward, record, marked)
        : { kind: 'dead', record, exit: tombstone };
    if (found.kind === 'never') ward.records.drop(record.id);
    else if (found.kind === 'dead') {
      ended.set(record.id, found.exit);
      orphans.push(...strayOf(ward, record));
      ward.records.write({ ...record, state: { kind: 'ended', exit: found.exit } });
    } else if (known.has(record.id)) admit(ward, found.live);
    else orphans.push(found.live);
  }
  for (const lost of withoutRecord(ward, marked, orphans)) {
    const isWanted = known.has(lost.live.id) && ward.records.ended(lost.live.id) === undefined;
    if (isWanted && lost.isLeader) admit(ward, lost.live);
    else orphans.push(lost.live);
  }
  for (const id of known) {
    const exit = ward.live.has(id) ? undefined : ward.records.ended(id);
    if (exit !== undefined) ended.set(id, exit);
  }
  const reaped = await reap(ward, orphans);
  tidy(ward);
  return {
    adopted: [...ward.live.values()].map((live) => runningOf(ward, live)),
    ended: [...ended].map(([id, exit]) => ({ id, exit })),
    reaped,
  };
}

function resolve(ward: Ward, record: ReplicaRecord, marked: readonly MarkedProcess[]): Found {
  const { state } = record;
  const isThisBoot = record.bootId === ward.machine.bootId;
  if (state.kind === 'running' && isThisBoot && isSame(ward.machine, state.pid, state.start))
    return { kind: 'alive', live: liveOf(ward, record, state, state.startedAtMs, state.cage) };
  if (state.kind === 'intent') {
    const leader = isThisBoot ? leaderOf(marked, record.id) : undefined;
    if (leader === undefined) return { kind: 'never' };
    const cage = cageOf(ward, record.id);
    return { kind: 'alive', live: liveOf(ward, record, leader.facts, undefined, cage) };
  }
  const cage = state.kind === 'running' && isThisBoot ? ward.cages.reopen(state.cage) : undefined;
  const isMemory = (cage?.memoryKills() ?? 0) > 0;
  return { kind: 'dead', record, exit: isMemory ? { kind: 'memory' } : { kind: 'unknown' } };
}

/** Who is still in the cage of a dead leader, without a mark perhaps: one stands for them all. */
function strayOf(ward: Ward, { id, state, bootId }: ReplicaRecord): readonly Body[] {
  if (state.kind !== 'running' || bootId !== ward.machine.bootId) return [];
  const cage = ward.cages.reopen(state.cage);
  const living = (cage?.pids() ?? []).map((pid) => ward.machine.facts(pid));
  const one = living.find((facts) => facts?.state === 'alive');
  return one === undefined ? [] : [{ id, pid: one.pid, start: one.start, cage }];
}

const leaderOf = (marked: readonly MarkedProcess[], id: string): MarkedProcess | undefined =>
  marked.find((each) => each.replica === id && each.facts.pid === each.facts.pgid);

function liveOf(
  ward: Ward,
  record: Pick<ReplicaRecord, 'id' | 'service' | 'release' | 'port' | 'logBytes'>,
  who: { readonly pid: number; readonly start: string },
  startedAtMs: number | undefined,
  cage: readonly string[],
): Live {
  const { id, service, release, port, logBytes } = record;
  const began = startedAtMs ?? ward.machine.startedAtMs(who.start) ?? ward.clock.monotonicMs();
  return {
    id,
    service,
    release,
    port,
    pid: who.pid,
    start: who.start,
    startedAtMs: began,
    logBytes,
    cage: ward.cages.reopen(cage),
    killsBefore: 0,
    isTold: false,
    ended: Promise.withResolvers<Exit>(),
    hurry: new AbortController(),
    stop: undefined,
    isForced: false,
  };
}

/** The cage that an interrupted start had built, if it had come that far. */
function cageOf(ward: Ward, id: ReplicaId): readonly string[] {
  return ward.cages.existing(fileNameOf(id));
}

interface Lost {
  readonly live: Live;
  readonly isLeader: boolean;
}

/**
 * Marked processes that belong to nothing found so far: the record was lost or damaged, or a leader
 * died with nobody watching and left children. One a replica; the rest goes the same way as it.
 * Only marks are believed here, never a group's number: it may be somebody else's by now.
 */
function withoutRecord(
  ward: Ward,
  marked: readonly MarkedProcess[],
  orphans: readonly Body[],
): readonly Lost[] {
  const seen = new Set<string>([...ward.live.keys(), ...orphans.map((body) => body.id)]);
  const lost: Lost[] = [];
  for (const each of marked) {
    if (seen.has(each.replica)) continue;
    seen.add(each.replica);
    const leader = leaderOf(marked, each.replica);
    const live = rebuilt(ward, leader ?? each);
    if (live !== undefined) lost.push({ live, isLeader: leader !== undefined });
  }
  return lost;
}

function rebuilt(ward: Ward, each: MarkedProcess): Live | undefined {
  if (!/^[\x21-\x7e]{1,200}$/u.test(each.replica)) return undefined;
  const id = asReplicaId(each.replica);
  const named = isName(each.service) ? each.service : id.replace(/-\d+$/u, '');
  if (!isName(named)) return undefined;
  const record = {
    id,
    service: serviceName(named),
    release: knownRelease(each.release),
    port: each.port,
    logBytes: LOG_BYTES_DEFAULT,
  };
  return liveOf(ward, record, each.facts, undefined, cageOf(ward, id));
}

const knownRelease = (text: string): ReleaseId =>
  releaseId(/^[\x21-\x7e]{1,200}$/u.test(text) ? text : 'unknown');

async function reap(ward: Ward, orphans: readonly Body[]): Promise<AdoptReport['reaped']> {
  for (const orphan of orphans) signalLeader(ward.machine, orphan, 'SIGTERM');
  const untilMs = ward.clock.monotonicMs() + REAP_TERM_MS;
  const isThere = (body: Body): boolean => isSame(ward.machine, body.pid, body.start);
  while (orphans.some(isThere) && ward.clock.monotonicMs() < untilMs)
    await ward.clock.sleep(REAP_POLL_MS);
  for (const orphan of orphans) {
    const left = await endAll(ward.machine, orphan, ward.owner, ward.clock, KILL_WAIT_MS);
    if (left.length > 0) ward.log.error('orphan did not go', { replica: orphan.id, pids: left });
    else await removeCage(ward, orphan);
    if (isLive(orphan) && ward.records.ended(orphan.id) === undefined)
      ward.records.write(tombstoneOf(ward, orphan));
  }
  return orphans.map(({ pid, id }) => ({ pid, replica: id }));
}

const isLive = (body: Body): body is Live => 'ended' in body;

function tombstoneOf(ward: Ward, live: Live): ReplicaRecord {
  const { id, service, release, port, logBytes } = live;
  const state = { kind: 'ended', exit: { kind: 'unknown' } } as const;
  return { id, service, release, port, logBytes, bootId: ward.machine.bootId, state };
}

/** Cages of replicas that are gone: nobody else would remove them. */
function tidy(ward: Ward): void {
  const inUse = [...ward.live.values()].flatMap((live) => live.cage?.folders ?? []);
  ward.cages.tidy(new Set(inUse));
}
