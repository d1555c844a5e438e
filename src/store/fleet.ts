// The book of the fleet in SQL: one row a service, replica, release, quarantine and hold; one
// statement a change.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import type { Fleet, ServiceBook } from '../model/fleet.ts';
import type { Replica } from '../model/replica.ts';
import type { Release } from '../model/release.ts';
import type { TenantHold } from '../model/hold.ts';
import type { QuarantineRule } from '../model/plan.ts';
import type { FleetChange } from '../world/store.ts';
import type { Db } from './guard.ts';
import { dropped, lastOf } from './rules.ts';
import { decode, encode } from './schema.ts';
import { write } from './write.ts';

function put(table: string, rows: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  return sql`insert into ${sql.table(`kintsugi.${table}`)} (id, body)
    select v.id, v.body from fence, (values ${sql.join(rows)}) as v (id, body)
    on conflict (id) do update set body = excluded.body returning 1 as v`;
}

function putReplicas(replicas: readonly Replica[]): RawBuilder<unknown> {
  const rows = replicas.map(
    (r) => sql`(${r.id}::text, ${r.service}::text, ${r.phase}::text, ${encode(r)}::json)`,
  );
  return sql`insert into kintsugi.replica (id, service, phase, body)
    select v.id, v.service, v.phase, v.body
    from fence, (values ${sql.join(rows)}) as v (id, service, phase, body)
    on conflict (id) do update
      set service = excluded.service, phase = excluded.phase, body = excluded.body
    returning 1 as v`;
}

function drop(table: string, ids: readonly string[]): RawBuilder<unknown> {
  return sql`delete from ${sql.table(`kintsugi.${table}`)} as t using fence
    where t.id in (${sql.join(ids)}) returning 1 as v`;
}

const row = (id: string, value: unknown): RawBuilder<unknown> =>
  sql`(${id}::text, ${encode(value)}::json)`;

export async function changeFleet(db: Db, change: FleetChange, epoch: number): Promise<void> {
  const services = lastOf(change.services, (s) => s.name);
  const replicas = lastOf(change.replicas, (r) => r.id);
  const releases = lastOf(change.releases, (r) => r.id);
  const rules = lastOf(change.quarantine, (q) => q.id);
  const noServices = dropped(
    change.dropServices,
    services.map((s) => s.name),
  );
  const noRules = dropped(
    change.unquarantine,
    rules.map((q) => q.id),
  );
  const parts: RawBuilder<unknown>[] = [];
  if (services.length > 0)
    parts.push(
      put(
        'service',
        services.map((s) => row(s.name, s)),
      ),
    );
  if (releases.length > 0)
    parts.push(
      put(
        'release',
        releases.map((r) => row(r.id, r)),
      ),
    );
  if (rules.length > 0)
    parts.push(
      put(
        'quarantine',
        rules.map((q) => row(q.id, q)),
      ),
    );
  if (replicas.length > 0) parts.push(putReplicas(replicas));
  if (noServices.length > 0) parts.push(drop('service', noServices));
  if (noRules.length > 0) parts.push(drop('quarantine', noRules));
  parts.push(...holdParts(change));
  // An empty change still answers whether its writer may write.
  if (parts.length === 0) parts.push(sql`select 1 as v from fence`);
  await write(db, epoch, parts);
}

function holdParts(change: FleetChange): readonly RawBuilder<unknown>[] {
  const holds = lastOf(change.hold, (h) => h.id);
  const none = dropped(
    change.unhold,
    holds.map((h) => h.id),
  );
  const rows = holds.map((h) => row(h.id, h));
  return [
    ...(rows.length === 0 ? [] : [put('tenant_hold', rows)]),
    ...(none.length === 0 ? [] : [drop('tenant_hold', none)]),
  ];
}

/** One statement, so that the five maps are of the same moment. */
export async function readFleet(db: Db): Promise<Fleet> {
  const answer = await sql<Record<string, unknown>>`
    select (select json_agg(body order by ord) from kintsugi.service) as services,
           (select json_agg(body order by ord) from kintsugi.replica) as replicas,
           (select json_agg(body order by ord) from kintsugi.release) as releases,
           (select json_agg(body order by ord) from kintsugi.quarantine) as rules,
           (select json_agg(body order by ord) from kintsugi.tenant_hold) as holds`.execute(db);
  const found = answer.rows[0] ?? {};
  const list = <T>(name: string): readonly T[] =>
    decode<readonly T[] | undefined>(found[name] ?? null) ?? [];
  return {
    services: new Map(list<ServiceBook>('services').map((s) => [s.name, s])),
    replicas: new Map(list<Replica>('replicas').map((r) => [r.id, r])),
    releases: new Map(list<Release>('releases').map((r) => [r.id, r])),
    quarantines: new Map(list<QuarantineRule>('rules').map((q) => [q.id, q])),
    holds: new Map(list<TenantHold>('holds').map((h) => [h.id, h])),
  };
}
