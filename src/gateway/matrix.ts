// May somebody with these roles use this method on this route? Looked up in the matrix that the
// controller compiled from policy; no policy is ever evaluated for a request.
//
//   MX1. A route without a matrix lets everybody known in; one with a matrix lets in what it says
//        and nothing else.
//   MX2. `deny` wins over `allow`, whichever of the roles either comes from.
//   MX3. A method that no policy can name has one common place, `OTHER`.
//
// The methods of a flow are one number: each request costs one look-up and one shift.
import { METHODS } from '../model/rights.ts';
import type { PrefixRoute, RouteMatrix } from '../model/routing.ts';
import type { Problem } from './problem.ts';

const OTHER_BIT = METHODS.length;
const ALL = (1 << (METHODS.length + 1)) - 1;

/** Bits of methods; see `methodBit`. */
export type MethodMask = number;

export type MatrixVerdict = 'allowed' | 'not-allowed';

export function methodBit(method: string): number {
  switch (method) {
    case 'GET':
      return 0;
    case 'HEAD':
      return 1;
    case 'OPTIONS':
      return 2;
    case 'POST':
      return 3;
    case 'PUT':
      return 4;
    case 'PATCH':
      return 5;
    case 'DELETE':
      return 6;
    default:
      return OTHER_BIT;
  }
}

/** Compiled with the first request that meets it; a new table brings new ones. */
const compiled = new WeakMap<RouteMatrix, ReadonlyMap<string, MethodMask>>();

function rowsOf(matrix: RouteMatrix): ReadonlyMap<string, MethodMask> {
  const known = compiled.get(matrix);
  if (known !== undefined) return known;
  const rows = new Map(Object.entries(matrix).map(([role, methods]) => [role, maskOf(methods)]));
  compiled.set(matrix, rows);
  return rows;
}

export function maskOf(methods: readonly string[]): MethodMask {
  let mask = 0;
  for (const method of methods) mask |= method === '*' ? ALL : 1 << methodBit(method);
  return mask;
}

function union(matrix: RouteMatrix, roles: readonly string[], kind: string): MethodMask {
  const rows = rowsOf(matrix);
  let mask = (rows.get('*') ?? 0) | (rows.get(kind) ?? 0);
  for (const role of roles) mask |= rows.get(role) ?? 0;
  return mask;
}

/** What the credential is, as rows of a matrix name it: `@key`, `@user` or `@cert`. */
export function kindRow(subject: string): string {
  const colon = subject.indexOf(':');
  return `@${colon < 0 ? subject : subject.slice(0, colon)}`;
}

/** All methods that somebody may use here: to be kept while route and roles are the same. */
export function allowedMethods(
  route: Pick<PrefixRoute, 'allow' | 'deny'>,
  roles: readonly string[],
  subject: string,
): MethodMask {
  const { allow, deny } = route;
  if (allow === undefined && deny === undefined) return ALL;
  const kind = kindRow(subject);
  const yes = allow === undefined ? 0 : union(allow, roles, kind);
  return deny === undefined ? yes : yes & ~union(deny, roles, kind);
}

export function methodVerdict(mask: MethodMask, method: string): MatrixVerdict {
  return ((mask >> methodBit(method)) & 1) === 1 ? 'allowed' : 'not-allowed';
}

/** Both steps, for who keeps nothing. */
export function matrixVerdict(
  route: Pick<PrefixRoute, 'allow' | 'deny'>,
  roles: readonly string[],
  subject: string,
  method: string,
): MatrixVerdict {
  return methodVerdict(allowedMethods(route, roles, subject), method);
}

export const NOT_ALLOWED: Problem = {
  status: 403,
  reason: 'not-allowed',
  detail: 'The roles of this credential do not include this method on this route.',
};
