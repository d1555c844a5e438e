// What may the policy for routes speak of? The Cedar schema, and the hierarchy behind it: who asks,
// by which method, on which route.
//
//   RS1. A route is in each route above it by whole segments, and all are in `Route::"/"`.
//   RS2. Every method is an action of its own; those that a policy cannot name are one, `OTHER`.
import { METHODS, OTHER } from '../model/rights.ts';

export const READ = ['GET', 'HEAD', 'OPTIONS'] as const;
export const WRITE = METHODS.filter((method) => !(READ as readonly string[]).includes(method));
/** Columns of the matrix. */
export const COLUMNS: readonly string[] = [...METHODS, OTHER];
export const ACTIONS: readonly string[] = [...COLUMNS, 'read', 'write'];
export const ROOT = '/';

/** Entity type of who asks → the row of the matrix that stands for all of that kind. */
export const KIND_ROWS: ReadonlyMap<string, string> = new Map([
  ['User', '@user'],
  ['Key', '@key'],
  ['Certificate', '@cert'],
]);

const quoted = (names: readonly string[]): string => names.map((n) => JSON.stringify(n)).join(', ');
const APPLIES = 'appliesTo { principal: [User, Key, Certificate], resource: [Route] }';

export const ROUTE_SCHEMA = `
entity Role;
entity User in [Role];
entity Key in [Role];
entity Certificate in [Role];
entity Route in [Route];
action "read", "write";
action ${quoted(READ)} in ["read"] ${APPLIES};
action ${quoted(WRITE)} in ["write"] ${APPLIES};
action ${quoted([OTHER])} ${APPLIES};
`;

/** An action and the group it is in. */
export function actionsAbove(action: string): ReadonlySet<string> {
  if ((READ as readonly string[]).includes(action)) return new Set([action, 'read']);
  return new Set((WRITE as readonly string[]).includes(action) ? [action, 'write'] : [action]);
}

/** As the gateways match a path: by whole segments. */
const isBelow = (prefix: string, above: string): boolean =>
  prefix === above || prefix.startsWith(`${above}/`);

/** RS1. */
export function routesAbove(prefix: string, all: readonly string[]): ReadonlySet<string> {
  return new Set([ROOT, ...all.filter((other) => isBelow(prefix, other))]);
}
