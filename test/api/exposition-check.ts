// A strict reader of the Prometheus text format, for tests: whatever the specification does not
// allow is an error here, also where real scrapers are lenient.

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** By series, `name{a="b"}` with sorted labels. */
  readonly samples: ReadonlyMap<string, Series>;
}

export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/u;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/u;
const TYPES = new Set(['counter', 'gauge', 'histogram']);

export function readExposition(page: string): ReadonlyMap<string, Family> {
  if (!page.endsWith('\n') || page.includes('\r')) throw new Error('lines end with a line feed');
  const families = new Map<string, Family>();
  let family:
    | { name: string; help: string; type: string; samples: Map<string, Series> }
    | undefined;
  for (const [at, line] of page.slice(0, -1).split('\n').entries()) {
    const fail = (why: string): never => {
      throw new Error(`line ${at + 1}: ${why}: ${line}`);
    };
    const help = /^# HELP (\S+) (.*)$/u.exec(line);
    const type = /^# TYPE (\S+) (\S+)$/u.exec(line);
    if (help !== null) {
      const name = help[1] ?? '';
      if (!NAME.test(name) || families.has(name)) fail('a second family, or no name');
      if (/\\(?![\\n])/u.test(help[2] ?? '')) fail('an escape that there is not');
      family = { name, help: help[2] ?? '', type: '', samples: new Map() };
      families.set(name, family);
    } else if (type !== null) {
      if (family === undefined || family.name !== type[1] || family.type !== '')
        return fail('type');
      if (family.samples.size > 0 || !TYPES.has(type[2] ?? '')) fail('type');
      family.type = type[2] ?? '';
    } else {
      const series = readSample(line, fail);
      if (family === undefined || !belongs(family, series)) return fail('stands in no family');
      const key = keyOf(series);
      if (family.samples.has(key)) fail('twice');
      family.samples.set(key, series);
    }
  }
  for (const each of families.values()) checkFamily(each);
  return families;
}

export function keyOf({ name, labels }: Pick<Series, 'name' | 'labels'>): string {
  const inner = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${name}{${inner.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}}`;
}

function belongs(family: Family, { name, labels }: Series): boolean {
  if (family.type !== 'histogram') return name === family.name && !('le' in labels);
  const part = name.slice(family.name.length);
  if (!name.startsWith(family.name)) return false;
  return part === '_bucket' ? 'le' in labels : part === '_sum' || part === '_count';
}

function readSample(line: string, fail: (why: string) => never): Series {
  const found = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/u.exec(line);
  if (found === null || !NAME.test(found[1] ?? '')) return fail('no sample');
  const labels: Record<string, string> = {};
  let rest = found[2];
  while (rest !== undefined && rest !== '') {
    const label = /^([^=]+)="((?:[^"\\]|\\[\\n"])*)"(?:,(?=.)|$)/u.exec(rest);
    if (label === null) return fail('no label');
    const name = label[1] ?? '';
    if (!LABEL.test(name) || name.startsWith('__') || name in labels) fail('label');
    labels[name] = (label[2] ?? '').replaceAll(/\\(.)/gu, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(label[0].length);
  }
  const text = found[3] ?? '';
  if (!/^(?:[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf)$/u.test(text)) fail('no number');
  return { name: found[1] ?? '', labels, value: Number(text.replace('Inf', 'Infinity')) };
}

function checkFamily(family: Family): void {
  const fail = (why: string): never => {
    throw new Error(`${family.name}: ${why}`);
  };
  if (family.type === '' || family.help === '') fail('lacks its type or its help');
  if (family.type === 'counter' && !family.name.endsWith('_total')) fail('is a counter by no name');
  if (family.type !== 'counter' && family.name.endsWith('_total')) fail('is no counter');
  for (const { value } of family.samples.values()) {
    if (family.type !== 'gauge' && !(value >= 0)) fail('counts below zero');
  }
  if (family.type === 'histogram') checkHistogram(family, fail);
}

function checkHistogram({ name, samples }: Family, fail: (why: string) => never): void {
  const groups = new Map<string, { le: number; value: number }[]>();
  for (const series of samples.values()) {
    if (series.name !== `${name}_bucket`) continue;
    const { le = '', ...labels } = series.labels;
    const key = keyOf({ name: '', labels });
    const bound = { le: Number(le.replace('Inf', 'Infinity')), value: series.value };
    groups.set(key, [...(groups.get(key) ?? []), bound]);
  }
  for (const [key, buckets] of groups) {
    for (const [i, { le, value }] of buckets.entries()) {
      const before = buckets[i - 1];
      if (before !== undefined && (before.le >= le || before.value > value)) fail('falls');
    }
    const last = buckets.at(-1);
    if (last?.le !== Number.POSITIVE_INFINITY) fail('has no bucket of all');
    if (samples.get(`${name}_count${key}`)?.value !== last?.value) fail('counts otherwise');
    if (!samples.has(`${name}_sum${key}`)) fail('has no sum');
  }
}
