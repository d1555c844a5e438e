// How does a control talk to the database? One short connection for one piece of work, with a
// limit on every wait, and errors without passwords.
import { Client } from 'pg';
import { messageOf } from '../../model/errors.ts';
import { redactUrl } from '../../world/real/redact.ts';
import { ROLE_QUERY, TABLES_QUERY } from './catalogue.ts';
import type { Facts, TableFacts } from './catalogue.ts';
import type { CheckSpec } from '../../model/manifest.ts';

const CONNECT_TIMEOUT_MS = 3000;
const STATEMENT_TIMEOUT_MS = 5000;

export type Answer = Readonly<Record<string, unknown>>;
export type Query = (text: string, values?: readonly unknown[]) => Promise<readonly Answer[]>;

/** Runs `work` in one transaction; it is rolled back when `work` fails. */
export async function inSession<T>(
  url: string,
  mode: 'read only' | 'read write',
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1000,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS * 2,
    application_name: 'kintsugi-control',
  });
  // Told by the query in flight as well; unheard, the event would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`begin ${mode}`);
    const result = await work(async (text, values = []) => {
      const answer = await client.query<Answer>(text, [...values]);
      return answer.rows;
    });
    await client.query(mode === 'read only' ? 'rollback' : 'commit');
    return result;
  } finally {
    // Closing the connection rolls back what was not committed.
    await client.end().catch(() => undefined);
  }
}

export async function readFacts(query: Query, spec: CheckSpec): Promise<Facts> {
  const [role] = await query(ROLE_QUERY);
  const tables = await query(TABLES_QUERY, [spec.schema, spec.tenantColumn, spec.tables]);
  return {
    ...(role as unknown as Omit<Facts, 'tables'>),
    tables: tables as unknown as TableFacts[],
  };
}

export function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return redactUrl(messageOf(first)).slice(0, 300);
}

export function sqlStateOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
