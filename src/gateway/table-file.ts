// What does a gateway serve from when it starts and nobody is there to tell? Its last good table.
//
//   TF1. The file is replaced as a whole (write beside, sync, rename), readable by its owner only:
//        it holds MACs and keys.
//   TF2. A file that is torn, foreign or of another format is not used; it is no reason to stop.
import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from 'node:crypto';
import type { RoutingTable } from '../model/routing.ts';
import { isRecord } from './lines.ts';

const BYTES_MAX = 64 * 1_024 * 1_024;
const FORMAT = 1;

export interface SavedTable {
  readonly table: RoutingTable;
  readonly pepper: string;
}

export type LoadAnswer =
  | { readonly kind: 'loaded'; readonly saved: SavedTable }
  | { readonly kind: 'none' }
  | { readonly kind: 'unusable'; readonly reason: string };

export function tablePath(folder: string, worker: string): string {
  return join(folder, `table-${worker.replaceAll(/[^A-Za-z0-9-]/gu, '_')}.json`);
}

export function loadTable(folder: string, worker: string): LoadAnswer {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let text: string;
  try {
    text = readFileSync(tablePath(folder, worker), 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code === 'ENOENT' ? { kind: 'none' } : { kind: 'unusable', reason: String(code) };
  }
  if (text.length > BYTES_MAX) return { kind: 'unusable', reason: 'too large' };
  const line = text.indexOf('\n');
  const body = text.slice(line + 1);
  if (line < 0 || text.slice(0, line) !== hash('sha256', body)) {
    return { kind: 'unusable', reason: 'its checksum does not match' };
  }
  const value: unknown = JSON.parse(body);
  if (!isRecord(value) || value['v'] !== FORMAT || typeof value['pepper'] !== 'string') {
    return { kind: 'unusable', reason: 'its format is not known' };
  }
  const saved = { table: value['table'] as RoutingTable, pepper: value['pepper'] };
  return { kind: 'loaded', saved };
}

export interface TableFile {
  /** Writes it soon; of several at once only the newest. */
  save(saved: SavedTable): void;
  /** Resolves when nothing is left to write. */
  settled(): Promise<void>;
}

export function openTableFile(
  folder: string,
  worker: string,
  onFault: (error: unknown) => void,
): TableFile {
  const path = tablePath(folder, worker);
  let next: SavedTable | undefined;
  let writing: Promise<void> | undefined;

  const run = async (): Promise<void> => {
    for (let saved = next; saved !== undefined; saved = next) {
      next = undefined;
      try {
        await writeWhole(path, saved);
      } catch (error) {
        onFault(error);
      }
    }
    writing = undefined;
  };
  return {
    save(saved) {
      next = saved;
      writing ??= run();
    },
    async settled() {
      await writing;
    },
  };
}

async function writeWhole(path: string, saved: SavedTable): Promise<void> {
  const body = JSON.stringify({ v: FORMAT, ...saved });
  const beside = `${path}.${process.pid}`;
  await rm(beside, { force: true });
  const file = await open(beside, 'wx', 0o600);
  try {
    await file.writeFile(`${hash('sha256', body)}\n${body}`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
}
