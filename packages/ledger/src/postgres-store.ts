// How are rows of PostgreSQL the place of a log? One row per group with the same record bytes as on
// a disk, under PRIMARY KEY (log_id, first_index): the insert is the compare-and-swap.
// PS1. A writer holds an advisory lock and an epoch. The insert checks the epoch in the same
//      statement, so a writer that was replaced cannot add a row, and never a second history.
// PS2. Rows are never updated, deleted or truncated: a trigger refuses, except below the base of a
//      pruning and before a log was born, and then only through `kin_ledger_remove`.
// PS3. After a lost answer the row itself tells whether it is there; otherwise writing ends.
//
// The client is one session (a pool would lose the advisory lock); `synchronous_commit` is on.

import { LedgerError, errorText, typedError } from './errors.ts';
import type { FolderLock } from './files.ts';
import { postgresSchema } from './postgres-schema.ts';
import type { Piece, RecordPlace, RecordStore, RecordWriter } from './store.ts';

export interface SqlRow {
  readonly [column: string]: unknown;
}

/** The little that is needed of a client: numbered parameters, rows as objects, bytea as bytes. */
export interface SqlClient {
  query(text: string, params?: readonly unknown[]): Promise<{ readonly rows: readonly SqlRow[] }>;
}

export interface PostgresStoreOptions {
  readonly client: SqlClient;
  /** Several logs may share the tables. */
  readonly logId: string;
  /** A role without CREATE passes false: somebody else has run `postgresSchema()` before. */
  readonly createSchema?: boolean;
}

const PAGE_ROWS = 256;
const PAGE_BYTES = 8 * 1024 * 1024;
/** In one process a session could take its own advisory lock twice. */
const held = new WeakMap<SqlClient, Set<string>>();

export class PostgresStore implements RecordStore {
  readonly place: string;
  readonly #client: SqlClient;
  readonly #logId: string;
  readonly #createSchema: boolean;
  #epoch = 0n;

  constructor({ client, logId, createSchema = true }: PostgresStoreOptions) {
    if (!/^[a-z0-9][a-z0-9._-]{0,127}$/.test(logId)) {
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'logId is lower case, digits, ". _ -"');
    }
    this.#client = client;
    this.#logId = logId;
    this.#createSchema = createSchema;
    this.place = `kin_ledger_batch/${logId}`;
  }

  async lock(): Promise<FolderLock> {
    const logs = held.get(this.#client) ?? new Set<string>();
    held.set(this.#client, logs);
    if (logs.has(this.#logId)) throw this.#locked('this process');
    logs.add(this.#logId);
    try {
      await this.#takeLock();
    } catch (cause) {
      logs.delete(this.#logId);
      throw typedError(cause, `cannot lock ${this.place}`);
    }
    const release = async (): Promise<void> => {
      logs.delete(this.#logId);
      await this.#ask('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [this.#lockName()]);
    };
    return { release };
  }

  async #takeLock(): Promise<void> {
    if (this.#createSchema) await createPostgresSchema(this.#client);
    await this.#ask('SET synchronous_commit TO on');
    const [row] = await this.#ask('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS taken', [
      this.#lockName(),
    ]);
    if (row?.['taken'] !== true) throw this.#locked('another session');
    const [log] = await this.#ask(
      `INSERT INTO kin_ledger_log (log_id, epoch) VALUES ($1, 1)
       ON CONFLICT (log_id) DO UPDATE SET epoch = kin_ledger_log.epoch + 1
       RETURNING epoch::text AS epoch`,
      [this.#logId],
    );
    this.#epoch = BigInt(String(log?.['epoch']));
  }

  async readDocument(name: string, bytesMax: number): Promise<Uint8Array | undefined> {
    const [row] = await this.#ask(
      `SELECT octet_length(bytes) AS length, CASE WHEN octet_length(bytes) <= $3 THEN bytes END AS
       bytes FROM kin_ledger_document WHERE log_id = $1 AND name = $2`,
      [this.#logId, name, Math.min(bytesMax, 2 ** 31 - 1)],
    );
    if (row === undefined) return undefined;
    if (row['bytes'] === null) {
      throw new LedgerError('KIN_LEDGER_IO', `${name} has ${String(row['length'])} bytes`);
    }
    return bytesOf(row['bytes']);
  }

  /** Fenced like the rows: a writer that was replaced cannot publish any more either. */
  async replaceDocument(name: string, bytes: Uint8Array): Promise<void> {
    const rows = await this.#ask(
      `WITH mine AS (SELECT log_id FROM kin_ledger_log WHERE log_id = $1 AND epoch = $2 FOR SHARE)
       INSERT INTO kin_ledger_document (log_id, name, bytes)
       SELECT log_id, $3::text, $4::bytea FROM mine
       ON CONFLICT (log_id, name) DO UPDATE SET bytes = excluded.bytes RETURNING name`,
      [this.#logId, this.#epoch.toString(), name, bytes],
    );
    if (rows.length === 0) throw this.#locked('a newer writer');
  }

  async removeDocument(name: string): Promise<void> {
    await this.#ask('DELETE FROM kin_ledger_document WHERE log_id = $1 AND name = $2', [
      this.#logId,
      name,
    ]);
  }

  /** One row ahead, so that each piece knows where the next one starts. */
  async *pieces(from: number): AsyncGenerator<Piece> {
    let before: Row | undefined;
    for await (const row of this.#rows(from)) {
      if (before !== undefined) yield this.#piece(before, row.first);
      before = row;
    }
    if (before !== undefined) yield this.#piece(before, Infinity);
  }

  #piece({ first, bytes }: Row, next: number): Piece {
    return { file: rowName(first), first, next, load: () => Promise.resolve(bytes) };
  }

  /** A page is bounded by rows and by bytes; at least one row, so that it always goes on. */
  async *#rows(from: number): AsyncGenerator<Row> {
    let next = from;
    // Bounded by the rows of the log: each page but the last moves `next` on.
    for (;;) {
      const page = await this.#ask(
        `SELECT first_index::text AS first, bytes FROM (
           SELECT first_index, bytes, sum(octet_length(bytes)) OVER (ORDER BY first_index) AS total
           FROM (SELECT first_index, bytes FROM kin_ledger_batch
             WHERE log_id = $1 AND first_index >= $2 ORDER BY first_index LIMIT $3) AS few
         ) AS page WHERE total - octet_length(bytes) < $4 ORDER BY first_index`,
        [this.#logId, next, PAGE_ROWS, PAGE_BYTES],
      );
      for (const row of page) {
        const first = Number(row['first']);
        yield { first, bytes: asBuffer(bytesOf(row['bytes'])) };
        next = first + 1;
      }
      if (page.length === 0) return;
    }
  }

  async boundary(index: number): Promise<number | undefined> {
    const [row] = await this.#ask(
      `SELECT max(first_index)::text AS first FROM kin_ledger_batch
       WHERE log_id = $1 AND first_index <= $2`,
      [this.#logId, Math.min(index, Number.MAX_SAFE_INTEGER)],
    );
    return typeof row?.['first'] === 'string' ? Number(row['first']) : undefined;
  }

  async read(file: string, offset: number, length: number): Promise<Uint8Array> {
    const [row] = await this.#ask(
      `SELECT substring(bytes FROM $3::int FOR $4::int) AS bytes FROM kin_ledger_batch
       WHERE log_id = $1 AND first_index = $2`,
      [this.#logId, Number(file.replace('row-', '')), offset + 1, length],
    );
    if (row === undefined) throw new LedgerError('KIN_LEDGER_IO', `${file} is gone`);
    return bytesOf(row['bytes']);
  }

  /** An insert is there whole or not at all. */
  async dropUnusedLast(): Promise<void> {
    await Promise.resolve();
  }

  /** What another session sees is committed, and a commit is on disk. */
  async makeDurable(): Promise<void> {
    await Promise.resolve();
  }

  erase(file: string): Promise<void> {
    const message = `${file} is damaged, and a row is never changed`;
    return Promise.reject(
      new LedgerError('KIN_LEDGER_CORRUPT', message, { place: { file, offset: 0, index: 0 } }),
    );
  }

  async removeUnborn(): Promise<void> {
    await this.#remove(Number.MAX_SAFE_INTEGER, true);
    for (const name of ['checkpoint', 'base.bin', 'base.next']) await this.removeDocument(name);
  }

  async removeBelow(first: number): Promise<void> {
    await this.#remove(first, false);
  }

  async #remove(first: number, unborn: boolean): Promise<void> {
    await this.#ask('SELECT kin_ledger_remove($1, $2, $3, $4)', [
      this.#logId,
      this.#epoch.toString(),
      first,
      unborn,
    ]);
  }

  async writer(): Promise<RecordWriter> {
    await Promise.resolve();
    return {
      outOfSpace: false,
      hasRoom: () => true,
      makeRoom: () => Promise.resolve(),
      write: (record, firstIndex) => this.#insert(record, firstIndex),
      prepareSpare: () => undefined,
      isIntact: () => this.#isMine(),
      close: () => Promise.resolve(),
    };
  }

  /** PS1. */
  async #insert(record: Uint8Array, firstIndex: number): Promise<RecordPlace> {
    const place = { file: rowName(firstIndex), offset: 0 };
    let rows: readonly SqlRow[];
    try {
      rows = await this.#ask(
        `WITH mine AS (SELECT log_id FROM kin_ledger_log WHERE log_id = $1 AND epoch = $2 FOR SHARE)
         INSERT INTO kin_ledger_batch (log_id, first_index, epoch, bytes)
         SELECT log_id, $3::bigint, $2::bigint, $4::bytea FROM mine RETURNING first_index`,
        [this.#logId, this.#epoch.toString(), firstIndex, record],
      );
    } catch (cause) {
      if (codeOf(cause) === '23505') throw this.#forked(firstIndex, cause);
      if (isFull(cause)) {
        throw new LedgerError('KIN_LEDGER_FULL', errorText(cause), { cause });
      }
      if (await this.#isThere(firstIndex, record)) return place;
      throw new LedgerError('KIN_LEDGER_POISONED', `the insert failed: ${errorText(cause)}`, {
        cause,
        inLog: 'unknown',
      });
    }
    if (rows.length === 0) throw this.#locked('a newer writer');
    return place;
  }

  /** PS3. */
  async #isThere(firstIndex: number, record: Uint8Array): Promise<boolean> {
    try {
      const found = await this.read(rowName(firstIndex), 0, record.length);
      return Buffer.compare(found, record) === 0;
    } catch {
      return false;
    }
  }

  async #isMine(): Promise<boolean> {
    const rows = await this.#ask('SELECT 1 FROM kin_ledger_log WHERE log_id = $1 AND epoch = $2', [
      this.#logId,
      this.#epoch.toString(),
    ]);
    return rows.length === 1;
  }

  async #ask(text: string, params: readonly unknown[] = []): Promise<readonly SqlRow[]> {
    return (await this.#client.query(text, params)).rows;
  }

  #lockName(): string {
    return `kintsugi-ledger:${this.#logId}`;
  }

  #locked(by: string): LedgerError {
    return new LedgerError('KIN_LEDGER_LOCKED', `${this.place} is in use by ${by}`);
  }

  #forked(index: number, cause: unknown): LedgerError {
    const message = `another writer has put a record at ${index}; ours was not added`;
    return new LedgerError('KIN_LEDGER_FORKED', message, { cause });
  }
}

/** Once for a database, by a role that may create tables: that role owns them. */
export async function createPostgresSchema(client: SqlClient): Promise<void> {
  const exists = `SELECT to_regprocedure('kin_ledger_remove(text, bigint, bigint, boolean)')
    IS NOT NULL AS done`;
  if ((await client.query(exists)).rows[0]?.['done'] === true) return;
  const lockName = ['kintsugi-ledger-schema'];
  await client.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', lockName);
  try {
    for (const statement of postgresSchema()) await client.query(statement);
  } finally {
    await client.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', lockName);
  }
}

interface Row {
  readonly first: number;
  readonly bytes: Buffer;
}

function rowName(first: number): string {
  return `row-${String(first).padStart(16, '0')}`;
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new LedgerError('KIN_LEDGER_IO', 'the database client did not give bytes for bytea');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function codeOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : undefined;
}

/** disk_full and insufficient resources: the statement was rolled back. */
function isFull(cause: unknown): boolean {
  return codeOf(cause) === '53100';
}
