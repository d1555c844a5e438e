// Where does a witness remember what it cosigned? One small file for each log, replaced as a whole.
// WS1. A record is on disk, and its name is, before `save` resolves; a crash leaves the old record
//      or the new one.
// WS2. A damaged record is refused and never read as "nothing was cosigned yet": forgetting is the
//      one thing that a witness must not do.
// WS3. The folder is locked: two witnesses with one key and one folder cannot run at once.
// WS4. A record that a killed process or a failed `save` left behind is made durable before it is
//      answered from: what a witness has shown to somebody, it never forgets.

import { fromBase64, fromUtf8, sameBytes, toBase64, toHex, utf8 } from '../bytes.ts';
import { sha256 } from '../crypto.ts';
import { LedgerError } from '../errors.ts';
import { replaceFile } from '../files.ts';
import type { Files, FolderLock } from '../files.ts';
import { canonicalJson } from '../json.ts';
import type { Cosigned } from './decide.ts';
import { REQUEST_BYTES_MAX } from './request.ts';

export interface WitnessRecord extends Cosigned {
  readonly origin: string;
  /** The checkpoint with the log's signatures and ours, for monitors. */
  readonly checkpoint: string;
}

export interface WitnessStore {
  load(origin: string): Promise<WitnessRecord | undefined>;
  /** Atomic and durable when it resolves. After a failure the old or the new record is there. */
  save(record: WitnessRecord): Promise<void>;
  /** The first contradiction of a log is kept for ever; later ones add nothing to the proof. */
  keepEvidence(origin: string, text: string): Promise<void>;
  close(): Promise<void>;
}

const RECORD_BYTES_MAX = 2 * REQUEST_BYTES_MAX;

/** The path component under which monitors find a log: hex SHA-256 of its origin. */
export function originHash(origin: string): string {
  return toHex(sha256(utf8(origin)));
}

export async function openWitnessStore(files: Files, dir: string): Promise<WitnessStore> {
  await files.mkdir(dir);
  const lock: FolderLock = await files.lock(dir);
  try {
    await files.syncDir(dir);
  } catch (cause) {
    await lock.release();
    throw cause;
  }
  /** Files of which nobody knows whether the old or the new record survives a power cut (WS4). */
  const doubtful = new Set<string>();
  const replace = async (file: string, bytes: Uint8Array): Promise<void> => {
    doubtful.add(file);
    await replaceFile(files, dir, file, bytes);
    doubtful.delete(file);
  };
  return {
    async load(origin) {
      const record = await load(files, dir, origin);
      const file = fileOf(origin);
      // Not by repeating the sync that failed: by a new file.
      if (record !== undefined && doubtful.has(file)) await replace(file, encode(record));
      return record;
    },
    save: (record) => replace(fileOf(record.origin), encode(record)),
    keepEvidence: async (origin, text) => {
      const name = `${originHash(origin)}.contradiction`;
      if ((await files.identity(`${dir}/${name}`)) !== undefined) return;
      await replaceFile(files, dir, name, utf8(text));
    },
    close: () => lock.release(),
  };
}

function fileOf(origin: string): string {
  return `${originHash(origin)}.cosigned`;
}

/** Two lines: the record as canonical JSON, then the hex SHA-256 of the first line. */
function encode(record: WitnessRecord): Uint8Array {
  const { origin, size, root, timestampS, checkpoint } = record;
  const text = canonicalJson({ v: 1, origin, size, root: toBase64(root), timestampS, checkpoint });
  return utf8(`${text}\n${toHex(sha256(utf8(text)))}\n`);
}

async function load(files: Files, dir: string, origin: string): Promise<WitnessRecord | undefined> {
  const file = fileOf(origin);
  const bytes = await files.readWhole(`${dir}/${file}`, RECORD_BYTES_MAX);
  if (bytes === undefined) return undefined;
  const record = decode(bytes);
  if (record?.origin === origin) return record;
  throw new LedgerError('KIN_LEDGER_CORRUPT', `the witness record of ${origin} is damaged`, {
    place: { file, offset: 0, index: 0 },
  });
}

/** WS2. */
function decode(bytes: Uint8Array): WitnessRecord | undefined {
  const [json = '', digest = '', end, ...rest] = (fromUtf8(bytes) ?? '').split('\n');
  if (end !== '' || rest.length > 0) return undefined;
  if (!sameBytes(utf8(digest), utf8(toHex(sha256(utf8(json)))))) return undefined;
  // The digest shows that our own encoder wrote it; the shape is checked for a later version.
  const value: unknown = JSON.parse(json);
  if (typeof value !== 'object' || value === null) return undefined;
  const { v, origin, size, root, timestampS, checkpoint } = value as Record<string, unknown>;
  if (v !== 1 || typeof origin !== 'string' || typeof checkpoint !== 'string') return undefined;
  const hash = typeof root === 'string' ? fromBase64(root) : undefined;
  if (hash?.length !== 32 || !isCount(size) || !isCount(timestampS)) return undefined;
  return { origin, size, root: hash, timestampS, checkpoint };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
