// May this principal do this with this log, and by which policy? Asked before every read of the
// evidence and every act on it.
//
//   AC1. A tenant never gets past its own log: checked in code before any policy is looked at.
//   AC2. What no policy permits is denied, and so is what a policy could not evaluate.
//   AC3. Policies that do not fit the schema are no policies: loading fails.
//   AC4. Every decision names the policy or the rule that made it.
import {
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs';
import type { DetailedError, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import { POLICIES, SCHEMA } from './policies.ts';
import type { Action, Decision, DenyReason, Principal, Resource } from './principal.ts';

export interface Access {
  decide(principal: Principal, action: Action, resource: Resource): Decision;
}

/** Evaluating takes some 0.2 ms and depends on nothing but the question, so answers are kept. */
const KEPT_MAX = 4_096;
const HARD_RULE = 'own-log-only';
const NOTHING = 'deny-by-default';

let loaded = 0;

export function loadAccess(policies: Readonly<Record<string, string>> = POLICIES): Access {
  const name = `evidence-${(loaded += 1)}`;
  prepare(name, policies);
  const kept = new Map<string, Decision>();
  return {
    decide(principal, action, resource) {
      const outside = hardRule(principal, resource);
      if (outside !== undefined) return { kind: 'deny', reason: outside, policy: HARD_RULE };
      const key = questionKey(principal, action, resource);
      const known = kept.get(key);
      if (known !== undefined) return known;
      const decision = evaluate(name, principal, action, resource);
      if (kept.size >= KEPT_MAX) kept.clear();
      kept.set(key, decision);
      return decision;
    },
  };
}

/**
 * Loaded with the first question: that takes 0.3 s and some 60 MB, which a controller that was just
 * restarted after a crash has better uses for. That the policies are good is not left to that
 * moment: a test loads the same ones.
 */
export function lateAccess(): Access {
  let access: Access | undefined;
  return {
    decide(principal, action, resource) {
      access ??= loadAccess();
      return access.decide(principal, action, resource);
    },
  };
}

/** AC3. Told with the policy and the place: a build or an edit went wrong, never a request. */
function prepare(name: string, policies: Readonly<Record<string, string>>): void {
  const set = { staticPolicies: { ...policies } };
  const checked = validate({ schema: SCHEMA, policies: set, validationSettings: STRICT });
  if (checked.type === 'failure') throw broken(checked.errors);
  if (checked.validationErrors.length > 0) {
    const [first] = checked.validationErrors;
    throw new Error(`policy ${first?.policyId}: ${first?.error.message}`);
  }
  const schema = preparseSchema(name, SCHEMA);
  if (schema.type === 'failure') throw broken(schema.errors);
  const parsed = preparsePolicySet(name, set);
  if (parsed.type === 'failure') throw broken(parsed.errors);
}

const STRICT = { mode: 'strict' } as const;
const broken = (errors: readonly DetailedError[]): Error =>
  new Error(`the access policies cannot be loaded: ${errors.map((e) => e.message).join('; ')}`);

/** AC1. */
function hardRule(principal: Principal, resource: Resource): DenyReason | undefined {
  if (principal.kind !== 'tenant') return undefined;
  if (resource.kind !== 'tenant') return 'not-a-tenant-log';
  return resource.tenant === principal.tenant ? undefined : 'other-tenant';
}

function questionKey(principal: Principal, action: Action, resource: Resource): string {
  const { type, id } = principalEntity(principal);
  return JSON.stringify([type, id, action, resource.kind === 'tenant' ? resource.tenant : null]);
}

function evaluate(
  name: string,
  principal: Principal,
  action: Action,
  resource: Resource,
): Decision {
  const entity = resourceEntity(resource);
  const answer = statefulIsAuthorized({
    principal: principalEntity(principal),
    action: { type: 'Action', id: action },
    resource: entity.uid,
    context: {},
    preparsedSchemaName: name,
    validateRequest: true,
    preparsedPolicySetId: name,
    entities: [entity],
  });
  // A question that does not fit the schema, such as erasing the system log, is nothing that a
  // policy could permit.
  if (answer.type === 'failure') return { kind: 'deny', reason: 'no-policy', policy: NOTHING };
  const { decision, diagnostics } = answer.response;
  const [failed] = diagnostics.errors;
  // AC2. Cedar skips a policy that fails; a `forbid` that was skipped must not become a permission.
  if (failed !== undefined) {
    return { kind: 'deny', reason: 'policy-error', policy: failed.policyId };
  }
  const policy = diagnostics.reason.toSorted().join('+');
  if (decision === 'allow') return { kind: 'allow', policy };
  return policy === ''
    ? { kind: 'deny', reason: 'no-policy', policy: NOTHING }
    : { kind: 'deny', reason: 'forbidden', policy };
}

const KINDS = { operator: 'Operator', auditor: 'Auditor', tenant: 'Tenant' } as const;

function principalEntity(principal: Principal): TypeAndId {
  switch (principal.kind) {
    case 'operator':
      return { type: KINDS.operator, id: 'operator' };
    case 'auditor':
      return { type: KINDS.auditor, id: principal.name };
    case 'tenant':
      return { type: KINDS.tenant, id: principal.tenant };
  }
}

function resourceEntity(resource: Resource): EntityJson & { readonly uid: TypeAndId } {
  if (resource.kind === 'system') {
    return { uid: { type: 'SystemLog', id: 'system' }, attrs: {}, parents: [] };
  }
  const { tenant } = resource;
  return {
    uid: { type: 'TenantLog', id: tenant },
    attrs: { tenant: { __entity: { type: KINDS.tenant, id: tenant } } },
    parents: [],
  };
}
