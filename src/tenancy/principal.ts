// Who asks, for what, about which log? The nouns of access to the evidence, types only.

/** Which principals there are: `admits` of a route and the policies speak of these. */
export type PrincipalKind = 'operator' | 'auditor' | 'tenant';

export type Principal =
  | { readonly kind: 'operator' }
  /** Reads everything of the ledger and changes nothing. */
  | { readonly kind: 'auditor'; readonly name: string }
  /** Holds an API key of this tenant, as the gateway knows it. */
  | { readonly kind: 'tenant'; readonly tenant: string };

export const ACTIONS = [
  'ReadLog',
  'ReadTenantLog',
  'Prove',
  'RevealPrivate',
  'Erase',
  'Hold',
  'Publish',
] as const;
export type Action = (typeof ACTIONS)[number];

export type Resource =
  | { readonly kind: 'system' }
  | { readonly kind: 'tenant'; readonly tenant: string };

export interface Asked {
  readonly action: Action;
  readonly resource: Resource;
}

export type Decision =
  | { readonly kind: 'allow'; readonly policy: string }
  | { readonly kind: 'deny'; readonly reason: DenyReason; readonly policy: string };

export type DenyReason =
  /** Decided in code before any policy: a tenant asked for what is not its own. */
  | 'other-tenant'
  | 'not-a-tenant-log'
  /** A `forbid` policy. */
  | 'forbidden'
  /** Nothing permits it. */
  | 'no-policy'
  /** A policy could not be evaluated. */
  | 'policy-error';

/** As records and messages name the principal. */
export function principalName(principal: Principal): string {
  switch (principal.kind) {
    case 'operator':
      return 'operator';
    case 'auditor':
      return `auditor:${principal.name}`;
    case 'tenant':
      return `tenant:${principal.tenant}`;
  }
}

export const logName = (resource: Resource): string =>
  resource.kind === 'system' ? 'system' : `tenant:${resource.tenant}`;
