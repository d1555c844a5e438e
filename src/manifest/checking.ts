// What do the cross-checks look at, and how do they note what they find?
import { placeAt } from './reading.ts';
import type { Places } from './reading.ts';
import type { Draft } from './keys.ts';
import type { AdviceKind, ProblemCode, ProblemList } from './problem.ts';
import type { Variables } from './reference.ts';

export interface Checking {
  readonly draft: Draft;
  readonly places: Places;
  readonly problems: ProblemList;
  readonly env: Variables;
}

export function problem(
  c: Checking,
  code: ProblemCode,
  path: string,
  found: string,
  expected: string,
  suggestion?: string,
): void {
  const what = suggestion === undefined ? { found, expected } : { found, expected, suggestion };
  c.problems.add(code, placeAt(c.places, path), path, what);
}

export function advise(c: Checking, kind: AdviceKind, path: string, text: string): void {
  c.problems.warn(kind, placeAt(c.places, path), path, text);
}

/** The names that there are, for a message. */
export function listed(names: Iterable<string>): string {
  const all = [...names].slice(0, 12);
  return all.length === 0 ? ' (there is none)' : ` (${all.join(', ')})`;
}
