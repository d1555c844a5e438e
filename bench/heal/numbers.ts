// How are many rounds told in a few numbers? Medians, extremes, and texts of one width.

export function quantile(values: readonly number[], q: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  if (low === undefined || high === undefined) return undefined;
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number | undefined => quantile(values, 0.5);

export function msText(ms: number | undefined): string {
  if (ms === undefined) return 'never';
  return ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
}

/** `p50 (least–most)`; a round in which it never happened counts as worse than all others. */
export function spreadText(values: readonly (number | undefined)[]): string {
  const all = values.map((value) => value ?? Number.POSITIVE_INFINITY);
  const text = (ms: number | undefined): string =>
    msText(ms === undefined || !Number.isFinite(ms) ? undefined : ms);
  const range = all.length < 2 ? '' : ` (${text(Math.min(...all))}–${text(Math.max(...all))})`;
  return `${text(median(all))}${range}`;
}

export function medianOrNever(values: readonly (number | undefined)[]): number | undefined {
  const middle = median(values.map((value) => value ?? Number.MAX_VALUE));
  return middle === undefined || middle > 1e100 ? undefined : middle;
}

export function countText(values: readonly number[]): string {
  const most = Math.max(...values);
  const least = Math.min(...values);
  const middle = Math.round((median(values) ?? 0) * 10) / 10;
  return least === most ? `${middle}` : `${middle} (${least}–${most})`;
}

export function ratioText(value: number | undefined, base: number | undefined): string {
  if (value === undefined || base === undefined || base === 0) return '–';
  const ratio = value / base;
  return `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}×`;
}

export const percentText = (share: number): string => `${(share * 100).toFixed(2)} %`;

/** Columns as wide as their widest cell; the first one to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('   ')
      .trimEnd(),
  );
}
