// How is one picture drawn over the last one? A frame of lines that never is wider or higher than
// the terminal: the cursor goes back up over what was drawn, so scroll-back stays as it was.
//
//   FR1. A frame never has more rows or columns than the terminal: nothing wraps, nothing scrolls.
import { widthOf } from './style.ts';

// oxlint-disable-next-line no-control-regex -- escape sequences are what it is about.
const PIECES = /\u{1b}\[[0-9;?]*[A-Za-z]|[^\u{1b}]/gu;

/** Cuts at `width` columns, keeps the colours closed. */
export function clip(line: string, width: number): string {
  if (widthOf(line) <= width) return line;
  let used = 0;
  let cut = '';
  for (const [piece] of line.matchAll(PIECES)) {
    if (piece.startsWith('\u{1b}')) cut += piece;
    else if (used < width - 1) {
      cut += piece;
      used += 1;
    }
  }
  return `${cut}…`;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface FrameParts {
  /** Always shown, from the top. */
  readonly top: readonly string[];
  /** Shown as far as there is room: the first lines. */
  readonly middle: readonly string[];
  /** Shown as far as there is room: the last lines; at least three. */
  readonly story: readonly string[];
  readonly footer: string;
}

/** FR1. One row stays free for the cursor. */
export function frame(parts: FrameParts, size: Size): string[] {
  const room = Math.max(4, size.rows - 2);
  const top = parts.top.slice(0, room);
  let left = room - top.length;
  const storyMin = Math.min(parts.story.length, 3, left);
  const middleRoom = Math.max(0, left - storyMin);
  const middle =
    parts.middle.length <= middleRoom
      ? parts.middle
      : [
          ...parts.middle.slice(0, Math.max(0, middleRoom - 1)),
          `… ${parts.middle.length - Math.max(0, middleRoom - 1)} more lines: kintsugi status`,
        ].slice(0, middleRoom);
  left -= middle.length;
  const story = left > 0 ? parts.story.slice(-left) : [];
  return [...top, ...middle, ...story, parts.footer].map((line) => clip(line, size.columns));
}

/** What to write to replace a frame of `previous` lines by this one. */
export function redraw(previous: number, lines: readonly string[]): string {
  const back = previous === 0 ? '' : `\u{1b}[${previous}A`;
  const body = lines.map((line) => `\u{1b}[2K${line}\n`).join('');
  return `\r${back}${body}\u{1b}[J`;
}

/** After a resize the terminal has wrapped what was drawn: only a clean page helps. */
export const CLEAR = '\u{1b}[2J\u{1b}[H';
export const HIDE_CURSOR = '\u{1b}[?25l';
export const SHOW_CURSOR = '\u{1b}[?25h';
