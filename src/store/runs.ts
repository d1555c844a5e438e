// The journal of runs in SQL: begin, steps, state, reading back.
import { sql } from 'kysely';
import { assert } from '../model/errors.ts';
import { OPEN_STATES } from '../model/run.ts';
import type { Run, RunState, StepRecord } from '../model/run.ts';
import type { IncidentId, RunId, Target } from '../model/ids.ts';
import type { BeginAnswer, Store } from '../world/store.ts';
import type { Db } from './guard.ts';
import { PAGE_MAX, page, statesBefore } from './rules.ts';
import { decode, encode, orUndefined } from './schema.ts';
import { write } from './write.ts';

/** What the row's body holds; the rest stands in columns. */
type RunBody = Pick<Run, 'plan' | 'planDigest' | 'startedAtWallMs'>;

export type RunChange = Parameters<Store['setRun']>[1];

/** The other run may end between our two statements, but hardly this often. */
const BEGIN_TRIES_MAX = 5;

export async function beginRun(db: Db, run: Run, epoch: number): Promise<BeginAnswer> {
  assert(OPEN_STATES.includes(run.state), `run ${run.id} begins as ${run.state}`);
  for (let attempt = 0; attempt < BEGIN_TRIES_MAX; attempt += 1) {
    if (await insertRun(db, run, epoch)) return { kind: 'begun' };
    const open = await db
      .selectFrom('kintsugi.run')
      .select(['id', 'target'])
      .where('state', 'in', OPEN_STATES)
      .where((is) => is.or([is('target', '=', run.plan.target), is('id', '=', run.id)]))
      .limit(1)
      .executeTakeFirst();
    // A repeat after an answer that got lost.
    if (open?.id === run.id) return { kind: 'begun' };
    if (open !== undefined) {
      return { kind: 'busy', run: open.id as RunId, target: open.target as Target };
    }
  }
  throw new Error(`assertion failed: the run ${run.id} was begun before and has ended`);
}

async function insertRun(db: Db, run: Run, epoch: number): Promise<boolean> {
  const { plan, planDigest, startedAtWallMs } = run;
  const body: RunBody = { plan, planDigest, startedAtWallMs };
  const steps = run.steps.map((step) => sql`(${step.key}::text, ${encode(step)}::json)`);
  const insert = sql`
    insert into kintsugi.run
      (id, target, state, incident, intent_index, ended_at_ms, failure, body)
    select ${run.id}, ${plan.target}, ${run.state}, ${run.incident ?? null}::text,
      ${run.intentIndex ?? null}::bigint, ${run.endedAtWallMs ?? null}::float8,
      ${run.failure === undefined ? null : encode(run.failure)}::json, ${encode(body)}::json
    from fence on conflict do nothing returning 1 as v`;
  if (steps.length === 0) return (await write(db, epoch, [insert])).rows > 0;
  const insertSteps = sql`
    insert into kintsugi.run_step (run, key, body) select ${run.id}, s.key, s.body
    from w0, (values ${sql.join(steps)}) as s (key, body) returning 1 as v`;
  return (await write(db, epoch, [insert, insertSteps])).rows > 0;
}

export async function putStep(db: Db, run: RunId, step: StepRecord, epoch: number): Promise<void> {
  await write(db, epoch, [
    sql`insert into kintsugi.run_step (run, key, body)
      select ${run}, ${step.key}, ${encode(step)}::json from fence
      on conflict (run, key) do update set body = excluded.body returning 1 as v`,
  ]);
}

export async function setRun(db: Db, run: RunId, change: RunChange, epoch: number): Promise<void> {
  const parts = [sql`id = r.id`];
  if (change.state !== undefined) parts.push(sql`state = ${change.state}`);
  if (change.failure !== undefined) parts.push(sql`failure = ${encode(change.failure)}::json`);
  if (change.intentIndex !== undefined) parts.push(sql`intent_index = ${change.intentIndex}`);
  if (change.endedAtWallMs !== undefined) parts.push(sql`ended_at_ms = ${change.endedAtWallMs}`);
  const allowed =
    change.state === undefined
      ? sql`true`
      : sql`r.state in (${sql.join(statesBefore(change.state))})`;
  const wrote = await write(db, epoch, [
    sql`update kintsugi.run as r set ${sql.join(parts)} from fence
      where r.id = ${run} and ${allowed} returning 1 as v`,
  ]);
  assert(wrote.rows === 1, `run ${run} is unknown or may not become ${change.state ?? 'changed'}`);
}

const withSteps = sql<unknown>`
  (select json_agg(s.body order by s.ord) from kintsugi.run_step s where s.run = kintsugi.run.id)`;

function select(db: Db) {
  return db
    .selectFrom('kintsugi.run')
    .select(['id', 'state', 'incident', 'intent_index', 'ended_at_ms', 'failure', 'body'])
    .select(withSteps.as('steps'));
}

type RunRow = Awaited<ReturnType<ReturnType<typeof select>['execute']>>[number];

function runOf(row: RunRow): Run {
  return {
    id: row.id as RunId,
    ...decode<RunBody>(row.body),
    state: row.state as RunState,
    incident: orUndefined(row.incident) as IncidentId | undefined,
    intentIndex: orUndefined(row.intent_index),
    endedAtWallMs: orUndefined(row.ended_at_ms),
    steps: decode<readonly StepRecord[] | undefined>(row.steps) ?? [],
    failure: decode<string | undefined>(row.failure),
  };
}

export async function openRuns(db: Db): Promise<readonly Run[]> {
  const rows = await select(db)
    .where('state', 'in', OPEN_STATES)
    .orderBy('ord')
    .limit(PAGE_MAX)
    .execute();
  return rows.map(runOf);
}

export async function oneRun(db: Db, id: RunId): Promise<Run | undefined> {
  const row = await select(db).where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : runOf(row);
}

export async function recentRuns(
  db: Db,
  query: { readonly limit: number; readonly incident?: IncidentId },
): Promise<readonly Run[]> {
  let rows = select(db).orderBy('ord', 'desc').limit(page(query.limit));
  if (query.incident !== undefined) rows = rows.where('incident', '=', query.incident);
  return (await rows.execute()).map(runOf);
}
