// Who is asking, may this operation be asked by such a one, and may what it asks be done? The first
// two are answered before a body is read, the third once the input is checked.
//
//   GT1. A token is the operator's, an auditor's or a tenant's key, or nobody's: 401.
//   GT2. An operation that does not name a kind of principal refuses it with 403, and so does every
//        path that does not exist.
//   GT3. A tenant that is named anywhere in path, query or body is the caller's own; this stands
//        before every policy.
//   GT4. Reads of tenants' logs, reads by others than the operator, acts and refusals are
//        recorded.
//   GT5. Private fields leave only after the record that they were shown is durable.
//   GT6. Tenants and auditors have limits (limits.ts), taken before a body is read.
import type { IncomingHttpHeaders } from 'node:http';
import { KinError } from '../model/errors.ts';
import type { Access } from '../tenancy/access.ts';
import type { AuditorBook } from '../tenancy/auditors.ts';
import { isAuditorToken } from '../tenancy/auditors.ts';
import type { AccessNotes } from '../tenancy/notes.ts';
import { isAct, isRecorded } from '../tenancy/notes.ts';
import type { Asked, Principal } from '../tenancy/principal.ts';
import { logName, principalName } from '../tenancy/principal.ts';
import { bearerOf, unauthorized } from './guard.ts';
import type { CallLimits } from './limits.ts';
import type { Question, Route } from './route.ts';
import { sameToken } from './token.ts';

/** Whose API key this is, as the gateway would say; undefined for every other text. */
export type TenantOfKey = (key: string) => Promise<string | undefined>;

export interface GateParts {
  readonly operatorToken: string;
  readonly access: Access;
  readonly notes: AccessNotes;
  readonly auditors: AuditorBook | undefined;
  readonly tenantOfKey: TenantOfKey | undefined;
  readonly limits: CallLimits;
}

export interface Entered {
  readonly principal: Principal;
  /** GT6. To be called once the answer is out, or the caller is gone. */
  readonly leave: () => void;
}

export interface Granted {
  readonly asked: Asked;
  readonly policy: string;
}

export interface Gate {
  /** GT1, GT2, GT6. Throws KIN_API_UNAUTHORIZED, KIN_API_TOO_MANY or KIN_ACCESS_DENIED. */
  enter(headers: IncomingHttpHeaders, route: Route | undefined): Promise<Entered>;
  /** GT3, the policies, and GT6 for reveals. Throws KIN_ACCESS_DENIED or KIN_API_TOO_MANY. */
  decide(
    principal: Principal,
    route: Route,
    question: Question<unknown, unknown, unknown>,
  ): readonly Granted[];
  /** GT5: waits until it is written who sees private fields; throws when it cannot be. */
  revealing(actor: string, granted: readonly Granted[]): Promise<void>;
  /** GT4, once it was answered. */
  answered(principal: Principal, actor: string, granted: readonly Granted[]): void;
}

export function openGate(parts: GateParts): Gate {
  const { access, notes } = parts;
  const deny = (
    principal: Principal,
    what: { readonly action: string; readonly log: string },
    why: { readonly reason: string; readonly policy: string },
  ): KinError => {
    notes.denied(principal, what, why);
    return denied(why);
  };
  return {
    async enter(headers, route) {
      const principal = await identify(parts, headers);
      if (principal === undefined) {
        notes.denied(undefined, { action: 'enter', log: 'api' }, UNKNOWN);
        throw unauthorized();
      }
      const leave = placeOf(parts.limits, principal, route);
      const admits = route?.admits ?? ['operator'];
      if (admits.includes(principal.kind)) return { principal, leave };
      leave();
      // GT2.
      throw deny(principal, { action: route?.id ?? 'unknown', log: 'api' }, NOT_ADMITTED);
    },
    decide(principal, route, question) {
      const all = route.asks(question);
      if (principal.kind === 'tenant' && namesAnother(principal.tenant, question)) {
        throw deny(principal, { action: route.id, log: 'api' }, OTHER_TENANT);
      }
      const granted = all.map((asked) => {
        const decision = access.decide(principal, asked.action, asked.resource);
        if (decision.kind === 'allow') return { asked, policy: decision.policy };
        throw deny(principal, { action: asked.action, log: logName(asked.resource) }, decision);
      });
      const reveals = route.method === 'GET' && granted.some(isReveal);
      if (reveals && principal.kind !== 'operator') {
        parts.limits.spend(principalName(principal), 'reveal');
      }
      return granted;
    },
    async revealing(actor, granted) {
      for (const { asked, policy } of granted.filter(isReveal)) {
        await notes.revealing(actor, asked.resource, policy);
      }
    },
    answered(principal, actor, granted) {
      for (const { asked, policy } of granted) {
        const { action, resource } = asked;
        // GT5: written already.
        if (action === 'RevealPrivate') continue;
        if (isAct(action)) notes.acted(actor, action, resource, policy);
        else if (isRecorded(principal, resource)) notes.read(principal, action, resource, policy);
      }
    },
  };
}

const isReveal = ({ asked }: Granted): boolean => asked.action === 'RevealPrivate';
const nothing = (): void => undefined;

/** GT6. */
function placeOf(limits: CallLimits, principal: Principal, route: Route | undefined): () => void {
  if (principal.kind === 'operator') return nothing;
  const isHeavy = route?.admits.includes(principal.kind) === true && route.method !== 'GET';
  return limits.enter(principalName(principal), isHeavy ? 'heavy' : 'read');
}

const UNKNOWN = { reason: 'unknown-token', policy: 'tokens' };
const NOT_ADMITTED = { reason: 'not-admitted', policy: 'routes' };
const OTHER_TENANT = { reason: 'other-tenant', policy: 'own-log-only' };

const TENANT = /^[a-z0-9][a-z0-9._-]{0,63}$/u;

/** GT1. */
async function identify(
  { operatorToken, auditors, tenantOfKey }: GateParts,
  headers: IncomingHttpHeaders,
): Promise<Principal | undefined> {
  const token = bearerOf(headers);
  if (token === undefined) return undefined;
  if (sameToken(token, operatorToken)) return { kind: 'operator' };
  if (isAuditorToken(token)) {
    const name = auditors?.nameOf(token);
    return name === undefined ? undefined : { kind: 'auditor', name };
  }
  const tenant = await tenantOfKey?.(token);
  return tenant !== undefined && TENANT.test(tenant) ? { kind: 'tenant', tenant } : undefined;
}

/** GT3. */
function namesAnother(own: string, question: Question<unknown, unknown, unknown>): boolean {
  return [question.params, question.query, question.body].some(
    (part) =>
      typeof part === 'object' &&
      part !== null &&
      'tenant' in part &&
      part.tenant !== undefined &&
      part.tenant !== own,
  );
}

function denied({
  reason,
  policy,
}: {
  readonly reason: string;
  readonly policy: string;
}): KinError {
  return new KinError(
    'KIN_ACCESS_DENIED',
    `this token does not allow it (${reason}: ${policy})`,
    'Use the token of who may: the operator for acts, an auditor or the tenant itself for reading.',
  );
}
