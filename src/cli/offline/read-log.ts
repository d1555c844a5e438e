// What does a ledger hold, read offline by somebody who trusts nothing but its key? Every entry in
// order, and a tree for roots and proofs. The log's own files are read by way of the export, which
// refuses a log that does not give its signed root.
//
//   RL1. What is visited before the end is believed only when reading ends without an error: the
//        root over all of it was signed.
import { exportStatic, LocalStore, nodeFiles } from '@kintsugi/ledger';
import type { Files, OpenFile } from '@kintsugi/ledger';
import { leafHash, toBase64, verifyCheckpoint } from '@kintsugi/ledger/verify';
import { KinError } from '../../model/errors.ts';
import { HashTiles } from './hash-tiles.ts';
import { formatTilePath, parseBundle } from './package.ts';
import { readNamed } from './place.ts';
import type { FoundLedger } from './place.ts';
import { BUNDLE_BYTES_MAX } from './read-file.ts';

const WIDTH = 256;

export type Visit = (index: number, entry: Uint8Array, leaf: Uint8Array) => void;

export interface OfflineLog {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** The signed note over all of it. */
  readonly checkpoint: string;
  readonly tree: HashTiles;
}

export function readLog(found: FoundLedger, visit: Visit): Promise<OfflineLog> {
  return found.kind === 'log' ? readFolder(found, visit) : readExport(found, visit);
}

async function readFolder({ dir, vkey }: FoundLedger, visit: Visit): Promise<OfflineLog> {
  const tree = new HashTiles();
  const take = (path: string, bytes: Uint8Array): void => {
    const place = placeOf(path);
    if (place === undefined) return;
    if (place.level !== 'entries') {
      tree.put(place.level, place.number, bytes);
      return;
    }
    for (const [step, entry] of (parseBundle(bytes) ?? []).entries()) {
      visit(place.number * WIDTH + step, entry, leafHash(entry));
    }
  };
  const store = new LocalStore(nodeFiles(), dir);
  const { origin, size, root, text } = await exportStatic(dir, 'read', vkey, {
    files: sink(take),
    store,
  });
  return { origin, size, root, checkpoint: text, tree };
}

/** `read/tile/entries/x001/234.p/7` and the like. */
function placeOf(path: string): { level: number | 'entries'; number: number } | undefined {
  const found = /\/tile\/(entries|\d+)\/((?:x\d{3}\/)*\d{3})(?:\.p\/\d+)?$/u.exec(path);
  const [, level = '', groups = ''] = found ?? [];
  if (found === null) return undefined;
  const number = Number(groups.replaceAll(/[x/]/gu, ''));
  return { level: level === 'entries' ? level : Number(level), number };
}

/** Files that nobody keeps: what would be written is handed on. */
function sink(take: (path: string, bytes: Uint8Array) => void): Files {
  const unused = (): never => {
    throw new Error('assertion failed: an export writes and reads nothing back');
  };
  const file = (path: string): OpenFile => ({
    write: async (bytes) => take(path, bytes),
    datasync: async () => undefined,
    close: async () => undefined,
    read: unused,
    preallocate: unused,
    size: unused,
    identity: unused,
  });
  return {
    mkdir: async () => undefined,
    list: async () => [],
    open: async (path) => file(path),
    rename: async () => undefined,
    remove: async () => undefined,
    syncDir: async () => undefined,
    readWhole: unused,
    identity: unused,
    lock: unused,
  };
}

async function readExport({ dir, vkey }: FoundLedger, visit: Visit): Promise<OfflineLog> {
  const checkpoint = fileIn(dir, 'checkpoint').toString('utf8');
  const verdict = verifyCheckpoint(checkpoint, vkey);
  if (verdict.kind === 'invalid') throw damaged('checkpoint', verdict.reason);
  const { origin, root } = verdict.head;
  const size = Number(verdict.head.size);
  const tree = new HashTiles();
  for (let number = 0; number * WIDTH < size; number += 1) {
    const width = Math.min(WIDTH, size - number * WIDTH);
    const path = formatTilePath({ kind: 'entries', number, width });
    const entries = parseBundle(fileIn(dir, path));
    if (entries?.length !== width) throw damaged(path, 'not a bundle of this many entries');
    for (const [step, entry] of entries.entries()) {
      const leaf = leafHash(entry);
      tree.append(leaf);
      visit(number * WIDTH + step, entry, leaf);
    }
  }
  if (toBase64(tree.rootAt(size)) !== root) {
    throw damaged('tile/entries', 'the entries do not give the signed root');
  }
  return { origin, size, root, checkpoint, tree };
}

const fileIn = (dir: string, path: string): Buffer =>
  readNamed({ cwd: dir }, path, BUNDLE_BYTES_MAX);

function damaged(file: string, reason: string): KinError {
  return new KinError(
    'KIN_LEDGER_CORRUPT',
    `${file}: ${reason}`,
    'Get another copy; if that is the same, do not trust the log.',
  );
}
