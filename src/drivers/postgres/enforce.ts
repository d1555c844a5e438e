// How is row-level security switched on again? As the owner, in one transaction, only what the plan
// names, and never so that it locks everybody out.
//
//   CO1. Only ENABLE and FORCE, only on tables that the plan names and the check covers; every
//        other violation is for a person.
//   CO2. A table without a policy that asks for the tenant is left alone: switched on, it would
//        show nothing to anybody.
import { escapeIdentifier } from 'pg';
import type { CheckSpec } from '../../model/manifest.ts';
import type { EnforceAnswer } from '../../world/controls.ts';
import { hasTenantPolicy } from './catalogue.ts';
import type { Facts } from './catalogue.ts';
import { inSession, readFacts, reasonOf, sqlStateOf } from './session.ts';
import type { Query } from './session.ts';

/** What can be enforced, and by which words. */
const REMEDIES: Readonly<Record<string, string>> = {
  'rls-disabled': 'enable row level security',
  'force-off': 'force row level security',
};
/** Long enough for a short transaction; waiting longer would pile up readers behind us. */
const LOCK_TIMEOUT_MS = 1000;
const SUBJECTS_MAX = 1000;
/** Lock not available, deadlock, serialisation, cancelled, shutdown, full; connection lost. */
const RETRYABLE = /^(?:55P03|40P01|40001|57014|57P0\d|53\d{3}|08\d{3}|E[A-Z]+)$/u;

interface Remedy {
  readonly table: string;
  readonly fault: string;
}

export const impossible = (detail: string): EnforceAnswer => ({
  kind: 'failed',
  retryable: false,
  detail,
});

export async function enforceRls(
  spec: CheckSpec,
  subjects: readonly string[],
  adminUrl: string,
): Promise<EnforceAnswer> {
  if (subjects.length === 0) return impossible('the plan names no table');
  if (subjects.length > SUBJECTS_MAX) return impossible(`more than ${SUBJECTS_MAX} subjects`);
  const remedies: Remedy[] = [];
  for (const subject of subjects) {
    const remedy = remedyFor(spec, subject);
    if (remedy === undefined) return impossible(`${subject} needs a person`);
    remedies.push(remedy);
  }
  try {
    return await inSession(adminUrl, 'read write', async (query) => {
      const facts = await readFacts(query, spec);
      const obstacle = obstacleTo(spec, remedies, facts);
      if (obstacle !== undefined) return impossible(obstacle);
      const changed = await alter(query, spec, remedies, facts);
      const detail = changed.length === 0 ? 'it was in force already' : changed.join('; ');
      return { kind: 'enforced', detail };
    });
  } catch (error) {
    const retryable = RETRYABLE.test(sqlStateOf(error)) || /timeout/iu.test(reasonOf(error));
    return { kind: 'failed', retryable, detail: reasonOf(error) };
  }
}

function remedyFor(spec: CheckSpec, subject: string): Remedy | undefined {
  const colon = subject.lastIndexOf(':');
  const fault = subject.slice(colon + 1);
  const start = `${spec.schema}.`;
  if (colon <= start.length || !subject.startsWith(start)) return undefined;
  if (!Object.hasOwn(REMEDIES, fault)) return undefined;
  return { table: subject.slice(start.length, colon), fault };
}

function obstacleTo(
  spec: CheckSpec,
  remedies: readonly Remedy[],
  facts: Facts,
): string | undefined {
  for (const { table } of remedies) {
    const name = `${spec.schema}.${table}`;
    const found = facts.tables.find((facts) => facts.name === table);
    if (found === undefined) return `${name} is not a table of this check`;
    // As the owner we cannot see to whom a policy applies, but whether there is one we can.
    const policies = found.policies.map((policy) => ({ ...policy, applies: true }));
    if (hasTenantPolicy(spec, { ...found, policies })) continue;
    return `${name} has no policy that asks ${spec.setting}: it would show nothing to anybody`;
  }
  return undefined;
}

async function alter(
  query: Query,
  spec: CheckSpec,
  remedies: readonly Remedy[],
  facts: Facts,
): Promise<readonly string[]> {
  await query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
  const changed: string[] = [];
  // Always in the same order, so that two who do this at once cannot deadlock.
  for (const { table, fault } of remedies.toSorted((a, b) => (a.table < b.table ? -1 : 1))) {
    const found = facts.tables.find(({ name }) => name === table);
    const remedy = REMEDIES[fault];
    const inForce = fault === 'rls-disabled' ? found?.enabled : found?.forced;
    if (inForce === true || remedy === undefined) continue;
    const name = `${escapeIdentifier(spec.schema)}.${escapeIdentifier(table)}`;
    await query(`alter table ${name} ${remedy}`);
    changed.push(`${spec.schema}.${table}: ${remedy}`);
  }
  return changed;
}
