// Can the condition of a policy be decided by method and route alone, and how does it come out? A
// small reading of Cedar's expressions: those about `action` and `resource`, joined by logic. All
// else depends on something that is known only when a request comes, and is refused.
//
//   RT1. What is understood comes out as Cedar's own evaluator says; the tests compare the two.
//   RT2. What is not understood is named, never guessed.
import type { Expr } from '@cedar-policy/cedar-wasm/nodejs';

export interface EntityName {
  readonly type: string;
  readonly id: string;
}

/** One square of the matrix: what `action` and `resource` are, with all that they are in. */
export interface Square {
  readonly action: EntityName;
  readonly resource: EntityName;
  isIn(what: EntityName, of: EntityName): boolean;
}

export type Term = (square: Square) => boolean;

export type ReadTerm =
  | { readonly kind: 'term'; readonly holds: Term }
  /** `found`: what it looks at, for people. */
  | { readonly kind: 'other'; readonly found: string };

const other = (found: string): ReadTerm => ({ kind: 'other', found });
const term = (holds: Term): ReadTerm => ({ kind: 'term', holds });

type Node = Readonly<Record<string, unknown>>;

export function readTerm(expression: Expr): ReadTerm {
  const node = expression as unknown as Node;
  const [operator = ''] = Object.keys(node);
  const inside = node[operator] as Node;
  switch (operator) {
    case 'Value':
      return typeof inside === 'boolean' ? term(() => inside) : other('a plain value');
    case '!':
      return joined(
        [inside['arg']],
        ([arg]) =>
          (square) =>
            arg?.(square) !== true,
      );
    case '&&':
      return joined(sides(inside), (all) => (square) => all.every((holds) => holds(square)));
    case '||':
      return joined(sides(inside), (all) => (square) => all.some((holds) => holds(square)));
    case 'if-then-else': {
      const parts = [inside['if'], inside['then'], inside['else']];
      return joined(parts, ([when, then, otherwise]) => (square) => {
        return (when?.(square) === true ? then?.(square) : otherwise?.(square)) === true;
      });
    }
    case '==':
    case '!=':
      return equal(inside, operator === '==');
    case 'in':
      return within(inside);
    case 'is':
      return ofType(inside);
    default:
      return other(wordFor(operator, node));
  }
}

const sides = (inside: Node): readonly unknown[] => [inside['left'], inside['right']];

function joined(parts: readonly unknown[], join: (terms: readonly Term[]) => Term): ReadTerm {
  const terms: Term[] = [];
  for (const part of parts) {
    const read = readTerm(part as Expr);
    if (read.kind === 'other') return read;
    terms.push(read.holds);
  }
  return term(join(terms));
}

type Named = (square: Square) => EntityName;
type ReadName =
  | { readonly kind: 'name'; readonly of: Named }
  | { readonly kind: 'other'; readonly found: string };

function readName(value: unknown): ReadName {
  const node = value as Node;
  const variable = node['Var'];
  if (variable === 'action') return { kind: 'name', of: (square) => square.action };
  if (variable === 'resource') return { kind: 'name', of: (square) => square.resource };
  const entity = (node['Value'] as Node | undefined)?.['__entity'] as EntityName | undefined;
  if (entity !== undefined) return { kind: 'name', of: () => entity };
  const [operator = ''] = Object.keys(node);
  return { kind: 'other', found: wordFor(operator, node) };
}

function equal(inside: Node, wanted: boolean): ReadTerm {
  const [left, right] = sides(inside).map(readName);
  if (left?.kind !== 'name') return other(left?.found ?? '');
  if (right?.kind !== 'name') return other(right?.found ?? '');
  return term((square) => {
    const [a, b] = [left.of(square), right.of(square)];
    return (a.type === b.type && a.id === b.id) === wanted;
  });
}

function within(inside: Node): ReadTerm {
  const left = readName(inside['left']);
  if (left.kind !== 'name') return other(left.found);
  const set = (inside['right'] as Node)['Set'];
  const names = (Array.isArray(set) ? set : [inside['right']]).map(readName);
  const of: Named[] = [];
  for (const name of names) {
    if (name.kind !== 'name') return other(name.found);
    of.push(name.of);
  }
  return term((square) => of.some((group) => square.isIn(left.of(square), group(square))));
}

function ofType(inside: Node): ReadTerm {
  const left = readName(inside['left']);
  if (left.kind !== 'name') return other(left.found);
  const group = inside['in'] === undefined ? undefined : readName(inside['in']);
  if (group?.kind === 'other') return group;
  return term((square) => {
    const name = left.of(square);
    const isType = name.type === inside['entity_type'];
    return isType && (group === undefined || square.isIn(name, group.of(square)));
  });
}

/** RT2. */
function wordFor(operator: string, node: Node): string {
  if (operator === 'Var') return `\`${String(node['Var'])}\``;
  if (operator === '.' || operator === 'has') {
    const { left, attr } = node[operator] as { readonly left: Node; readonly attr: unknown };
    const root = left['Var'];
    return `\`${typeof root === 'string' ? root : '…'}.${String(attr)}\``;
  }
  return operator === 'Value' ? 'a plain value' : `\`${operator}\``;
}
