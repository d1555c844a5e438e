// The labelled series that detection is scored on: folders in the layout of the Numenta Anomaly
// Benchmark (data/, labels/combined_windows.json) and of Microsoft's cloud-monitoring data set.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Series {
  readonly name: string;
  /** ms. */
  readonly times: Float64Array;
  readonly values: Float64Array;
}

export interface NabSeries extends Series {
  /** First row that counts. */
  readonly from: number;
  /** Score of an alert at each row before weights: inside a window > 0, outside ≤ 0. */
  readonly worth: Float64Array;
  /** Window of each row, -1 for none. */
  readonly windowOf: Int32Array;
  readonly windows: number;
}

export interface LabelledSeries extends Series {
  readonly labels: Uint8Array;
}

function timeOf(text: string): number {
  const plain = text.trim().replace(' ', 'T').replace(/Z$/u, '').replace(/\.0+$/u, '');
  return Date.parse(`${plain}Z`);
}

function rowsOf(path: string): string[][] {
  const lines = readFileSync(path, 'utf8').trim().split(/\r?\n/u).slice(1);
  // A field is quoted where it holds a comma, as in "1,432".
  return lines.map((line) =>
    [...line.matchAll(/"([^"]*)"|([^,]+)/gu)].map(([, quoted, bare]) =>
      quoted === undefined ? (bare ?? '') : quoted.replaceAll(/,(?=\d{3})/gu, ''),
    ),
  );
}

/** The scoring function of NAB (Lavin & Ahmad, ICMLA 2015). */
function sigmoid(y: number): number {
  return y > 3 ? -1 : 2 / (1 + Math.exp(5 * y)) - 1;
}

export function loadNab(folder: string): NabSeries[] {
  const text = readFileSync(join(folder, 'labels', 'combined_windows.json'), 'utf8');
  const windows = JSON.parse(text) as Record<string, [string, string][]>;
  return Object.keys(windows)
    .toSorted()
    .filter((name) => existsSync(join(folder, 'data', name)))
    .map((name) => nabSeries(name, join(folder, 'data', name), windows[name] ?? []));
}

function nabSeries(name: string, path: string, labelled: readonly [string, string][]): NabSeries {
  const rows = rowsOf(path);
  const times = Float64Array.from(rows, ([time = '']) => timeOf(time));
  const values = Float64Array.from(rows, ([, value = '']) => Number(value));
  const count = rows.length;
  const first = new Map<number, number>();
  times.forEach((time, i) => {
    if (!first.has(time)) first.set(time, i);
  });
  const worth = new Float64Array(count);
  const windowOf = new Int32Array(count).fill(-1);
  const whole = sigmoid(-1);
  const left = labelled.map(([a, b]) => ({ from: timeOf(a), to: timeOf(b) }));
  let at = -1;
  let current: { readonly from: number; readonly to: number } | undefined;
  let before: { readonly right: number; readonly width: number } | undefined;
  for (let i = 0; i < count; i += 1) {
    const next = left[at + 1];
    if (next !== undefined && times[i] === next.from) {
      current = next;
      at += 1;
    }
    if (current === undefined) {
      const y = before === undefined ? 4 : Math.abs(before.right - i) / (before.width - 1);
      worth[i] = sigmoid(y);
      continue;
    }
    const right = first.get(current.to) ?? count - 1;
    const width = right - (first.get(current.from) ?? 0) + 1;
    worth[i] = sigmoid(-(right - i + 1) / width) / whole;
    windowOf[i] = at;
    if (times[i] !== current.to) continue;
    before = { right: i, width };
    current = undefined;
  }
  const from = Math.ceil(Math.min(Math.floor(0.15 * count), 0.15 * 5_000));
  return { name, times, values, from, worth, windowOf, windows: labelled.length };
}

export function loadCloud(folder: string): LabelledSeries[] {
  const found: LabelledSeries[] = [];
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()) {
    if (!entry.endsWith('.csv')) continue;
    const rows = rowsOf(join(folder, entry));
    found.push({
      name: entry,
      times: Float64Array.from(rows, ([time = '']) => timeOf(time)),
      values: Float64Array.from(rows, ([, value = '']) => Number(value)),
      labels: Uint8Array.from(rows, ([, , label = '']) => (Number(label) > 0 ? 1 : 0)),
    });
  }
  return found;
}
