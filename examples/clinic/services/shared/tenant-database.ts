// How does business code touch data? Only inside a transaction that belongs to one tenant.
//
// D1. The tenant comes from the verified request, is set for one transaction only, and the role
//     cannot bypass row-level security: forgetting a WHERE shows nothing of another tenant.
// D2. Everything is bounded: connections, waiting for one, a statement, an idle transaction.
// D3. A lost server never crashes the process: idle and busy connections may die at any time.
import { currentTenant } from '@kintsugi/sdk';
import { Pool, type PoolClient } from 'pg';
import { unavailable } from './problem.ts';

export interface Transaction {
  rows<T extends object>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** The first row, if there is one. */
  row<T extends object>(sql: string, values?: readonly unknown[]): Promise<T | undefined>;
}

export interface TenantDatabase {
  /** Commits what `work` did, or nothing of it. */
  transaction<T>(mode: 'read' | 'write', work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Rejects when the server does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface TenantDatabaseOptions {
  /** Connection string; the password comes from PGPASSWORD, so that it is in no argument. */
  readonly url: string | undefined;
  readonly applicationName: string;
  /** Called when the server could not be reached under a request. */
  readonly onLost: () => void;
}

const CONNECTIONS_MAX = 5;
const CONNECT_MS = 1_000;
const STATEMENT_MS = 5_000;
const IDLE_TRANSACTION_MS = 10_000;
const IDLE_CONNECTION_MS = 60_000;

export function openTenantDatabase(options: TenantDatabaseOptions): TenantDatabase {
  const pool = new Pool({
    connectionString: options.url ?? 'postgres://clinic_app@127.0.0.1:5432/clinic',
    application_name: options.applicationName,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_MS,
    idleTimeoutMillis: IDLE_CONNECTION_MS,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 1_000,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    keepAlive: true,
  });
  // The pool listens for errors of idle connections only; a connection that is checked out and
  // dies between two statements would end the process (D3). The next statement fails anyway.
  pool.on('connect', (client) => client.on('error', () => undefined));
  pool.on('error', () => options.onLost());
  return {
    async transaction(mode, work) {
      const tenant = currentTenant().tenant;
      try {
        return await inTransaction(pool, mode, tenant, work);
      } catch (error) {
        if (!isLost(error)) throw error;
        options.onLost();
        throw unavailable();
      }
    },
    async ping() {
      await pool.query('select 1');
    },
    close: () => pool.end(),
  };
}

async function inTransaction<T>(
  pool: Pool,
  mode: 'read' | 'write',
  tenant: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(mode === 'read' ? 'begin read only' : 'begin');
    await client.query("select set_config('app.tenant', $1, true)", [tenant]);
    const result = await work(transactionOn(client));
    await client.query('commit');
    return result;
  } catch (error) {
    try {
      await client.query('rollback');
    } catch (failure) {
      // A connection in an unknown state must never go back to the pool: it might still carry
      // the tenant of this request.
      broken = failure instanceof Error ? failure : new Error('rollback failed');
    }
    throw error;
  } finally {
    client.release(broken);
  }
}

function transactionOn(client: PoolClient): Transaction {
  const rows = async <T extends object>(
    sql: string,
    values: readonly unknown[] = [],
  ): Promise<T[]> => (await client.query<T>(sql, [...values])).rows;
  return {
    rows,
    row: async <T extends object>(sql: string, values: readonly unknown[] = []) =>
      (await rows<T>(sql, values))[0],
  };
}

/** The SQLSTATE of a server error, or the code of a system error. */
export function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : '';
}

const LOST_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
  // Shut down by the administrator, crashed, starting up, too many connections, timeout.
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '57014',
]);
const LOST_MESSAGE =
  /^(Connection terminated|timeout exceeded when trying|Query read timeout)|not queryable/;

/** Is the server away or overloaded, as opposed to: it answered and said no? */
export function isLost(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isLost);
  const code = codeOf(error);
  if (LOST_CODES.has(code) || code.startsWith('08')) return true;
  return error instanceof Error && LOST_MESSAGE.test(error.message);
}
