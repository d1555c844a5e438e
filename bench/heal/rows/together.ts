// More than one fault: one replica of each of two services at once (one killed, one stopped), and a
// second replica of one service killed while the first is being replaced.
//
// "Budget never exceeded" is judged by what we do, from outside: no replica that was not hurt may
// end, so that availability never falls below what the faults themselves left.
import { bar, roundsOf } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs, sleep, until } from '../clock.ts';
import type { Kintsugi, ServiceName } from '../kintsugi.ts';
import { pidsOf } from '../kintsugi.ts';
import { Load } from '../load.ts';
import { countText, spreadText } from '../numbers.ts';
import { isAlive } from '../processes.ts';
import { isFailed } from '../records.ts';

const LOAD = { ratePerSecond: 250, mix: { keyed: 2, bare: 0 } } as const;
const CAP_MS = 30_000;
const SECOND_AFTER_MS = 120;

interface Hurt {
  readonly pid: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  readonly service: ServiceName;
  readonly afterMs: number;
}

interface TogetherRound {
  /** Ms until as many new processes served as were hurt, for each service that was. */
  readonly backMs: readonly (number | undefined)[];
  readonly failed: number;
  /** Processes that were not hurt and ended all the same. */
  readonly taken: number;
  /** The worst gap below the floor that the API reported beyond what the faults explain. */
  readonly leastUnhurt: number;
}

export async function togetherRow(bench: Bench): Promise<RowReport> {
  const count = roundsOf(bench.options, 3, 1);
  const kintsugi = await bench.kintsugi();
  const loads = {
    alpha: new Load(kintsugi.door('alpha'), LOAD),
    beta: new Load(kintsugi.door('beta'), LOAD),
  };
  const both: TogetherRound[] = [];
  const within: TogetherRound[] = [];
  try {
    await sleep(2_000);
    bench.say(`together: two faults at once, ${count} rounds`);
    for (let i = 0; i < count; i += 1) {
      both.push(
        await play(kintsugi, loads, ({ alpha, beta }) => [
          { pid: alpha[i % 3] ?? 0, signal: 'SIGKILL', service: 'alpha', afterMs: 0 },
          { pid: beta[i % 3] ?? 0, signal: 'SIGSTOP', service: 'beta', afterMs: 0 },
        ]),
      );
    }
    bench.say(`together: a fault during a heal, ${count} rounds`);
    for (let i = 0; i < count; i += 1) {
      within.push(
        await play(kintsugi, loads, ({ alpha }) => [
          { pid: alpha[i % 3] ?? 0, signal: 'SIGKILL', service: 'alpha', afterMs: 0 },
          {
            pid: alpha[(i + 1) % 3] ?? 0,
            signal: 'SIGKILL',
            service: 'alpha',
            afterMs: SECOND_AFTER_MS,
          },
        ]),
      );
    }
  } finally {
    await Promise.all([loads.alpha.stop(), loads.beta.stop()]);
  }
  return report(both, within);
}

type Loads = Readonly<Record<ServiceName, Load>>;

async function play(
  kintsugi: Kintsugi,
  loads: Loads,
  choose: (serving: Readonly<Record<ServiceName, number[]>>) => readonly Hurt[],
): Promise<TogetherRound> {
  const all = [...pidsOf(await kintsugi.settle()).values()];
  const three = (load: Load): boolean => load.serving(700).length === 3;
  const calm = await until(20_000, () => three(loads.alpha) && three(loads.beta));
  if (!calm) throw new Error('not three of each service serve');
  const serving = { alpha: loads.alpha.serving(), beta: loads.beta.serving() };
  const hurts = choose(serving);
  const faultMs = nowMs();
  for (const hurt of hurts) {
    if (hurt.afterMs > 0) await sleep(hurt.afterMs);
    process.kill(hurt.pid, hurt.signal);
  }
  const unhurt = all.filter((pid) => hurts.every((hurt) => hurt.pid !== pid));
  let leastUnhurt = unhurt.length;
  const watching = setInterval(() => {
    leastUnhurt = Math.min(leastUnhurt, unhurt.filter(isAlive).length);
  }, 20);
  try {
    const services = [...new Set(hurts.map((hurt) => hurt.service))];
    const backMs = await Promise.all(
      services.map((service) => {
        const wanted = hurts.filter((hurt) => hurt.service === service).length;
        return capacityBack(loads[service], serving[service], wanted, faultMs);
      }),
    );
    await sleep(1_500);
    const untilMs = nowMs();
    await Promise.all([loads.alpha.settled(untilMs), loads.beta.settled(untilMs)]);
    const answers = [loads.alpha, loads.beta].flatMap((load) =>
      load.between(faultMs - 200, untilMs),
    );
    return {
      backMs,
      failed: answers.filter(isFailed).length,
      taken: unhurt.filter((pid) => !isAlive(pid)).length,
      leastUnhurt,
    };
  } finally {
    clearInterval(watching);
  }
}

async function capacityBack(
  load: Load,
  before: readonly number[],
  wanted: number,
  faultMs: number,
): Promise<number | undefined> {
  const fresh = new Set<number>();
  const last = await load.first(faultMs, CAP_MS, (a) => {
    if (a.pid > 0 && !before.includes(a.pid) && !isFailed(a)) fresh.add(a.pid);
    return fresh.size >= wanted;
  });
  return last === undefined ? undefined : last.endMs - faultMs;
}

function report(both: readonly TogetherRound[], within: readonly TogetherRound[]): RowReport {
  const line = (name: string, rounds: readonly TogetherRound[]): string[] => [
    name,
    spreadText(rounds.map(worstOf)),
    countText(rounds.map((round) => round.failed)),
    countText(rounds.map((round) => round.taken)),
  ];
  const all = [...both, ...within];
  const healed = (rounds: readonly TogetherRound[]): number =>
    rounds.filter((round) => worstOf(round) !== undefined).length;
  const taken = all.reduce((sum, round) => sum + round.taken, 0);
  return {
    name: 'together',
    title:
      'two faults: kill one of A and stop one of B at once; kill a second one of A during a heal',
    table: [
      ['', 'all capacity back p50', 'failed a round', 'unhurt replicas ended'],
      line('two at once', both),
      line('during a heal', within),
    ],
    bars: [
      bar(
        'two concurrent faults: both healed',
        `${both.length} of ${both.length}`,
        String(healed(both)),
        healed(both) === both.length,
      ),
      bar(
        'a fault during a heal: both healed',
        `${within.length} of ${within.length}`,
        String(healed(within)),
        healed(within) === within.length,
      ),
      bar('replicas taken away by our own acts', '0', String(taken), taken === 0),
    ],
    notes: [`the second fault of "during a heal" comes ${SECOND_AFTER_MS} ms after the first`],
    inside: [],
    data: { both, within },
  };
}

function worstOf(round: TogetherRound): number | undefined {
  const times = round.backMs.filter((ms) => ms !== undefined);
  return times.length < round.backMs.length ? undefined : Math.max(...times);
}
