// What does PostgreSQL's catalogue say about tenant isolation? One query as the application's
// role, and the judgement of its rows, which is pure.
//
//   CT1. A table counts as isolated only when row-level security is on, forced, and every policy
//        that lets the application in asks for the tenant.
//   CT2. A listed table that is missing is a violation, never a smaller population.
import type { CheckSpec } from '../../model/manifest.ts';
import type { CheckResult, Violation } from '../../model/signal.ts';

export interface Policy {
  readonly name: string;
  readonly permissive: boolean;
  /** Does it apply to the role that asks? */
  readonly applies: boolean;
  readonly using: string | null;
  readonly check: string | null;
}

export interface TableFacts {
  readonly name: string;
  readonly enabled: boolean;
  readonly forced: boolean;
  /** May the role that asks act as the owner, and so change all of this? */
  readonly owned: boolean;
  readonly hasColumn: boolean;
  readonly readable: boolean;
  readonly policies: readonly Policy[];
}

export interface Facts {
  readonly role: string;
  /** Roles that the one who asks is or may become, and that no policy binds. */
  readonly exempt: readonly string[];
  readonly tables: readonly TableFacts[];
}

/** $1 schema, $2 tenant column, $3 the listed tables (empty: those with the column). */
export const TABLES_QUERY = `
  select c.relname::text as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
    pg_has_role(current_user, c.relowner, 'member') as owned,
    has_table_privilege(c.oid, 'select') as readable,
    t.has as "hasColumn",
    coalesce((
      select json_agg(json_build_object(
        'name', p.polname, 'permissive', p.polpermissive,
        'applies', p.polroles = '{0}' or exists (
          select from unnest(p.polroles) as r (id)
          where r.id <> 0 and pg_has_role(current_user, r.id, 'usage')),
        'using', pg_get_expr(p.polqual, p.polrelid),
        'check', pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname)
      from pg_policy p where p.polrelid = c.oid), '[]'::json) as policies
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (select exists (
    select from pg_attribute a
    where a.attrelid = c.oid and a.attname = $2 and a.attnum > 0 and not a.attisdropped)) as t (has)
  where n.nspname = $1 and c.relkind in ('r', 'p') and case
    when cardinality($3::text[]) = 0 then t.has
    else c.relname = any ($3::text[]) or exists (
      select from pg_partition_ancestors(c.oid) as up (id)
      join pg_class pc on pc.oid = up.id
      where pc.relnamespace = c.relnamespace and pc.relname = any ($3::text[]))
    end
  order by c.relname limit 5000`;

export const ROLE_QUERY = `
  select current_user::text as role, coalesce((
    select json_agg(r.rolname::text order by r.rolname) from pg_roles r
    where (r.rolsuper or r.rolbypassrls) and pg_has_role(current_user, r.oid, 'member')
  ), '[]'::json) as exempt`;

export const subjectOf = (spec: CheckSpec, table: string, fault: string): string =>
  `${spec.schema}.${table}:${fault}`;

export function judge(spec: CheckSpec, facts: Facts): CheckResult {
  const found = new Set(facts.tables.map(({ name }) => name));
  const missing = spec.tables.filter((name) => !found.has(name));
  const population = facts.tables.length + missing.length;
  if (population === 0) {
    const reason = `no table in ${spec.schema} has the column ${spec.tenantColumn}`;
    return { kind: 'not-evaluated', reason };
  }
  const violations: Violation[] = [
    ...missing.map((name) => ({
      subject: subjectOf(spec, name, 'missing'),
      detail: `the table ${name} is listed, but it does not exist`,
    })),
    ...exemptions(facts),
    ...facts.tables.flatMap((table) => faultsOf(spec, table, facts.role)),
  ];
  if (violations.length > 0) return { kind: 'not-satisfied', population, violations };
  const detail = `${population} tables with row-level security enabled and forced`;
  return { kind: 'satisfied', population, detail };
}

function exemptions(facts: Facts): Violation[] {
  // A superuser may become everybody: one line says it all.
  const self = facts.exempt.filter((name) => name === facts.role);
  return (self.length > 0 ? self : facts.exempt).map((name) => ({
    subject: `role.${name}:bypasses-rls`,
    detail: `the application (${facts.role}) is or may become ${name}, which no policy binds`,
  }));
}

function faultsOf(spec: CheckSpec, table: TableFacts, role: string): Violation[] {
  const faults: Violation[] = [];
  const add = (fault: string, detail: string): void =>
    void faults.push({ subject: subjectOf(spec, table.name, fault), detail });
  if (!table.enabled) add('rls-disabled', 'row-level security is off');
  if (!table.forced) add('force-off', 'row-level security does not bind the owner: not forced');
  if (!table.hasColumn) add('no-tenant-column', `there is no column ${spec.tenantColumn}`);
  if (table.owned) add('owned-by-app', `${role} may act as the owner and switch it off`);
  if (!hasTenantPolicy(spec, table)) add('no-policy', `no policy for ${role} asks ${spec.setting}`);
  for (const policy of openPolicies(spec, table)) {
    add('open-policy', `the policy ${policy.name} lets rows through without ${spec.setting}`);
  }
  return faults;
}

const expressions = (policy: Policy): readonly string[] =>
  [policy.using, policy.check].filter((text) => text !== null);

const asksTenant = (spec: CheckSpec, policy: Policy): boolean =>
  expressions(policy).length > 0 &&
  expressions(policy).every((text) => text.includes(`'${spec.setting}'`));

/** Is there a policy at all by which the application gets at its rows, and only at those? */
export function hasTenantPolicy(spec: CheckSpec, table: TableFacts): boolean {
  return table.policies.some((policy) => policy.applies && asksTenant(spec, policy));
}

/** Permissive policies are joined by OR: one that does not ask opens the table. */
function openPolicies(spec: CheckSpec, table: TableFacts): readonly Policy[] {
  return table.policies.filter(
    (policy) => policy.permissive && policy.applies && !asksTenant(spec, policy),
  );
}
