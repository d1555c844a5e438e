// Incidents, approvals, the story, keys and settings in SQL: values with an id and a body.
import { sql } from 'kysely';
import type { StoryEvent } from '../model/entry.ts';
import type { Incident } from '../model/incident.ts';
import type { Approval } from '../model/run.ts';
import type { ApprovalId, IncidentId } from '../model/ids.ts';
import type { ApiKeyRow, StoryQuery } from '../world/store.ts';
import { assert } from '../model/errors.ts';
import type { Db } from './guard.ts';
import { PAGE_MAX, page } from './rules.ts';
import { decode, encode, encodeFree } from './schema.ts';
import { write } from './write.ts';

export async function putIncident(db: Db, incident: Incident, epoch: number): Promise<void> {
  await write(db, epoch, [
    sql`insert into kintsugi.incident (id, fingerprint, state, body)
      select ${incident.id}, ${incident.fingerprint}, ${incident.state.kind},
        ${encode(incident)}::json from fence
      on conflict (id) do update set fingerprint = excluded.fingerprint,
        state = excluded.state, body = excluded.body returning 1 as v`,
  ]);
}

export async function openIncidents(db: Db): Promise<readonly Incident[]> {
  const rows = await db
    .selectFrom('kintsugi.incident')
    .select('body')
    .where('state', '<>', 'healed')
    .orderBy('ord')
    .limit(PAGE_MAX)
    .execute();
  return rows.map((row) => decode<Incident>(row.body));
}

export async function oneIncident(db: Db, id: IncidentId): Promise<Incident | undefined> {
  const rows = db.selectFrom('kintsugi.incident').select('body').where('id', '=', id);
  const row = await rows.executeTakeFirst();
  return row === undefined ? undefined : decode<Incident>(row.body);
}

export async function recentIncidents(db: Db, limit: number): Promise<readonly Incident[]> {
  const newest = db.selectFrom('kintsugi.incident').select('body').orderBy('ord', 'desc');
  const rows = await newest.limit(page(limit)).execute();
  return rows.map((row) => decode<Incident>(row.body));
}

export async function putApproval(db: Db, approval: Approval, epoch: number): Promise<void> {
  await write(db, epoch, [
    sql`insert into kintsugi.approval (id, run, state, body)
      select ${approval.id}, ${approval.run}, ${approval.state.kind},
        ${encode(approval)}::json from fence
      on conflict (id) do update set run = excluded.run, state = excluded.state,
        body = excluded.body returning 1 as v`,
  ]);
}

export async function oneApproval(db: Db, id: ApprovalId): Promise<Approval | undefined> {
  const rows = db.selectFrom('kintsugi.approval').select('body').where('id', '=', id);
  const row = await rows.executeTakeFirst();
  return row === undefined ? undefined : decode<Approval>(row.body);
}

export async function recentApprovals(
  db: Db,
  query: { readonly limit: number; readonly pendingOnly: boolean },
): Promise<readonly Approval[]> {
  let rows = db.selectFrom('kintsugi.approval').select('body').orderBy('ord', 'desc');
  if (query.pendingOnly) rows = rows.where('state', '=', 'pending');
  const found = await rows.limit(page(query.limit)).execute();
  return found.map((row) => decode<Approval>(row.body));
}

/** The number is drawn behind the fence's lock, so numbers become visible in their order. */
export async function tell(db: Db, event: Omit<StoryEvent, 'seq'>, epoch: number): Promise<number> {
  const { data, ...rest } = event;
  const wrote = await write(db, epoch, [
    sql`insert into kintsugi.story (incident, body, data)
      select ${event.incident ?? null}::text, ${encode(rest)}::json,
        ${encodeFree(data)}::json from fence returning seq as v`,
  ]);
  assert(wrote.value !== undefined, 'a told event has a number');
  return wrote.value;
}

export async function story(db: Db, query: StoryQuery): Promise<readonly StoryEvent[]> {
  let rows = db
    .selectFrom('kintsugi.story')
    .select(['seq', 'body', 'data'])
    .select(sql<boolean>`data is not null`.as('told'))
    .where('seq', '>', query.after)
    .orderBy('seq')
    .limit(page(query.limit));
  if (query.incident !== undefined) rows = rows.where('incident', '=', query.incident);
  return (await rows.execute()).map((row) => ({
    ...decode<Omit<StoryEvent, 'seq' | 'data'>>(row.body),
    seq: row.seq,
    data: row.told ? row.data : undefined,
  }));
}

export async function putKey(db: Db, key: ApiKeyRow, epoch: number): Promise<void> {
  await write(db, epoch, [
    sql`insert into kintsugi.api_key (id, body)
      select ${key.id}, ${encode(key)}::json from fence
      on conflict (id) do update set body = excluded.body returning 1 as v`,
  ]);
}

export async function dropKey(db: Db, id: string, epoch: number): Promise<void> {
  await write(db, epoch, [
    sql`delete from kintsugi.api_key as t using fence where t.id = ${id} returning 1 as v`,
  ]);
}

/** All of them, read page by page: a tenant has few keys, but there are many tenants. */
export async function keys(db: Db): Promise<readonly ApiKeyRow[]> {
  const found: ApiKeyRow[] = [];
  let after = 0;
  // Bounded by the number of keys: each turn moves past at least one row.
  while (true) {
    const rows = await db
      .selectFrom('kintsugi.api_key')
      .select(['ord', 'body'])
      .where('ord', '>', after)
      .orderBy('ord')
      .limit(PAGE_MAX)
      .execute();
    for (const row of rows) {
      found.push(decode<ApiKeyRow>(row.body));
      after = row.ord;
    }
    if (rows.length < PAGE_MAX) return found;
  }
}

export async function putSetting(
  db: Db,
  name: string,
  value: unknown,
  epoch: number,
): Promise<void> {
  await write(db, epoch, [
    sql`insert into kintsugi.setting (name, body)
      select ${name}, ${encodeFree(value)}::json from fence
      on conflict (name) do update set body = excluded.body returning 1 as v`,
  ]);
}

export async function setting(db: Db, name: string): Promise<unknown> {
  const row = await db
    .selectFrom('kintsugi.setting')
    .select('body')
    .select(sql<boolean>`body is not null`.as('set'))
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.set === true ? row.body : undefined;
}
