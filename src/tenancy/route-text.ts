// Where in the text of a policy file is something? Comments are blanked out in place, so that
// offsets stay true and a commented-out copy of a policy is not taken for the policy.

export interface TextPlace {
  /** 1-based. */
  readonly line: number;
  readonly column: number;
}

/** Comments become spaces of the same length; texts in quotes are left alone. */
export function blankComments(text: string): string {
  return text.replaceAll(/"(?:[^"\\\n]|\\.)*"|\/\/[^\n\r]*/gu, (found) =>
    found.startsWith('//') ? ' '.repeat(Buffer.byteLength(found)) : found,
  );
}

export interface TextPart {
  readonly text: string;
  /** Where it begins, in characters. */
  readonly at: number;
}

/** Pieces that end with a semicolon outside of texts, without the space before them. */
export function policiesIn(text: string): readonly TextPart[] {
  const parts: TextPart[] = [];
  let from = 0;
  for (const found of text.matchAll(/"(?:[^"\\\n]|\\.)*"|;/gu)) {
    if (found[0] !== ';') continue;
    const piece = text.slice(from, found.index + 1);
    const bare = piece.trimStart();
    parts.push({ text: bare, at: from + piece.length - bare.length });
    from = found.index + 1;
  }
  const rest = text.slice(from).trim();
  if (rest !== '') parts.push({ text: rest, at: text.indexOf(rest, from) });
  return parts;
}

/** Most brackets that are open at one place outside of texts. */
export function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [mark] of text.replaceAll(/"(?:[^"\\\n]|\\.)*"/gu, '').matchAll(/[()[\]{}]/gu)) {
    depth += ')]}'.includes(mark) ? -1 : 1;
    most = Math.max(most, depth);
  }
  return most;
}

/** Cedar counts bytes of UTF-8. */
export function placeOf(text: string, bytes: number): TextPlace {
  const before = Buffer.from(text).subarray(0, bytes).toString();
  const lines = before.split('\n');
  return { line: lines.length, column: (lines.at(-1) ?? '').length + 1 };
}
