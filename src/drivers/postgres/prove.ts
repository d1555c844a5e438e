// Can the application see what it must not? Asked of the live tables, as the application's role:
// first without a tenant, then in the name of one tenant after the other.
import { escapeIdentifier } from 'pg';
import type { CheckSpec } from '../../model/manifest.ts';
import type { CheckResult, Violation } from '../../model/signal.ts';
import { subjectOf } from './catalogue.ts';
import type { TableFacts } from './catalogue.ts';
import { readFacts } from './session.ts';
import type { Query } from './session.ts';

/** Tenants in whose name we look, until one table was seen with rows of two. */
const TENANTS_MAX = 20;

export async function prove(
  query: Query,
  spec: CheckSpec,
  tenants: readonly string[],
): Promise<CheckResult> {
  const facts = await readFacts(query, spec);
  const tables = facts.tables.filter((table) => table.readable && table.hasColumn);
  if (tables.length === 0) {
    return { kind: 'not-evaluated', reason: `${facts.role} can read no table of this check` };
  }
  const seen = await withoutTenant(query, spec, tables);
  const owners = new Map<string, number>();
  let looked = 0;
  for (const tenant of tenants.slice(0, TENANTS_MAX)) {
    await query('select set_config($1, $2, true)', [spec.setting, tenant]);
    seen.push(...(await asTenant(query, spec, tables, tenant, owners)));
    looked += 1;
    if (looked >= 2 && Math.max(0, ...owners.values()) >= 2) break;
  }
  const population = tables.length;
  const violations = oncePerSubject(seen);
  if (violations.length > 0) return { kind: 'not-satisfied', population, violations };
  const two = Math.max(0, ...owners.values()) >= 2;
  if (!two) return { kind: 'not-evaluated', reason: whyNot(tenants, looked) };
  const detail = `${population} tables, ${looked} tenants: nobody saw a row of another`;
  return { kind: 'satisfied', population, detail };
}

function whyNot(tenants: readonly string[], looked: number): string {
  if (tenants.length < 2) return 'fewer than two tenants are known';
  return `no table has rows of two of the ${looked} tenants that were tried`;
}

async function withoutTenant(
  query: Query,
  spec: CheckSpec,
  tables: readonly TableFacts[],
): Promise<Violation[]> {
  const violations: Violation[] = [];
  await query('select set_config($1, $2, true)', [spec.setting, '']);
  for (const { name } of tables) {
    const [row] = await query(`select exists (select from ${nameOf(spec, name)}) as seen`);
    if (row?.['seen'] !== true) continue;
    const detail = 'rows can be read without any tenant';
    violations.push({ subject: subjectOf(spec, name, 'readable-without-tenant'), detail });
  }
  return violations;
}

async function asTenant(
  query: Query,
  spec: CheckSpec,
  tables: readonly TableFacts[],
  tenant: string,
  owners: Map<string, number>,
): Promise<Violation[]> {
  const violations: Violation[] = [];
  const column = escapeIdentifier(spec.tenantColumn);
  for (const { name } of tables) {
    const from = nameOf(spec, name);
    const [row] = await query(
      `select exists (select from ${from} where ${column} = $1) as own,
              exists (select from ${from} where ${column} is distinct from $1) as foreign_rows`,
      [tenant],
    );
    if (row?.['own'] === true) owners.set(name, (owners.get(name) ?? 0) + 1);
    if (row?.['foreign_rows'] !== true) continue;
    const detail = `in the name of ${tenant} rows of other tenants can be read`;
    violations.push({ subject: subjectOf(spec, name, 'cross-tenant'), detail });
  }
  return violations;
}

const nameOf = (spec: CheckSpec, table: string): string =>
  `${escapeIdentifier(spec.schema)}.${escapeIdentifier(table)}`;

function oncePerSubject(violations: readonly Violation[]): Violation[] {
  return [...new Map(violations.map((violation) => [violation.subject, violation])).values()];
}
