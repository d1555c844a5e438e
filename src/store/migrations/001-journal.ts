// The first schema: lease, journal of runs, incidents, approvals, the book of the fleet, the story,
// API keys, settings. Never changed again; what comes later is a migration of its own.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';

const TABLES: readonly string[] = [
  `create table kintsugi.lease (
     id integer primary key check (id = 1),
     owner text not null,
     epoch bigint not null,
     until_ms double precision not null)`,
  `create table kintsugi.run (
     id text primary key,
     ord bigint generated always as identity,
     target text not null,
     state text not null,
     incident text,
     intent_index bigint,
     ended_at_ms double precision,
     failure json,
     body json not null)`,
  `create unique index run_one_open_per_target on kintsugi.run (target)
     where state in ('waiting', 'running', 'undoing')`,
  `create index run_ord on kintsugi.run (ord)`,
  `create index run_incident on kintsugi.run (incident, ord)`,
  `create table kintsugi.run_step (
     run text not null references kintsugi.run (id) on delete cascade,
     key text not null,
     ord bigint generated always as identity,
     body json not null,
     primary key (run, key))`,
  `create table kintsugi.incident (
     id text primary key,
     ord bigint generated always as identity,
     fingerprint text not null,
     state text not null,
     body json not null)`,
  `create index incident_ord on kintsugi.incident (ord)`,
  `create index incident_open on kintsugi.incident (ord) where state <> 'healed'`,
  `create table kintsugi.approval (
     id text primary key,
     ord bigint generated always as identity,
     run text not null,
     state text not null,
     body json not null)`,
  `create index approval_ord on kintsugi.approval (ord)`,
  `create index approval_pending on kintsugi.approval (ord) where state = 'pending'`,
  `create table kintsugi.service (
     id text primary key, ord bigint generated always as identity, body json not null)`,
  `create table kintsugi.replica (
     id text primary key,
     ord bigint generated always as identity,
     service text not null,
     phase text not null,
     body json not null)`,
  `create index replica_gone on kintsugi.replica (service, ord) where phase = 'gone'`,
  `create table kintsugi.release (
     id text primary key, ord bigint generated always as identity, body json not null)`,
  `create table kintsugi.quarantine (
     id text primary key, ord bigint generated always as identity, body json not null)`,
  `create table kintsugi.story (
     seq bigint generated always as identity primary key,
     incident text,
     body json not null,
     data json)`,
  `create index story_incident on kintsugi.story (incident, seq) where incident is not null`,
  `create table kintsugi.api_key (
     id text primary key, ord bigint generated always as identity, body json not null)`,
  `create table kintsugi.setting (name text primary key, body json)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of TABLES) await sql.raw(statement).execute(db);
}
