// How does a folder become an open ledger? Lock, recover, compare with what was promised before,
// record what recovery did, and only then accept entries.
// O1. `log.json` is written last at creation: without it nothing was ever acknowledged, with it the
//     segments must exist.
// O2. A folder is opened only with the origin and key that created it.

import type { Checkpoint, Ledger, LedgerOptions, RecoveryReport } from './api.ts';
import { BASE, PruneNotes, readBase } from './base.ts';
import type { ReadBase } from './base.ts';
import { fromUtf8, toBase64, utf8 } from './bytes.ts';
import { Committer } from './commit.ts';
import type { CommitLimits } from './commit.ts';
import { encodeEntry } from './entry.ts';
import { LedgerError, typedError } from './errors.ts';
import { coreReads } from './evidence/core-reads.ts';
import type { CoreReads } from './evidence/core-reads.ts';
import { systemClock } from './files.ts';
import { OUTAGE, OUTAGE_BYTES_MAX, readOutage } from './gaps.ts';
import type { Files, FolderLock, LedgerClock } from './files.ts';
import { History } from './history.ts';
import { IntentBook } from './intents.ts';
import { canonicalJson } from './json.ts';
import type { LedgerParts } from './ledger-parts.ts';
import { LocalLedger } from './ledger.ts';
import { LocalStore } from './local-store.ts';
import { nodeFiles } from './node-files.ts';
import { formatTreeHead, signNote, validKeyName } from './note.ts';
import type { Signer } from './note.ts';
import { openPrunings, settleBase } from './prune.ts';
import { FORMAT_VERSION, RECORD_ALIGN, isZero } from './record.ts';
import { checkHighWater, checkPublished, recover } from './recover.ts';
import type { Published, RecoverParts, Recovered } from './recover.ts';
import type { RecordStore, RecordWriter } from './store.ts';
import { HashTree } from './tree.ts';

const MIB = 1024 * 1024;
const OPEN_DEADLINE_MS = 30_000;

interface Settings {
  readonly store: RecordStore;
  readonly origin: string;
  readonly signer: Signer;
  readonly files: Files;
  readonly clock: LedgerClock;
  readonly salt: (() => string) | undefined;
  readonly appendDeadlineMs: number;
  readonly publishEveryMs: number;
  readonly segmentBytes: number;
  readonly lazy: boolean;
  readonly limits: CommitLimits;
}

/** An open log together with what its views read from the inside. */
export interface Core {
  readonly ledger: Ledger;
  readonly reads: CoreReads;
  readonly documents: RecordStore;
}

export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  return (await openCore(options)).ledger;
}

/**
 * Not for callers of the package: see `openEvidence`. `prepare` runs after recovery and before
 * anything is appended: what knows of a newer log refuses there.
 */
export async function openCore(
  options: LedgerOptions,
  prepare: (core: Core) => Promise<void> = () => Promise.resolve(),
): Promise<Core> {
  const settings = readOptions(options);
  const { store } = settings;
  let lock: FolderLock | undefined;
  try {
    lock = await store.lock();
    return await openLocked(settings, options, lock, prepare);
  } catch (cause) {
    await lock?.release();
    throw typedError(cause, `cannot open the ledger in ${store.place}`);
  }
}

function readOptions(options: LedgerOptions): Settings {
  const { origin, signer } = options;
  if (!validKeyName(origin)) throw badOption('origin has no spaces, control characters or plus');
  if (signer.name !== origin) throw badOption(`the signer is named ${signer.name}, not ${origin}`);
  const segmentBytes = options.segmentBytes ?? 16 * MIB;
  if (segmentBytes % RECORD_ALIGN !== 0 || segmentBytes < 64 * 1024 || segmentBytes > 512 * MIB) {
    throw badOption('segmentBytes is a multiple of 4096 from 64 KiB to 512 MiB');
  }
  const files = options.files ?? nodeFiles();
  return {
    store: options.store ?? localStore(files, options.dir ?? ''),
    origin,
    signer,
    files,
    clock: options.clock ?? systemClock,
    salt: options.salt,
    appendDeadlineMs: positive(options.appendDeadlineMs ?? 2000, 'appendDeadlineMs'),
    publishEveryMs: options.publishEveryMs ?? 1000,
    segmentBytes,
    lazy: options.signing === 'lazy',
    limits: {
      queueEntriesMax: positive(options.queueEntriesMax ?? 16_384, 'queueEntriesMax'),
      queueBytesMax: positive(options.queueBytesMax ?? 64 * MIB, 'queueBytesMax'),
      groupEntriesMax: positive(options.groupEntriesMax ?? 4096, 'groupEntriesMax'),
      // One group must leave room for its successors in the same segment.
      groupBytesMax: Math.min(options.groupBytesMax ?? MIB, Math.floor(segmentBytes / 8)),
    },
  };
}

function localStore(files: Files, path: string): RecordStore {
  const dir = path.replace(/\/+$/, '');
  if (dir === '') throw badOption('dir is empty');
  return new LocalStore(files, dir);
}

async function openLocked(
  settings: Settings,
  options: LedgerOptions,
  lock: FolderLock,
  prepare: (core: Core) => Promise<void>,
): Promise<Core> {
  const { store, origin, signer } = settings;
  const isNew = await checkIdentity(settings);
  if (isNew) await clearUnborn(settings);
  const history = new History(store);
  const tree = new HashTree((from, count) => history.range(from, count, true));
  const intents = new IntentBook();
  const parts: RecoverParts = {
    store,
    origin,
    vkey: signer.vkey,
    allowUnsigned: settings.lazy,
    damagedTail: options.damagedTail ?? 'refuse',
    tree,
    history,
    followers: [intents, ...(options.followers ?? [])],
    base: await readBase(store, BASE, signer.vkey),
    notes: new PruneNotes(),
  };
  const recovered = await recover(parts);
  if (!isNew && recovered.last === undefined) {
    throw new LedgerError('KIN_LEDGER_CORRUPT', `${store.place} has no segments`, {
      place: { file: 'seg', offset: 0, index: 0 },
    });
  }
  const published: Published = isNew ? { kind: 'present', size: 0 } : await checkPublished(parts);
  if (options.highWater !== undefined) await checkHighWater(tree, options.highWater);
  const base = await settleBase({ ...parts, vkey: signer.vkey });
  const started = await start(settings, { ...parts, base }, intents, recovered, lock, isNew);
  const { ledger, parts: inside } = started;
  const core: Core = { ledger, reads: coreReads(inside), documents: store };
  try {
    await prepare(core);
    await firstEntries(started, settings, recovered, isNew, published);
    for (const { index, result } of openPrunings(intents, history.first)) {
      await started.ledger.closeIntent(index, { result, detail: { reason: 'restart' } });
    }
  } catch (cause) {
    await started.wal.close();
    throw cause;
  }
  return core;
}

interface Started {
  readonly ledger: LocalLedger;
  readonly parts: LedgerParts;
  readonly committer: Committer;
  readonly wal: RecordWriter;
}

async function start(
  settings: Settings,
  parts: RecoverParts,
  intents: IntentBook,
  recovered: Recovered,
  lock: FolderLock,
  isNew: boolean,
): Promise<Started> {
  const { files, store, origin, signer, clock, segmentBytes, lazy } = settings;
  const { tree, history, followers } = parts;
  const monotonicMs = (): number => clock.monotonicMs();
  const wal = await store.writer({ segmentBytes, monotonicMs, resume: recovered.last });
  const committer: Committer = new Committer({
    wal,
    tree,
    history,
    followers,
    clock,
    limits: settings.limits,
    chain: recovered.chain,
    checkpointFor: (size, root) => makeCheckpoint(signer, origin, size, root, lazy),
    unsignedTrailer: lazy ? (size, root) => formatTreeHead(origin, size, root) : undefined,
    onCommitted: () => ledger.committed(),
    onSpaceChange: (full) => ledger.spaceChanged(full),
  });
  const recovery: RecoveryReport = isNew ? { kind: 'created' } : recovered.report;
  const inside: LedgerParts = {
    store,
    origin,
    vkey: signer.vkey,
    files,
    clock,
    lock,
    wal,
    tree,
    history,
    intents,
    followers,
    namesInBase: snapshotNames(parts.base),
    committer,
    salt: settings.salt,
    appendDeadlineMs: settings.appendDeadlineMs,
    publishEveryMs: settings.publishEveryMs,
    allowUnsigned: lazy,
    recovery,
  };
  const ledger = new LocalLedger(inside);
  return { ledger, parts: inside, committer, wal };
}

/** What the log says about itself: its creation, or what recovery had to do. */
async function firstEntries(
  { ledger, committer }: Started,
  settings: Settings,
  { report }: Recovered,
  isNew: boolean,
  published: Published,
): Promise<void> {
  const { store, origin, signer } = settings;
  const at = new Date(settings.clock.nowMs()).toISOString();
  const log = { format: FORMAT_VERSION, origin, vkey: signer.vkey };
  const write = (kind: string, detail: object): Promise<unknown> =>
    committer.submit({
      bytes: encodeEntry({ v: 1, kind, at, detail }),
      priority: 'reserved',
      deadlineMs: OPEN_DEADLINE_MS,
    });
  if (isNew) {
    await write('ledger.created', log);
  } else if (report.kind === 'tail-dropped' || published.kind === 'missing') {
    await write('ledger.recovered', { tail: report, checkpointFile: published.kind });
  }
  const outage = await store.readDocument(OUTAGE, OUTAGE_BYTES_MAX);
  if (outage !== undefined) await ledger.recoverGap(readOutage(outage), OPEN_DEADLINE_MS);
  // The same size is left as it is: somebody may have added cosignatures to it.
  const isPublished = published.kind === 'present' && published.size === ledger.size;
  if (!isPublished) await ledger.publish();
  if (isNew) await store.replaceDocument('log.json', utf8(`${canonicalJson(log)}\n`));
}

/** O1 and O2. */
async function checkIdentity({ store, origin, signer }: Settings): Promise<boolean> {
  const bytes = await store.readDocument('log.json', 65_536);
  if (bytes === undefined) return true;
  const expected = canonicalJson({ format: FORMAT_VERSION, origin, vkey: signer.vkey });
  const text = (fromUtf8(bytes) ?? '').trimEnd();
  if (text === expected) return false;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  const isLog = typeof parsed === 'object' && parsed !== null && 'vkey' in parsed;
  if (!isLog) {
    throw new LedgerError('KIN_LEDGER_CORRUPT', 'log.json is damaged', {
      place: { file: 'log.json', offset: 0, index: 0 },
    });
  }
  throw new LedgerError('KIN_LEDGER_WRONG_KEY', `${store.place} belongs to another key: ${text}`);
}

/**
 * Without `log.json` a creation was interrupted before anything was acknowledged: at most the
 * first entry exists. More than that means that somebody removed `log.json`.
 */
async function clearUnborn({ store }: Settings): Promise<void> {
  for await (const piece of store.pieces(0)) {
    const bytes = await piece.load();
    if (piece.first === 0 && isZero(bytes.subarray(RECORD_ALIGN, 2 * RECORD_ALIGN))) continue;
    throw new LedgerError('KIN_LEDGER_CORRUPT', 'log.json is missing beside a log with entries', {
      place: { file: 'log.json', offset: 0, index: 0 },
    });
  }
  await store.removeUnborn();
}

function snapshotNames(read: ReadBase | undefined): readonly string[] {
  return read === undefined ? [] : [...read.base.snapshots.keys()];
}

function makeCheckpoint(
  signer: Signer,
  origin: string,
  size: number,
  root: Uint8Array,
  lazy: boolean,
): Checkpoint {
  const body = formatTreeHead(origin, size, root);
  const head = { origin, size, root: toBase64(root) };
  if (!lazy) return { ...head, text: signNote(body, signer) };
  let text: string | undefined;
  return {
    ...head,
    // Ed25519 is deterministic: signing later gives the same bytes.
    get text(): string {
      text ??= signNote(body, signer);
      return text;
    },
  };
}

function positive(value: number, name: string): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw badOption(`${name} must be above zero`);
}

function badOption(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
