// One caller, one intent at a time: how long until it holds the receipt that lets it act?
import type { RowReport } from '../../heal/bench.ts';
import { median, quantile } from '../../heal/numbers.ts';
import { bar, roundsOf } from '../bench.ts';
import type { LedgerBench } from '../bench.ts';
import { runJob } from '../job.ts';
import type { IntentTimes } from '../job.ts';
import { timeText } from '../rates.ts';

const P50_MS = 1;
const P99_MS = 10;

export async function intentRow(bench: LedgerBench): Promise<RowReport> {
  const count = bench.options.quick ? 300 : 3000;
  const rounds = roundsOf(bench.options, 5, 2);
  const all: IntentTimes[] = [];
  for (let round = 0; round < rounds; round++) {
    bench.say(`round ${round + 1} of ${rounds}: ${count} intents`);
    all.push(await bench.inFolder((dir) => runJob('intents', { dir, warm: 200, count })));
  }
  const over = (times: (one: IntentTimes) => readonly number[], q: number): number =>
    median(all.map((one) => quantile(times(one), q) ?? Infinity)) ?? Infinity;
  const line = (name: string, times: (one: IntentTimes) => readonly number[]): string[] => [
    name,
    ...[0.5, 0.9, 0.99, 1].map((q) => timeText(over(times, q))),
  ];
  const p50 = over(({ intentMs }) => intentMs, 0.5);
  const p99 = over(({ intentMs }) => intentMs, 0.99);
  const cpu = median(all.map((one) => one.cpuMs / one.intentMs.length)) ?? 0;
  return {
    name: 'intent',
    title: `a single intent: durable, signed, with its receipt (${count} a round)`,
    table: [
      ['', 'p50', 'p90', 'p99', 'most'],
      line('intent with receipt', ({ intentMs }) => intentMs),
      line('its proof', ({ proofMs }) => proofMs),
      line('its outcome', ({ outcomeMs }) => outcomeMs),
    ],
    bars: [
      bar('intent with receipt, p50', `< ${P50_MS} ms`, timeText(p50), p50 < P50_MS),
      bar('intent with receipt, p99', `< ${P99_MS} ms`, timeText(p99), p99 < P99_MS),
    ],
    notes: [`CPU for intent, proof and outcome together: ${timeText(cpu)}; medians of ${rounds}`],
    inside: [],
    data: { count, rounds: all },
  };
}
