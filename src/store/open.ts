// Where is the store, and is it fit for use? With a URL a PostgreSQL server of version 15 or later,
// without one the embedded database in a folder. Either way: one driver, one schema, one contract.
import { Pool, types } from 'pg';
import type { PoolConfig } from 'pg';
import { createPgConfig } from '@electric-sql/pglite/node-postgres';
import { sql } from 'kysely';
import { KinError } from '../model/errors.ts';
import type { Log } from '../world/clock.ts';
import type { Store } from '../world/store.ts';
import { redactUrl } from '../world/real/redact.ts';
import { openEmbedded } from './embedded.ts';
import { corrupt, storeError } from './errors.ts';
import { openDb } from './guard.ts';
import type { Db } from './guard.ts';
import { migrate } from './migrate.ts';
import { sqlStore } from './sql-store.ts';
import type { KeepLimits } from './rules.ts';

export interface StoreOptions {
  /** Of a PostgreSQL server; undefined: the embedded database in `dir`. */
  readonly url?: string | undefined;
  readonly dir: string;
  readonly log: Log;
  readonly keep?: Partial<KeepLimits>;
}

const SERVER_VERSION_MIN = 150_000;
const CONNECT_TIMEOUT_MS = 5000;
const STATEMENT_TIMEOUT_MS = 15_000;
const POOL_MAX = 4;
/** One session: whoever waits this long for it waits for a statement that hangs. */
const EMBEDDED_WAIT_MS = 60_000;

type TypeId = Parameters<typeof types.getTypeParser>[0];

/** bigint columns hold epochs, positions and numbers of events: all far below 2^53. */
const parsers: NonNullable<PoolConfig['types']> = {
  getTypeParser(oid: TypeId, format?: 'text' | 'binary') {
    if (oid === types.builtins.INT8) return safeInteger;
    return types.getTypeParser(oid, format ?? 'text');
  },
};

function safeInteger(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new Error(`assertion failed: ${text} is too large for a number`);
}

export async function openStore(options: StoreOptions): Promise<Store> {
  return options.url === undefined
    ? await openFolder(options)
    : await openServer(options, options.url);
}

async function openFolder(options: StoreOptions): Promise<Store> {
  const { log, keep } = options;
  const embedded = await openEmbedded(options.dir, log);
  const settings: PoolConfig = {
    max: 1,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: EMBEDDED_WAIT_MS,
    types: parsers,
  };
  const pool = new Pool(Object.assign(settings, createPgConfig(embedded.pglite)));
  pool.on('error', (error) => log.warn('store session', { error }));
  const db = openDb(pool);
  const end = async (): Promise<void> => {
    try {
      await db.destroy();
    } finally {
      await embedded.close();
    }
  };
  try {
    await migrate(db, embedded.dir);
  } catch (error) {
    await end().catch(() => undefined);
    const known = storeError(error, embedded.dir);
    throw known instanceof KinError ? known : corrupt(embedded.dir, error, '');
  }
  return sqlStore({ db, where: embedded.dir, embedded: true, end, ...(keep && { keep }) });
}

async function openServer(options: StoreOptions, url: string): Promise<Store> {
  const where = redactUrl(url);
  const { log, keep } = options;
  let db: Db | undefined;
  try {
    const pool = new Pool({
      connectionString: url,
      max: POOL_MAX,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS + 5000,
      keepAlive: true,
      application_name: 'kintsugi',
      types: parsers,
    });
    // An idle connection that the server ends is replaced at the next query.
    pool.on('error', (error) => log.warn('store connection lost', { error }));
    const opened = openDb(pool);
    db = opened;
    await checkServer(opened, where);
    await migrate(opened, where);
    const end = (): Promise<void> => opened.destroy();
    return sqlStore({ db: opened, where, embedded: false, end, ...(keep && { keep }) });
  } catch (error) {
    await db?.destroy().catch(() => undefined);
    throw storeError(error, where);
  }
}

async function checkServer(db: Db, where: string): Promise<void> {
  const answer = await sql<{ version: number; commit: string; readOnly: boolean }>`
    select current_setting('server_version_num')::int as version,
           current_setting('synchronous_commit') as commit,
           current_setting('transaction_read_only')::bool as "readOnly"`.execute(db);
  const found = answer.rows[0];
  if (found === undefined || found.version < SERVER_VERSION_MIN) {
    throw new KinError(
      'KIN_STORE_SERVER_TOO_OLD',
      `the server ${where} is PostgreSQL ${Math.trunc((found?.version ?? 0) / 10_000)}`,
      'Use PostgreSQL 15 or later.',
    );
  }
  if (found.commit === 'off' || found.readOnly) {
    throw new KinError(
      'KIN_STORE_NOT_DURABLE',
      found.readOnly
        ? `the server ${where} only lets us read`
        : `synchronous_commit is off for us on ${where}: a write could be lost after its answer`,
      found.readOnly
        ? 'Connect to the primary server.'
        : 'Run: alter role <the role of DATABASE_URL> set synchronous_commit = on',
    );
  }
}
