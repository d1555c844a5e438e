// How do numbers look to a Prometheus? The text exposition format, version 0.0.4.
//
//   EX1. Whatever stands in a label or a help text, the page parses.

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Buckets as they are counted: `counts[i]` of those up to `bounds[i]`, the last one beyond. */
export interface Distribution {
  readonly labels: Labels;
  readonly counts: readonly number[];
  readonly sum: number;
}

export type Metric =
  | {
      readonly kind: 'gauge' | 'counter';
      readonly name: string;
      readonly help: string;
      readonly samples: readonly Sample[];
    }
  | {
      readonly kind: 'histogram';
      readonly name: string;
      readonly help: string;
      readonly bounds: readonly number[];
      readonly samples: readonly Distribution[];
    };

export function expositionOf(metrics: readonly Metric[]): string {
  return metrics.map(render).join('');
}

function render(metric: Metric): string {
  const { name, help, kind } = metric;
  const lines = [`# HELP ${name} ${escapedHelp(help)}`, `# TYPE ${name} ${kind}`];
  if (metric.kind === 'histogram') {
    for (const sample of metric.samples) lines.push(...buckets(name, metric.bounds, sample));
  } else {
    for (const { labels, value } of metric.samples) lines.push(line(name, labels, value));
  }
  return `${lines.join('\n')}\n`;
}

function* buckets(
  name: string,
  bounds: readonly number[],
  { labels, counts, sum }: Distribution,
): Generator<string> {
  let total = 0;
  for (const [i, bound] of bounds.entries()) {
    total += counts[i] ?? 0;
    yield line(`${name}_bucket`, { ...labels, le: String(bound) }, total);
  }
  total += counts.slice(bounds.length).reduce((all, count) => all + count, 0);
  yield line(`${name}_bucket`, { ...labels, le: '+Inf' }, total);
  yield line(`${name}_sum`, labels, sum);
  yield line(`${name}_count`, labels, total);
}

function line(name: string, labels: Labels, value: number): string {
  const inner = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${inner.length === 0 ? '' : `{${inner.join(',')}}`} ${numberText(value)}`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value);
}

const escapedHelp = (text: string): string =>
  text.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`);

const escaped = (text: string): string => escapedHelp(text).replaceAll('"', String.raw`\"`);
