// kill -9 of one of three replicas while 500 idempotent requests a second come in: who fails them,
// and when do three serve again?
import { bar, roundsOf } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { boots } from '../boot.ts';
import { sleep } from '../clock.ts';
import type { Contender } from '../contender.ts';
import { Load } from '../load.ts';
import { countText, median, medianOrNever, msText, ratioText, spreadText } from '../numbers.ts';
import { playSeries, typicalTimeline } from '../rounds.ts';
import type { Series } from '../rounds.ts';

const LOAD = { ratePerSecond: 500, mix: { keyed: 2, bare: 0 } } as const;
const CAP_MS = 30_000;
const OVER_BOOT_MS = 40;
const WITH_SPARE_MS = 60;

export async function killRow(bench: Bench): Promise<RowReport> {
  const count = roundsOf(bench.options, 10, 3);
  const kintsugi = await bench.kintsugi();
  const plain = await series(bench, kintsugi.contender('alpha', 'Kintsugi'), count, true);
  const spare = await series(bench, kintsugi.contender('beta', 'Kintsugi, 1 warm spare'), count);
  const peers: Series[] = [];
  if (bench.options.peers) {
    peers.push(await series(bench, await bench.pm2(), count));
    peers.push(await series(bench, await bench.respawn(), count));
  }
  return report(bench, [plain, spare, ...peers], plain, spare);
}

async function series(
  bench: Bench,
  contender: Contender,
  count: number,
  measuresBoot = false,
): Promise<Series> {
  bench.say(`kill: ${contender.name}, ${count} rounds`);
  const load = new Load(contender.door, LOAD);
  try {
    await sleep(2_000);
    if (measuresBoot) {
      bench.boot.loadedMs.push(...(await boots(bench.app, bench.options.quick ? 5 : 10)));
    }
    return await playSeries(contender, load, count, { fault: 'SIGKILL', capMs: CAP_MS });
  } finally {
    await load.stop();
  }
}

function report(bench: Bench, all: readonly Series[], plain: Series, spare: Series): RowReport {
  const bootMs = median(bench.boot.loadedMs) ?? 0;
  const backs = (s: Series): (number | undefined)[] => s.rounds.map((round) => round.backMs);
  const plainMs = medianOrNever(backs(plain));
  const spareMs = medianOrNever(backs(spare));
  const own = [plain, spare].flatMap((s) => s.rounds);
  const clean = own.filter((round) => round.failed === 0).length;
  const limitMs = bootMs + OVER_BOOT_MS;
  return {
    name: 'kill',
    title: 'kill -9 one of 3, 500 requests/s open loop, all idempotent (80 % GET, 20 % keyed POST)',
    table: [
      ['', 'failed a round', 'worst latency', 'full capacity back p50', '÷ own boot', '÷ Kintsugi'],
      ...all.map((s) => [
        s.contender,
        countText(s.rounds.map((round) => round.failed)),
        msText(median(s.rounds.map((round) => round.worstMs))),
        spreadText(backs(s)),
        ratioText(medianOrNever(backs(s)), bootMs),
        ratioText(medianOrNever(backs(s)), plainMs),
      ]),
    ],
    bars: [
      bar(
        'rounds without a failed request (with and without a spare)',
        `${own.length} of ${own.length}`,
        `${clean} of ${own.length}`,
        clean === own.length,
      ),
      bar(
        'full capacity back, p50, no spare',
        `≤ own boot + ${OVER_BOOT_MS} ms = ${msText(limitMs)}`,
        msText(plainMs),
        plainMs !== undefined && plainMs <= limitMs,
      ),
      bar(
        'full capacity back, p50, one warm spare',
        `≤ ${WITH_SPARE_MS} ms`,
        msText(spareMs),
        spareMs !== undefined && spareMs <= WITH_SPARE_MS,
      ),
    ],
    notes: all.flatMap(notesOf),
    inside: ['no spare:', ...lines(plain), 'one warm spare:', ...lines(spare)],
    data: { bootMs, series: all },
  };
}

export function notesOf(s: Series): string[] {
  const errors = new Map<string, number>();
  for (const round of s.rounds) {
    for (const [name, n] of Object.entries(round.errors)) {
      errors.set(name, (errors.get(name) ?? 0) + n);
    }
  }
  const disturbed = s.rounds.filter((round) => round.disturbed).length;
  return [
    ...(errors.size === 0
      ? []
      : [`${s.contender}: failed by ${[...errors].map(([e, n]) => `${e} ×${n}`).join(', ')}`]),
    ...(s.repeated === 0
      ? []
      : [`${s.contender}: ${s.repeated} rounds repeated, the generator itself was late`]),
    ...(disturbed === 0
      ? []
      : [`${s.contender}: ${disturbed} rounds are disturbed, the machine is too busy`]),
  ];
}

/** What happened in at least half of the rounds. */
export function lines(s: Series): string[] {
  return typicalTimeline(s.rounds)
    .filter((moment) => moment.times * 2 >= s.rounds.length)
    .map((m) => `${Math.round(m.afterMs).toString().padStart(7)} ms  ${m.what}`);
}
