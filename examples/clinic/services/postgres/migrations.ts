// What does the data look like? The schema as an ordered list of migrations, applied once each,
// by the owner role, one process at a time.
//
// B1. Every table with tenant data has row-level security enabled and forced: the owner is bound
//     by it too. Without a tenant in the transaction a table is empty and takes no row.
// B2. A migration that was applied never changes: its digest is checked at each start.
// B3. The application role can read and write rows, and nothing else: no DDL, no TRUNCATE, and
//     no UPDATE or DELETE where the domain is append-only.
import { createHash } from 'node:crypto';
import type { Client } from 'pg';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** Tables with tenant data: what a compliance check must look at. */
export const TENANT_TABLES = [
  'patients',
  'notes',
  'invoices',
  'payments',
  'appointments',
  'idempotency_keys',
] as const;

const TENANT = `tenant_id text not null default nullif(current_setting('app.tenant', true), '')`;

/** RLS on, forced, and one policy for reading and writing alike. */
const isolate = (table: string): string => `
alter table ${table} enable row level security;
alter table ${table} force row level security;
create policy tenant_isolation on ${table}
  using (tenant_id = nullif(current_setting('app.tenant', true), ''))
  with check (tenant_id = nullif(current_setting('app.tenant', true), ''));`;

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'patients and notes',
    sql: `
create table patients (
  ${TENANT},
  id uuid not null,
  family_name text not null check (length(family_name) between 1 and 100),
  given_name text not null check (length(given_name) between 1 and 100),
  birth_date date not null,
  email text check (length(email) <= 254),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index patients_family_name on patients (tenant_id, family_name, id);
create table notes (
  ${TENANT},
  id uuid not null,
  patient_id uuid not null,
  author text not null,
  body text not null check (length(body) between 1 and 10000),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, patient_id) references patients
);
create index notes_patient on notes (tenant_id, patient_id, id);
${isolate('patients')}
${isolate('notes')}
grant select, insert, update on patients to clinic_app;
grant select, insert on notes to clinic_app;`,
  },
  {
    version: 2,
    name: 'invoices and payments',
    sql: `
create table invoices (
  ${TENANT},
  id uuid not null,
  patient_id uuid not null,
  currency text not null check (currency in ('EUR', 'USD')),
  amount_minor integer not null check (amount_minor > 0),
  paid_minor integer not null default 0 check (paid_minor between 0 and amount_minor),
  status text not null default 'open' check (status in ('open', 'paid')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, patient_id) references patients
);
create table payments (
  ${TENANT},
  id uuid not null,
  invoice_id uuid not null,
  amount_minor integer not null check (amount_minor > 0),
  method text not null check (method in ('card', 'transfer', 'cash')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, invoice_id) references invoices
);
create index payments_invoice on payments (tenant_id, invoice_id, id);
${isolate('invoices')}
${isolate('payments')}
grant select, insert on invoices to clinic_app;
grant update (paid_minor, status) on invoices to clinic_app;
grant select, insert on payments to clinic_app;`,
  },
  {
    version: 3,
    name: 'appointments',
    sql: `
create extension if not exists btree_gist;
create table appointments (
  ${TENANT},
  id uuid not null,
  patient_id uuid not null,
  practitioner text not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null check (ends_at > starts_at),
  reason text not null,
  status text not null default 'booked' check (status in ('booked', 'cancelled')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, patient_id) references patients,
  constraint one_patient_at_a_time exclude using gist (
    tenant_id with =, practitioner with =, tstzrange(starts_at, ends_at) with &&
  ) where (status = 'booked')
);
${isolate('appointments')}
grant select, insert on appointments to clinic_app;
grant update (status) on appointments to clinic_app;`,
  },
  {
    version: 4,
    name: 'idempotency keys',
    sql: `
create table idempotency_keys (
  ${TENANT},
  service text not null,
  key text not null,
  request_digest text not null,
  answer jsonb,
  created_at timestamptz not null default now(),
  primary key (tenant_id, service, key)
);
create index idempotency_keys_age on idempotency_keys (tenant_id, created_at);
${isolate('idempotency_keys')}
grant select, insert, delete on idempotency_keys to clinic_app;
grant update (answer) on idempotency_keys to clinic_app;`,
  },
];

/** Any number, the same for all who migrate this schema. */
const MIGRATION_LOCK = 7_150_021;

/** Applies what is missing, each in its own transaction. Returns the versions it applied. */
export async function migrate(
  client: Client,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<readonly number[]> {
  await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
  try {
    await client.query(`create table if not exists schema_migrations (
      version integer primary key, name text not null, digest text not null,
      applied_at timestamptz not null default now())`);
    const { rows } = await client.query<{ version: number; digest: string }>(
      'select version, digest from schema_migrations',
    );
    const applied = new Map(rows.map((row) => [row.version, row.digest]));
    const now: number[] = [];
    for (const migration of migrations) {
      const before = applied.get(migration.version);
      if (before === undefined) {
        await apply(client, migration);
        now.push(migration.version);
      } else if (before !== digestOf(migration)) {
        throw new Error(`migration ${migration.version} changed after it was applied`);
      }
    }
    return now;
  } finally {
    await client.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]);
  }
}

async function apply(client: Client, migration: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(migration.sql);
    await client.query(
      'insert into schema_migrations (version, name, digest) values ($1, $2, $3)',
      [migration.version, migration.name, digestOf(migration)],
    );
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

function digestOf(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}
