// Where are we while a manifest is read, and how is a mistake noted there?
import { isMap, isScalar, isSeq } from 'yaml';
import type { Scalar as YamlScalar } from 'yaml';
import { WHOLE_FILE } from './problem.ts';
import type { Place, ProblemCode, ProblemList } from './problem.ts';
import { shownKey } from './source.ts';
import type { YamlSource } from './source.ts';

/** Where each value of the draft stands: by path, keys and values. */
export type Places = Map<string, Place>;

export interface Reading {
  readonly source: YamlSource;
  readonly problems: ProblemList;
  readonly places: Places;
}

export interface Spot {
  readonly path: string;
  readonly place: Place;
  /** Place of the key above the value. */
  readonly key?: Place;
}

/** The place of a path, or of its nearest parent that has one. */
export function placeAt(places: Places, path: string): Place {
  let at = path;
  // Each turn makes the path shorter.
  while (at !== '') {
    const place = places.get(at);
    if (place !== undefined) return place;
    at = at.slice(0, Math.max(0, at.lastIndexOf('.'), at.lastIndexOf('[')));
  }
  return places.get('') ?? WHOLE_FILE;
}

export function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

export function bad(
  r: Reading,
  code: ProblemCode,
  spot: Spot,
  found: string,
  expected: string,
  suggestion?: string,
): void {
  const what = suggestion === undefined ? { found, expected } : { found, expected, suggestion };
  r.problems.add(code, spot.place, spot.path, what);
}

/** What stands there, in words; a value is shown only where it cannot be a secret (PR2). */
export function foundText(node: unknown, hidden: boolean): string {
  if (isMap(node)) return 'keys with values';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node) || node.value === null || node.value === undefined) return 'nothing';
  const kind = typeof node.value === 'string' ? 'the text' : `the ${typeof node.value}`;
  if (hidden) return `${kind} (not shown)`;
  const shown = typeof node.value === 'string' ? shownKey(node.value) : written(node);
  return `${kind} ${shown}`;
}

/** A scalar as it was written; long ones are cut. */
export function written(node: YamlScalar): string {
  const text = node.source ?? String(node.value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
