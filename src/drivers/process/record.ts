// What must be known to find a replica again after the controller died? One small file a replica.
//
//   PD1. The record is on disk before the process is: a crash in between leaves an intent, which
//        the next start compares with what is really running.
//   PD2. A record never holds the environment or the command line: they may carry secrets.
//
// No fsync: replicas do not survive a power cut either, and another boot id makes every record
// void.
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { closeSync, fchmodSync, openSync, renameSync, writeSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { asReplicaId, releaseId, serviceName } from '../../model/ids.ts';
import type { ReleaseId, ReplicaId, ServiceName } from '../../model/ids.ts';
import type { Exit } from '../../model/replica.ts';

const VERSION = 1;
const RECORD_MAX_BYTES = 16 * 1024;
const RECENT_MAX = 10_000;

export type RecordState =
  | { readonly kind: 'intent' }
  | {
      readonly kind: 'running';
      readonly pid: number;
      readonly start: string;
      readonly startedAtMs: number;
      /** Folders of its control groups. */
      readonly cage: readonly string[];
    }
  | { readonly kind: 'ended'; readonly exit: Exit };

export interface ReplicaRecord {
  readonly id: ReplicaId;
  readonly service: ServiceName;
  readonly release: ReleaseId;
  readonly bootId: string;
  readonly port: number;
  readonly logBytes: number;
  readonly state: RecordState;
}

/** A name that is safe as a file and as a control group, and different for different ids. */
export function fileNameOf(id: ReplicaId): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,120}$/u.test(id)) return id;
  return `x.${createHash('sha256').update(id).digest('hex').slice(0, 40)}`;
}

export interface RecordBook {
  write(record: ReplicaRecord): void;
  /** Answers `ended` from now on; the tombstone may follow. */
  remember(id: ReplicaId, exit: Exit): void;
  /** Forgets a start that never came to a process. */
  drop(id: ReplicaId): void;
  /** Intents and running ones, as the files say. */
  live(): readonly ReplicaRecord[];
  ended(id: ReplicaId): Exit | undefined;
  /** File names of ended ones, oldest first by order of ending. */
  endedNames(): readonly string[];
  forget(name: string): void;
}

export function openRecords(dir: string): RecordBook {
  const replicas = join(dir, 'replicas');
  const ended = join(dir, 'ended');
  for (const folder of [replicas, ended]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = (folder: string, id: ReplicaId): string => join(folder, `${fileNameOf(id)}.json`);
  /** Answers `look` without reading, and still when the disk was too full for the tombstone. */
  const recent = new Map<ReplicaId, Exit>();
  return {
    write(record) {
      if (record.state.kind === 'ended') remember(recent, record.id, record.state.exit);
      if (record.state.kind !== 'ended') return writeWhole(file(replicas, record.id), record);
      // First the tombstone, then the removal: a crash in between leaves both, and ended wins.
      writeWhole(file(ended, record.id), record);
      rmSync(file(replicas, record.id), { force: true });
    },
    remember: (id, exit) => remember(recent, id, exit),
    drop: (id) => rmSync(file(replicas, id), { force: true }),
    live: () =>
      readdirSync(replicas).flatMap((name) => {
        if (!name.endsWith('.json')) return [];
        const record = readRecord(join(replicas, name));
        // Unreadable: its process, if there is one, is found by its mark instead.
        if (record === undefined) rmSync(join(replicas, name), { force: true });
        return record ?? [];
      }),
    ended(id) {
      const known = recent.get(id);
      if (known !== undefined) return known;
      const state = readRecord(file(ended, id))?.state;
      return state?.kind === 'ended' ? state.exit : undefined;
    },
    endedNames: () =>
      readdirSync(ended)
        .filter((name) => name.endsWith('.json'))
        .map((name) => ({ name, atMs: lstatSync(join(ended, name)).mtimeMs }))
        .toSorted((a, b) => a.atMs - b.atMs)
        .map(({ name }) => name.slice(0, -'.json'.length)),
    forget: (name) => rmSync(join(ended, `${name}.json`), { force: true }),
  };
}

function remember(recent: Map<ReplicaId, Exit>, id: ReplicaId, exit: Exit): void {
  recent.set(id, exit);
  const [oldest] = recent.keys();
  if (recent.size > RECENT_MAX && oldest !== undefined) recent.delete(oldest);
}

/** Whole or not at all, readable by us alone. */
function writeWhole(path: string, record: ReplicaRecord): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    fchmodSync(fd, 0o600);
    writeSync(fd, `${JSON.stringify({ version: VERSION, ...record })}\n`);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

function readRecord(path: string): ReplicaRecord | undefined {
  try {
    const facts = lstatSync(path);
    if (!facts.isFile() || facts.size > RECORD_MAX_BYTES) return undefined;
    return parseRecord(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

type Loose = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Loose => typeof value === 'object' && value !== null;
const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

export function parseRecord(value: unknown): ReplicaRecord | undefined {
  if (!isObject(value) || value['version'] !== VERSION) return undefined;
  const { id, service, release, bootId, port, logBytes } = value;
  const state = parseState(value['state']);
  if (typeof id !== 'string' || typeof service !== 'string' || typeof release !== 'string')
    return undefined;
  if (typeof bootId !== 'string' || !isCount(port) || !isCount(logBytes) || state === undefined)
    return undefined;
  return {
    id: asReplicaId(id),
    service: serviceName(service),
    release: releaseId(release),
    bootId,
    port,
    logBytes,
    state,
  };
}

function parseState(value: unknown): RecordState | undefined {
  if (!isObject(value)) return undefined;
  if (value['kind'] === 'intent') return { kind: 'intent' };
  if (value['kind'] === 'ended') return { kind: 'ended', exit: parseExit(value['exit']) };
  const { pid, start, startedAtMs, cage } = value;
  if (value['kind'] !== 'running' || !isCount(pid) || pid <= 1) return undefined;
  if (typeof start !== 'string' || !isCount(startedAtMs) || !Array.isArray(cage)) return undefined;
  const folders = cage.filter((folder) => typeof folder === 'string');
  return { kind: 'running', pid, start, startedAtMs, cage: folders };
}

function parseExit(value: unknown): Exit {
  if (!isObject(value)) return { kind: 'unknown' };
  const { kind, code, signal } = value;
  if (kind === 'code' && typeof code === 'number') return { kind, code };
  if (kind === 'signal' && typeof signal === 'string') return { kind, signal };
  return kind === 'memory' ? { kind } : { kind: 'unknown' };
}
