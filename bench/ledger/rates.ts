// How are many rounds of several contenders told? Rates as medians with their extremes, per second
// of the wall and per second of CPU, and how many times the ledger is each of the others.
import { median, ratioText } from '../heal/numbers.ts';
import type { Measured } from './job.ts';

export interface Contender {
  readonly name: string;
  /** Which of the ledger's own the peer is compared with; none for the ledger itself. */
  readonly against?: string;
  readonly run: () => Promise<Measured>;
}

export type Rounds = ReadonlyMap<string, readonly Measured[]>;

/** One after another, and in each round another one begins: what drifts, drifts for all. */
export async function interleave(
  contenders: readonly Contender[],
  rounds: number,
  say: (text: string) => void,
): Promise<Rounds> {
  const found = new Map(contenders.map(({ name }): [string, Measured[]] => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < contenders.length; at++) {
      const contender = contenders[(at + round) % contenders.length];
      if (contender === undefined) continue;
      const measured = await contender.run();
      found.get(contender.name)?.push(measured);
      const rate = numberText(perSecond(measured));
      say(`round ${round + 1} of ${rounds}: ${contender.name}: ${rate} entries/s`);
    }
  }
  return found;
}

export const perSecond = ({ entries, wallMs }: Measured): number => (entries / wallMs) * 1000;
export const perCpuSecond = ({ entries, cpuMs }: Measured): number => (entries / cpuMs) * 1000;

export function rateOf(rounds: Rounds, name: string): number {
  return median((rounds.get(name) ?? []).map(perSecond)) ?? 0;
}

export function rateTable(contenders: readonly Contender[], rounds: Rounds): string[][] {
  const head = ['', 'entries/s', 'per CPU second', 'ack p50', 'ack p99', 'peak RSS'];
  const lines = contenders.map(({ name, against }) => {
    const all = rounds.get(name) ?? [];
    const middle = (of: (one: Measured) => number): number => median(all.map(of)) ?? 0;
    const base = against === undefined ? [] : (rounds.get(against) ?? []);
    const ratio = (of: (one: Measured) => number): string =>
      base.length === 0 ? '–' : ratioText(median(base.map(of)), middle(of));
    return [
      name,
      spread(all.map(perSecond)),
      numberText(middle(perCpuSecond)),
      timeText(middle(({ p50Ms }) => p50Ms)),
      timeText(middle(({ p99Ms }) => p99Ms)),
      bytesText(middle(({ rssBytes }) => rssBytes)),
      ratio(perSecond),
      ratio(perCpuSecond),
    ];
  });
  return [[...head, 'Kintsugi ÷ this', 'per CPU second'], ...lines];
}

/** Exact below a hundred, else whole, with spaces between thousands. */
export function numberText(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value < 100) return String(Math.round(value * 10) / 10);
  return String(Math.round(value)).replaceAll(/\B(?=(?:\d{3})+$)/g, ' ');
}

export function spread(values: readonly number[]): string {
  const range =
    values.length < 2
      ? ''
      : ` (${numberText(Math.min(...values))}–${numberText(Math.max(...values))})`;
  return `${numberText(median(values) ?? 0)}${range}`;
}

export function timeText(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(2)} ms`;
}

export const bytesText = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MiB`;
