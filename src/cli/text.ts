// How are numbers, times and tables written for people? Pure; no clock: `nowMs` is handed in.
import { widthOf } from './style.ts';

export function durationText(ms: number): string {
  const abs = Math.max(0, ms);
  if (abs < 1000) return `${Math.round(abs)} ms`;
  if (abs < 59_950) return `${(abs / 1000).toFixed(1)} s`;
  const s = Math.round(abs / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s`;
  const m = Math.floor(s / 60);
  if (m < 24 * 60) return `${Math.floor(m / 60)} h ${m % 60} m`;
  return `${Math.floor(m / 1440)} d ${Math.floor((m % 1440) / 60)} h`;
}

/** Short, for columns: 0 s, 45 s, 12 m, 3 h, 4 d. */
export function ageText(ms: number): string {
  const s = Math.floor(Math.max(0, ms) / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

export const sinceText = (atMs: number | undefined, nowMs: number): string =>
  atMs === undefined ? '–' : ageText(nowMs - atMs);

/** `+2.4 s` behind the beginning, for a story. */
export const offsetText = (atMs: number, beginMs: number): string =>
  `${atMs < beginMs ? '−' : '+'}${durationText(Math.abs(atMs - beginMs))}`;

/** Local wall time with ms: 10:00:00.123. */
export function clockText(atMs: number): string {
  const at = new Date(atMs);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${time}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

export const dateText = (atMs: number): string => new Date(atMs).toISOString();

export function bytesText(bytes: number | undefined): string {
  if (bytes === undefined) return '–';
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${Math.round(bytes / 1024)} KiB`;
  if (bytes < 1024 ** 3) return `${Math.round(bytes / 1024 ** 2)} MiB`;
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

export const percentText = (share: number | undefined): string =>
  share === undefined ? '–' : `${(share * 100).toFixed(1)} %`;
export const rateText = (perSecond: number): string =>
  perSecond === 0 ? '–' : perSecond.toFixed(perSecond < 100 ? 1 : 0);
export const latencyText = (ms: number): string => (ms === 0 ? '–' : `≤ ${ms} ms`);
export const countText = (n: number, one: string, many = `${one}s`): string =>
  `${n} ${n === 1 ? one : many}`;

/** Left-aligned columns, two spaces between, nothing behind the last. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, widthOf(cell));
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) =>
        i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] ?? 0) - widthOf(cell)),
      )
      .join('  ')
      .trimEnd(),
  );
}

export const indent = (lines: readonly string[], by = '  '): string[] =>
  lines.map((line) => (line === '' ? '' : `${by}${line}`));

/** Breaks at spaces; a word that is longer than the width stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/u).filter((w) => w !== '')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  if (line !== '') lines.push(line);
  return lines;
}
