// How does a folder become an open ledger? Lock, recover, compare with what was promised before,
// record what recovery did, and only then accept entries.
// O1. `log.json` is written last at creation: without it nothing was ever acknowledged, with it the
//     segments must exist.
// O2. A folder is opened only with the origin and key that created it.

import type { Checkpoint, Ledger, LedgerOptions, RecoveryReport } from './api.ts';
import { fromUtf8, toBase64, utf8 } from './bytes.ts';
import { Committer } from './commit.ts';
import type { CommitLimits } from './commit.ts';
import { encodeEntry } from './entry.ts';
import { LedgerError, typedError } from './errors.ts';
import { replaceFile, systemClock } from './files.ts';
import type { Files, FolderLock, LedgerClock } from './files.ts';
import { History } from './history.ts';
import { IntentBook } from './intents.ts';
import { canonicalJson } from './json.ts';
import { LocalLedger } from './ledger.ts';
import { nodeFiles } from './node-files.ts';
import { formatTreeHead, signNote, validKeyName } from './note.ts';
import type { Signer } from './note.ts';
import { FORMAT_VERSION, RECORD_ALIGN } from './record.ts';
import { checkHighWater, checkPublished, recover } from './recover.ts';
import type { RecoverParts, Recovered } from './recover.ts';
import { listSegments } from './scan.ts';
import { HashTree } from './tree.ts';
import { Wal } from './wal.ts';

const MIB = 1024 * 1024;
const OPEN_DEADLINE_MS = 30_000;

interface Settings {
  readonly dir: string;
  readonly origin: string;
  readonly signer: Signer;
  readonly files: Files;
  readonly clock: LedgerClock;
  readonly appendDeadlineMs: number;
  readonly publishEveryMs: number;
  readonly segmentBytes: number;
  readonly lazy: boolean;
  readonly limits: CommitLimits;
}

export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const settings = readOptions(options);
  const { files, dir } = settings;
  let lock: FolderLock | undefined;
  try {
    await files.mkdir(`${dir}/seg`);
    lock = await files.lock(dir);
    return await openLocked(settings, options, lock);
  } catch (cause) {
    await lock?.release();
    throw typedError(cause, `cannot open the ledger in ${dir}`);
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
  const dir = options.dir.replace(/\/+$/, '');
  if (dir === '') throw badOption('dir is empty');
  return {
    dir,
    origin,
    signer,
    files: options.files ?? nodeFiles(),
    clock: options.clock ?? systemClock,
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

async function openLocked(
  settings: Settings,
  options: LedgerOptions,
  lock: FolderLock,
): Promise<Ledger> {
  const { files, dir, origin, signer } = settings;
  const isNew = await checkIdentity(settings);
  const history = new History(files, `${dir}/seg`);
  const tree = new HashTree((from, count) => history.range(from, count, true));
  const intents = new IntentBook();
  const parts: RecoverParts = {
    files,
    dir,
    origin,
    vkey: signer.vkey,
    allowUnsigned: settings.lazy,
    damagedTail: options.damagedTail ?? 'refuse',
    tree,
    history,
    intents,
  };
  if (isNew) await clearUnborn(settings);
  const recovered = await recover(parts);
  if (!isNew && recovered.last === undefined) {
    throw new LedgerError('KIN_LEDGER_CORRUPT', `${dir}/seg has no segments`, {
      place: { file: 'seg', offset: 0, index: 0 },
    });
  }
  const published = isNew ? 'present' : await checkPublished(parts);
  if (options.highWater !== undefined) await checkHighWater(tree, options.highWater);
  const ledger = await start(settings, parts, recovered, lock, isNew);
  try {
    await firstEntries(ledger, settings, recovered, isNew, published);
  } catch (cause) {
    await ledger.wal.close();
    throw cause;
  }
  return ledger.ledger;
}

interface Started {
  readonly ledger: LocalLedger;
  readonly committer: Committer;
  readonly wal: Wal;
}

async function start(
  settings: Settings,
  parts: RecoverParts,
  recovered: Recovered,
  lock: FolderLock,
  isNew: boolean,
): Promise<Started> {
  const { files, dir, origin, signer, clock, segmentBytes, lazy } = settings;
  const { tree, history, intents } = parts;
  const monotonicMs = (): number => clock.monotonicMs();
  const wal = new Wal({ files, dir: `${dir}/seg`, segmentBytes, monotonicMs });
  await wal.adoptSpare();
  if (recovered.last !== undefined) await wal.resume(recovered.last.file, recovered.last.offset);
  const committer: Committer = new Committer({
    wal,
    tree,
    history,
    clock,
    limits: settings.limits,
    chain: recovered.chain,
    checkpointFor: (size, root) => makeCheckpoint(signer, origin, size, root, lazy),
    unsignedTrailer: lazy ? (size, root) => formatTreeHead(origin, size, root) : undefined,
    onCommitted: () => ledger.committed(),
    onSpaceChange: (full) => ledger.spaceChanged(full),
  });
  const recovery: RecoveryReport = isNew ? { kind: 'created' } : recovered.report;
  const ledger = new LocalLedger({
    dir,
    origin,
    vkey: signer.vkey,
    files,
    clock,
    lock,
    wal,
    tree,
    history,
    intents,
    committer,
    appendDeadlineMs: settings.appendDeadlineMs,
    publishEveryMs: settings.publishEveryMs,
    allowUnsigned: lazy,
    recovery,
  });
  return { ledger, committer, wal };
}

/** What the log says about itself: its creation, or what recovery had to do. */
async function firstEntries(
  { ledger, committer }: Started,
  settings: Settings,
  { report }: Recovered,
  isNew: boolean,
  published: 'present' | 'missing',
): Promise<void> {
  const { files, dir, origin, signer } = settings;
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
  } else if (report.kind === 'tail-dropped' || published === 'missing') {
    await write('ledger.recovered', { tail: report, checkpointFile: published });
  }
  await ledger.publish();
  if (isNew) await replaceFile(files, dir, 'log.json', utf8(`${canonicalJson(log)}\n`));
}

/** O1 and O2. */
async function checkIdentity({ files, dir, origin, signer }: Settings): Promise<boolean> {
  const bytes = await files.readWhole(`${dir}/log.json`, 65_536);
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
  throw new LedgerError('KIN_LEDGER_WRONG_KEY', `${dir} belongs to another key: ${text}`);
}

/**
 * Without `log.json` a creation was interrupted before anything was acknowledged: at most the
 * first entry exists. More than that means that somebody removed `log.json`.
 */
async function clearUnborn({ files, dir }: Settings): Promise<void> {
  const segments = await listSegments(files, `${dir}/seg`);
  for (const { file, first } of segments) {
    if (first === 0 && (await isNearlyEmpty(files, `${dir}/seg/${file}`))) continue;
    throw new LedgerError('KIN_LEDGER_CORRUPT', 'log.json is missing beside a log with entries', {
      place: { file: 'log.json', offset: 0, index: 0 },
    });
  }
  for (const { file } of segments) await files.remove(`${dir}/seg/${file}`);
  await files.remove(`${dir}/checkpoint`);
  await files.syncDir(`${dir}/seg`);
  await files.syncDir(dir);
}

async function isNearlyEmpty(files: Files, path: string): Promise<boolean> {
  const handle = await files.open(path, 'read');
  try {
    const second = await handle.read(RECORD_ALIGN, RECORD_ALIGN);
    return second.every((byte) => byte === 0);
  } finally {
    await handle.close();
  }
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
