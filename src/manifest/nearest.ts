// Which known word did the writer most likely mean? Optimal string alignment distance: letters left
// out, added, wrong or swapped cost one each. Case, dashes and underscores cost nothing.
import { NAME_PATTERNS } from './shape.ts';
import type { NameKind } from './shape.ts';

const WORD_MAX = 64;

/** The nearest of `known` to `word`, or undefined when none is near. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const wanted = folded(word);
  if (wanted === '' || word.length > WORD_MAX) return undefined;
  let best: { readonly word: string; readonly cost: number } | undefined;
  for (const candidate of known) {
    if (candidate.length > WORD_MAX) continue;
    const cost = distance(wanted, folded(candidate));
    if (best === undefined || cost < best.cost) best = { word: candidate, cost };
  }
  if (best === undefined) return undefined;
  const allowed = Math.min(3, Math.max(1, Math.floor(Math.min(word.length, best.word.length) / 3)));
  return best.cost <= allowed ? best.word : undefined;
}

function folded(word: string): string {
  return word.toLowerCase().replaceAll(/[-_ .]/gu, '');
}

/** Edits between two words; bounded by their lengths (≤ 64 each by `nearest`). */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** A valid name made from what was written (`North Side` → `north-side`), if there is one. */
export function likelyName(word: string, kind: NameKind): string | undefined {
  const isName = kind !== 'variable';
  const slug = word
    .slice(0, 200)
    .replaceAll(/([a-z0-9])([A-Z])/gu, isName ? '$1-$2' : '$1$2')
    .replaceAll(/[^A-Za-z0-9]+/gu, isName ? '-' : '_')
    .replaceAll(/^[-_0-9]+|[-_]+$/gu, '');
  const guess = isName ? slug.toLowerCase().slice(0, 40).replace(/-+$/u, '') : slug;
  return new RegExp(NAME_PATTERNS[kind], 'u').test(guess) ? guess : undefined;
}

/** The same for names that stand in foreign media: dots and underscores are allowed in them. */
export function likelyOutsideName(word: string): string | undefined {
  const slug = word
    .slice(0, 64)
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/gu, '-');
  const guess = slug.replaceAll(/^[._-]+|-+$/gu, '');
  return guess === '' ? undefined : guess;
}
