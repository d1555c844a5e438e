// What does a file of Cedar policies mean for each route? It becomes a matrix role × method, once,
// in the controller; the gateways look things up and never evaluate a policy.
//
//   RP1. What the matrix lets in is what Cedar permits, for every set of roles: permits add up, and
//        a forbid that fits any of the roles wins. The tests compare the two.
//   RP2. A policy that depends on more than role, kind of credential, route and method is refused
//        with its place: half of it must never be taken for the whole.
//   RP3. Only declared routes are spoken of: a policy about a path that has no route of its own
//        could not be told apart from its neighbours.
//   RP4. Every policy has to fit the schema as well, so that what Cedar would skip cannot stand.
import { policySetTextToParts, policyToJson, validate } from '@cedar-policy/cedar-wasm/nodejs';
import type { DetailedError, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { isRole } from '../model/rights.ts';
import type { RouteMatrix } from '../model/routing.ts';
import { blankComments, depthOf, placeOf, policiesIn } from './route-text.ts';
import type { TextPlace } from './route-text.ts';
import { ACTIONS, COLUMNS, KIND_ROWS, ROOT, ROUTE_SCHEMA } from './route-schema.ts';
import { actionsAbove, routesAbove } from './route-schema.ts';
import { readTerm } from './route-terms.ts';
import type { EntityName, Square, Term } from './route-terms.ts';

export const POLICY_BYTES_MAX = 262_144;
export const POLICIES_MAX = 500;
const POLICY_CHARS_MAX = 8_192;
const DEPTH_MAX = 64;
const AT_MOST = `at most ${POLICIES_MAX} policies`;

export interface RouteRights {
  readonly allow: RouteMatrix;
  /** Left out when nothing is forbidden. */
  readonly deny?: RouteMatrix;
}

export type PolicyFaultCode =
  | 'KIN_POLICY_SYNTAX'
  | 'KIN_POLICY_UNDECIDABLE'
  | 'KIN_POLICY_REFERENCE';

export interface PolicyFault extends TextPlace {
  readonly code: PolicyFaultCode;
  /** Its `@id`, or its number. */
  readonly policy: string;
  readonly found: string;
  readonly expected: string;
  /** A name that is not there, and those that are. */
  readonly misspelt?: {
    readonly type: string;
    readonly id: string;
    readonly known: readonly string[];
  };
}

export type CompiledPolicy =
  | { readonly kind: 'compiled'; readonly rights: ReadonlyMap<string, RouteRights> }
  | Faults;

/** `prefixes`: of all routes, folded as the table has them. */
export function compileRoutePolicy(text: string, prefixes: readonly string[]): CompiledPolicy {
  try {
    return compile(text, prefixes);
  } catch {
    // Thousands of terms in a row are more than the stack of the parser takes.
    return notReadable({ line: 1, column: 1 }, 'a policy that is too complex', READABLE);
  }
}

function compile(text: string, prefixes: readonly string[]): CompiledPolicy {
  const parts = split(text);
  if (parts.kind === 'faults') return parts;
  const faults: PolicyFault[] = [];
  const rules: Rule[] = [];
  for (const part of parts.parts) {
    const read = readPolicy(part, prefixes);
    if (read.kind === 'rule') rules.push(read.rule);
    else faults.push(...read.faults);
  }
  if (faults.length === 0) faults.push(...misfits(parts.parts));
  if (faults.length > 0) return { kind: 'faults', faults };
  return { kind: 'compiled', rights: rightsOf(rules, [...new Set(prefixes)]) };
}

interface Part extends TextPlace {
  readonly text: string;
  readonly name: string;
}

interface Faults {
  readonly kind: 'faults';
  readonly faults: readonly PolicyFault[];
}

const READABLE = 'policies that a person can read';
const notReadable = ({ line, column }: TextPlace, found: string, expected: string): Faults => ({
  kind: 'faults',
  faults: [{ line, column, code: 'KIN_POLICY_SYNTAX', policy: 'file', found, expected }],
});

function split(
  whole: string,
): { readonly kind: 'parts'; readonly parts: readonly Part[] } | Faults {
  const one = notReadable;
  const start = { line: 1, column: 1 };
  if (Buffer.byteLength(whole) > POLICY_BYTES_MAX) {
    return one(start, 'a larger file', `at most ${POLICY_BYTES_MAX / 1_024} KiB`);
  }
  // Comments stay as spaces, so that every place is still that of the file.
  const text = blankComments(whole);
  if (depthOf(text) > DEPTH_MAX) {
    return one(start, `more than ${DEPTH_MAX} open brackets`, READABLE);
  }
  const parts = placed(text);
  if (parts.length > POLICIES_MAX) return one(start, `${parts.length} policies`, AT_MOST);
  const large = parts.find((part) => part.text.length > POLICY_CHARS_MAX);
  if (large !== undefined) {
    // A parser that runs out of stack is of no use to anybody after that.
    return one(large, `a policy of ${large.text.length} characters`, READABLE);
  }
  const answer = policySetTextToParts(text);
  if (answer.type === 'failure') {
    const [first] = answer.errors;
    const at = placeOf(text, first?.sourceLocations?.[0]?.start ?? 0);
    return one(at, messageOf(first), 'Cedar policies, each ended by ";"');
  }
  const [template] = answer.policy_templates;
  if (template !== undefined) {
    const at = placeOf(text, Buffer.byteLength(text.slice(0, text.indexOf(template))));
    return one(at, 'a template', 'a policy without slots');
  }
  return { kind: 'parts', parts };
}

/** The parser gives policies in the order of their names, so that the tenth comes second. */
function placed(text: string): readonly Part[] {
  return policiesIn(text).map(({ text: policy, at }, i) => ({
    text: policy,
    name: `policy ${i + 1}`,
    ...placeOf(text, Buffer.byteLength(text.slice(0, at))),
  }));
}

function messageOf(error: DetailedError | undefined): string {
  if (error === undefined) return 'something else';
  const label = error.sourceLocations?.[0]?.label ?? error.help;
  const message = error.message.replace(/^found /u, '');
  return `${message}${label === null || label === undefined ? '' : ` (${label})`}`;
}

interface Rule {
  readonly effect: 'permit' | 'forbid';
  readonly row: string;
  readonly holds: Term;
}

type ReadRule = { readonly kind: 'rule'; readonly rule: Rule } | Faults;

function readPolicy(part: Part, prefixes: readonly string[]): ReadRule {
  const answer = policyToJson(part.text);
  const { line, column } = part;
  const fault = (
    code: PolicyFaultCode,
    policy: string,
    found: string,
    expected: string,
  ): PolicyFault => ({ code, policy, line, column, found, expected });
  if (answer.type === 'failure') {
    const found = messageOf(answer.errors[0]);
    return faulty([fault('KIN_POLICY_SYNTAX', part.name, found, 'a Cedar policy')]);
  }
  const { json } = answer;
  const name = json.annotations?.['id'] ?? part.name;
  const wrong = wrongNames(json, prefixes).map((w) => ({ ...w, policy: name, line, column }));
  if (wrong.length > 0) return faulty(wrong);
  const row = rowOf(json.principal);
  if (row.kind === 'other') {
    return faulty([fault('KIN_POLICY_UNDECIDABLE', name, row.found, ROW_EXPECTED)]);
  }
  const holds = termsOf(json);
  if (holds.kind === 'other') {
    return faulty([fault('KIN_POLICY_UNDECIDABLE', name, holds.found, TERM_EXPECTED)]);
  }
  return { kind: 'rule', rule: { effect: json.effect, row: row.row, holds: holds.holds } };
}

const faulty = (faults: readonly PolicyFault[]): Faults => ({ kind: 'faults', faults });
const ROW_EXPECTED =
  '`principal`, `principal in Role::"…"`, or `principal is` User, Key or Certificate';
const TERM_EXPECTED = 'only `action` and `resource`: the gateway decides by role, route and method';

type Row =
  | { readonly kind: 'row'; readonly row: string }
  | { readonly kind: 'other'; readonly found: string };

/** Principals stand in the head of a policy alone: a condition could ask for two roles at once. */
function rowOf(principal: PolicyJson['principal']): Row {
  const row = (text: string): Row => ({ kind: 'row', row: text });
  if (principal.op === 'All') return row('*');
  if (principal.op === 'in' && 'entity' in principal) {
    const { type, id } = nameOf(principal.entity);
    if (type === 'Role') return row(id);
  }
  if (principal.op === 'is') {
    const kind = KIND_ROWS.get(principal.entity_type);
    if (kind !== undefined && principal.in === undefined) return row(kind);
    return { kind: 'other', found: 'a kind of credential and a role at once' };
  }
  return { kind: 'other', found: 'one single principal' };
}

type Entity = Readonly<Record<string, unknown>>;

function nameOf(entity: unknown): EntityName {
  const inner = ((entity as Entity)['__entity'] ?? entity) as Partial<EntityName>;
  return { type: inner.type ?? '', id: inner.id ?? '' };
}

type Terms = ReturnType<typeof readTerm>;

function termsOf(json: PolicyJson): Terms {
  const terms: Term[] = [scopeTerm('action', json.action), scopeTerm('resource', json.resource)];
  for (const { kind, body } of json.conditions) {
    const read = readTerm(body);
    if (read.kind === 'other') return read;
    const { holds } = read;
    terms.push(kind === 'when' ? holds : (square) => !holds(square));
  }
  return { kind: 'term', holds: (square) => terms.every((holds) => holds(square)) };
}

function scopeTerm(
  which: 'action' | 'resource',
  scope: PolicyJson['action'] | PolicyJson['resource'],
): Term {
  if (scope.op === 'All') return () => true;
  if (scope.op === 'is') {
    const group =
      scope.in !== undefined && 'entity' in scope.in ? nameOf(scope.in.entity) : undefined;
    const isType = scope.entity_type === 'Route';
    return (square) => isType && (group === undefined || square.isIn(square[which], group));
  }
  const list = 'entities' in scope ? scope.entities : 'entity' in scope ? [scope.entity] : [];
  const names = list.map(nameOf);
  if (scope.op === 'in') return (square) => names.some((n) => square.isIn(square[which], n));
  return (square) => names.some((n) => n.type === square[which].type && n.id === square[which].id);
}

type WrongName = Pick<PolicyFault, 'code' | 'found' | 'expected' | 'misspelt'>;

/** RP3. Everything that a policy names, wherever it stands. */
function wrongNames(json: PolicyJson, prefixes: readonly string[]): readonly WrongName[] {
  const wrong: WrongName[] = [];
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { type, id } = value as Partial<Record<'type' | 'id', unknown>>;
    if (typeof type === 'string' && typeof id === 'string') {
      const fault = nameFault({ type, id }, prefixes);
      if (fault !== undefined) wrong.push(fault);
      return;
    }
    for (const inner of Object.values(value)) look(inner);
  };
  look([json.principal, json.action, json.resource, json.conditions]);
  return wrong;
}

function nameFault(name: EntityName, prefixes: readonly string[]): WrongName | undefined {
  const { type, id } = name;
  const shown = JSON.stringify(id.slice(0, 100));
  const found = `${type}::${shown}`;
  const unknown = (expected: string, known: readonly string[]): WrongName => ({
    code: 'KIN_POLICY_REFERENCE',
    found,
    expected,
    misspelt: { type, id, known },
  });
  switch (type) {
    case 'Role':
      return isRole(id) ? undefined : unknown('a role: letters, digits and . _ : / -', []);
    case 'Action':
      return ACTIONS.includes(id) ? undefined : unknown(ACTION_EXPECTED, ACTIONS);
    case 'Route': {
      if (id === ROOT || prefixes.includes(id)) return undefined;
      const expected = `the prefix of a route of a service (${prefixes.slice(0, 8).join(', ')})`;
      return unknown(expected, prefixes);
    }
    default:
      return { code: 'KIN_POLICY_UNDECIDABLE', found, expected: 'a Role, an Action or a Route' };
  }
}

const ACTION_EXPECTED = `an action (${ACTIONS.join(', ')})`;

/** RP4. */
function misfits(parts: readonly Part[]): readonly PolicyFault[] {
  const byId = new Map(parts.map((part, i) => [`policy${i}`, part]));
  const staticPolicies = Object.fromEntries([...byId].map(([id, part]) => [id, part.text]));
  const settings = { validationSettings: { mode: 'strict' } } as const;
  const answer = validate({ schema: ROUTE_SCHEMA, policies: { staticPolicies }, ...settings });
  const errors =
    answer.type === 'success'
      ? answer.validationErrors
      : answer.errors.map((error) => ({ policyId: '', error }));
  return errors.map(({ policyId, error }) => {
    const { name: policy = 'file', line = 1, column = 1 } = byId.get(policyId) ?? {};
    const expected = 'a policy that fits the schema for routes';
    return { code: 'KIN_POLICY_SYNTAX', policy, line, column, found: messageOf(error), expected };
  });
}

function rightsOf(
  rules: readonly Rule[],
  prefixes: readonly string[],
): ReadonlyMap<string, RouteRights> {
  return new Map(
    prefixes.map((prefix): readonly [string, RouteRights] => {
      const squares = COLUMNS.map((column) => squareOf(column, prefix, prefixes));
      const allow = matrixOf(rules, 'permit', squares);
      const deny = matrixOf(rules, 'forbid', squares);
      return [prefix, Object.keys(deny).length === 0 ? { allow } : { allow, deny }];
    }),
  );
}

function squareOf(column: string, prefix: string, prefixes: readonly string[]): Square {
  const routes = routesAbove(prefix, prefixes);
  return {
    action: { type: 'Action', id: column },
    resource: { type: 'Route', id: prefix },
    isIn(what, of) {
      if (what.type === of.type && what.id === of.id) return true;
      if (what.type !== of.type) return false;
      if (what.type === 'Action') return actionsAbove(what.id).has(of.id);
      const above = what.id === prefix ? routes : routesAbove(what.id, prefixes);
      return what.type === 'Route' && above.has(of.id);
    },
  };
}

function matrixOf(
  rules: readonly Rule[],
  effect: Rule['effect'],
  squares: readonly Square[],
): RouteMatrix {
  const rows = new Map<string, Set<string>>();
  for (const rule of rules) {
    if (rule.effect !== effect) continue;
    for (const square of squares) {
      if (!rule.holds(square)) continue;
      const row = rows.get(rule.row) ?? new Set<string>();
      rows.set(rule.row, row.add(square.action.id));
    }
  }
  const entries = [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.map(([row, methods]) => {
      const list = COLUMNS.filter((column) => methods.has(column));
      return [row, list.length === COLUMNS.length ? ['*'] : list];
    }),
  );
}
