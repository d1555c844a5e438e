// SIGSTOP of one of three replicas: it still has its port and its connections, and answers
// nothing. Who notices, how soon, and what becomes of the requests inside it?
//
// "No new request to it": clients cannot see where a request goes. The later of two times counts:
// the last request that was held for 300 ms was sent, and the last gateway said that it ejected
// it.
import { bar, roundsOf } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { sleep } from '../clock.ts';
import type { Contender } from '../contender.ts';
import { Load } from '../load.ts';
import { countText, median, medianOrNever, msText, ratioText, spreadText } from '../numbers.ts';
import { playSeries } from '../rounds.ts';
import type { Round, Series } from '../rounds.ts';
import { lines, notesOf } from './kill.ts';

const LOAD = { ratePerSecond: 500, mix: { keyed: 1, bare: 1 } } as const;
const ISOLATED_MS = 1_000;
const REPLACED_MS = 5_000;

export async function stopRow(bench: Bench): Promise<RowReport> {
  const capMs = bench.options.quick ? 10_000 : 30_000;
  const count = roundsOf(bench.options, 5, 2);
  const kintsugi = await bench.kintsugi();
  const own = await series(bench, kintsugi.contender('alpha', 'Kintsugi'), count, capMs);
  const all: Series[] = [own];
  if (bench.options.peers) {
    // Once is enough: what never comes back costs its whole cap.
    all.push(await series(bench, await bench.pm2(), 1, capMs));
    all.push(await series(bench, await bench.respawn(), 1, capMs));
  }
  return report(all, own, capMs);
}

async function series(
  bench: Bench,
  contender: Contender,
  count: number,
  capMs: number,
): Promise<Series> {
  bench.say(`stop: ${contender.name}, ${count} rounds`);
  const load = new Load(contender.door, LOAD);
  try {
    await sleep(2_000);
    return await playSeries(contender, load, count, { fault: 'SIGSTOP', capMs });
  } finally {
    await load.stop();
  }
}

function report(all: readonly Series[], own: Series, capMs: number): RowReport {
  const backs = (s: Series): (number | undefined)[] => s.rounds.map((round) => round.backMs);
  const worstBack = Math.max(...backs(own).map((ms) => ms ?? Number.POSITIVE_INFINITY));
  const isolated = Math.max(...own.rounds.map(isolatedMs));
  const beyond = own.rounds.filter((round) => round.failed > round.held).length;
  const repeatable = own.rounds.reduce((sum, round) => sum + round.failedRepeatable, 0);
  return {
    name: 'stop',
    title: 'SIGSTOP one of 3, 500 requests/s (80 % GET, 10 % keyed POST, 10 % plain POST)',
    table: [
      [
        '',
        'failed a round',
        'of them idempotent',
        'held inside',
        'no more to it after p50',
        'replaced p50',
        '÷ Kintsugi',
      ],
      ...all.map((s) => [
        s.contender,
        countText(s.rounds.map((round) => round.failed)),
        countText(s.rounds.map((round) => round.failedRepeatable)),
        countText(s.rounds.map((round) => round.held)),
        msText(median(s.rounds.map(isolatedMs))),
        backs(s).every((ms) => ms === undefined)
          ? `never (${capMs / 1000} s)`
          : spreadText(backs(s)),
        ratioText(medianOrNever(backs(s)), medianOrNever(backs(own))),
      ]),
    ],
    bars: [
      bar(
        'no new request to it after (worst round)',
        `≤ ${ISOLATED_MS} ms`,
        msText(isolated),
        isolated <= ISOLATED_MS,
      ),
      bar(
        'replaced (worst round)',
        `≤ ${REPLACED_MS} ms`,
        msText(Number.isFinite(worstBack) ? worstBack : undefined),
        worstBack <= REPLACED_MS,
      ),
      bar(
        'failed requests ≤ those inside it',
        `in ${own.rounds.length} of ${own.rounds.length} rounds`,
        `${own.rounds.length - beyond}`,
        beyond === 0,
      ),
      bar('failed idempotent requests', '0', String(repeatable), repeatable === 0),
    ],
    notes: all.flatMap(notesOf),
    inside: lines(own),
    data: { series: all },
  };
}

function isolatedMs(round: Round): number {
  const ejected = round.timeline.filter(
    ({ what }) => what.startsWith('gateway.ejected') && what.includes('(hung)'),
  );
  return Math.max(round.lastHeldMs, ...ejected.map((moment) => moment.afterMs));
}
