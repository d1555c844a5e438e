// How is colour put on words? Eight-colour ANSI when a person looks, nothing when a program reads.
//
//   STY1. Without colour not one escape byte is printed.

export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  /** The seam of a repair. */
  readonly gold: (text: string) => string;
  readonly cyan: (text: string) => string;
}

const as =
  (open: number, close: number) =>
  (text: string): string =>
    text === '' ? '' : `\u{1b}[${open}m${text}\u{1b}[${close}m`;
const plain = (text: string): string => text;

export const COLOURED: Paint = {
  bold: as(1, 22),
  dim: as(2, 22),
  red: as(31, 39),
  green: as(32, 39),
  gold: as(33, 39),
  cyan: as(36, 39),
};
export const PLAIN: Paint = {
  bold: plain,
  dim: plain,
  red: plain,
  green: plain,
  gold: plain,
  cyan: plain,
};

/** https://no-color.org, and FORCE_COLOR for who pipes into a pager that understands it. */
export function paintFor(isTty: boolean, env: Readonly<Record<string, string | undefined>>): Paint {
  const has = (name: string): boolean => (env[name] ?? '') !== '';
  if (has('NO_COLOR')) return PLAIN;
  if (has('FORCE_COLOR') && env['FORCE_COLOR'] !== '0') return COLOURED;
  return isTty && env['TERM'] !== 'dumb' ? COLOURED : PLAIN;
}

// oxlint-disable-next-line no-control-regex -- escape sequences are what it is about.
const ANSI = /\u{1b}\[[0-9;?]*[A-Za-z]/gu;

/** Columns that a text takes on a terminal (our words are all single-width). */
export const widthOf = (text: string): number => Array.from(text.replaceAll(ANSI, '')).length;

/**
 * Text of others (logs, reasons) may carry escapes that would repaint the screen, or marks that
 * turn the order of reading: made visible.
 */
export function harmless(text: string): string {
  return text.replaceAll(HARMFUL, (c) => {
    const code = (c.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`;
  });
}

// Tabs and line ends stay: logs have them. Then C1, and what Unicode calls bidi controls, line
// separators and the byte order mark.
// oxlint-disable-next-line no-control-regex -- control characters are what it is about.
const CONTROL = /[\u{0}-\u{8}\u{b}-\u{1f}\u{7f}-\u{9f}]/u;
const TURNING = /[\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}]/u;
const HARMFUL = new RegExp(`${CONTROL.source}|${TURNING.source}`, 'gu');

/** On a line of its own: a line end in it would begin one that looks like ours. */
export const harmlessLine = (text: string): string =>
  harmless(text).replaceAll('\n', '\\x0a').replaceAll('\t', '\\x09');
