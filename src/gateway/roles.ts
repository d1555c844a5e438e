// Which roles does a credential bring along? Names from a key's rule or a token's claim, as the
// matrix of a route has them.
//
//   RO1. A role has a plain name; `*`, which stands for everybody, can never be claimed.
//   RO2. A credential has at most 64 roles; what is no role is left out, never cut to fit.

import { isRole, ROLES_MAX } from '../model/rights.ts';

const NONE: readonly string[] = [];

type Claims = Readonly<Record<string, unknown>>;

/** The claim of this name, or, by dots, inside of others: `realm_access.roles`. Own ones only. */
export function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      return undefined;
    value = (value as Claims)[part];
  }
  return value;
}

/** A list of names, or one text with spaces between them, as the `scope` claim has. */
export function rolesIn(value: unknown): readonly string[] {
  const list: readonly unknown[] =
    typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : NONE;
  const roles = new Set<string>();
  for (const role of list) {
    if (isRole(role)) roles.add(role);
    if (roles.size === ROLES_MAX) break;
  }
  return roles.size === 0 ? NONE : [...roles];
}
