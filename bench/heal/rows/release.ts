// A bad release that boots, passes its probes and fails every real request, deployed at 100
// requests a second: how long until only the last good one answers, and how many users saw an
// error?
//
// The window opens with the deploy command. It closes when the run of the deploy is over and the
// last answer of the bad release has been given; or at the cap.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bar, roundsOf } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs, sleep, until, wallOffsetMs } from '../clock.ts';
import type { Kintsugi } from '../kintsugi.ts';
import { asIs, timelineSince } from '../kintsugi.ts';
import { Load } from '../load.ts';
import { median, medianOrNever, msText, percentText, spreadText } from '../numbers.ts';
import type { Pm2 } from '../pm2.ts';
import { isFailed, isRepeatable } from '../records.ts';
import type { Moment } from '../contender.ts';

const LOAD = { ratePerSecond: 100, mix: { keyed: 1, bare: 1 } } as const;
const BACK_MS = 40_000;
const ERRORS_SHARE = 0.01;
const FINAL: readonly string[] = ['done', 'undone', 'refused', 'stuck'];

interface Deploy {
  readonly backMs: number | undefined;
  readonly windowMs: number;
  readonly requests: number;
  readonly failed: number;
  readonly failedRepeatable: number;
  readonly badAnswers: number;
  readonly share: number;
  readonly end: string;
  readonly timeline: readonly Moment[];
}

export async function releaseRow(bench: Bench): Promise<RowReport> {
  const count = roundsOf(bench.options, 3, 1);
  const capMs = bench.options.quick ? 15_000 : BACK_MS;
  const kintsugi = await bench.kintsugi();
  const own: Deploy[] = [];
  bench.say(`release: Kintsugi, ${count} rounds`);
  const load = new Load(kintsugi.door('alpha'), LOAD);
  try {
    await sleep(2_000);
    for (let i = 0; i < count; i += 1) own.push(await deployBad(kintsugi, load, i));
  } finally {
    await load.stop();
  }
  const pm2 = bench.options.peers
    ? await deployBadByPm2(bench, await bench.pm2(), capMs)
    : undefined;
  return report(own, pm2, capMs);
}

async function deployBad(kintsugi: Kintsugi, load: Load, index: number): Promise<Deploy> {
  const before = await kintsugi.settle();
  const goodRelease = before.services.find((s) => s.name === 'alpha')?.release;
  await sleep(1_000);
  // Another digest each time: a release that is known to be bad need not be tried again.
  writeFileSync(join(kintsugi.bad, 'round'), `${index} ${Date.now()}\n`);
  const fromMs = nowMs();
  const { run } = await kintsugi.client.deploy('alpha', kintsugi.bad);
  let story = await kintsugi.client.run(run);
  const isOver = await until(
    BACK_MS + 20_000,
    async () => {
      story = await kintsugi.client.run(run).catch(() => story);
      return FINAL.includes(story.run.state);
    },
    100,
  );
  const overMs = (story.run.endedAtMs ?? Date.now()) - wallOffsetMs();
  await sleep(2_000);
  const after = await kintsugi.client.status();
  const isGood = after.services.find((s) => s.name === 'alpha')?.release === goodRelease;
  const lastBadMs = load.answers.findLast((a) => a.release === 'bad')?.endMs ?? fromMs;
  const closedMs = Math.max(overMs, lastBadMs);
  const timeline = await timelineSince(kintsugi, 'alpha', before.storySeq, fromMs, asIs);
  return counted(load, fromMs, closedMs, {
    isBack: isOver && isGood,
    end: `${story.run.state}${story.run.failure === undefined ? '' : `: ${story.run.failure}`}`,
    timeline,
  });
}

async function deployBadByPm2(bench: Bench, pm2: Pm2, capMs: number): Promise<Deploy> {
  bench.say(`release: ${pm2.name}, one round of ${capMs / 1000} s`);
  const load = new Load(pm2.door, LOAD);
  try {
    await pm2.settle(load);
    const fromMs = nowMs();
    await pm2.deploy(bench.app.bad);
    await sleep(Math.max(0, fromMs + capMs - nowMs()));
    const closedMs = nowMs();
    const recent = load.between(closedMs - 2_000, closedMs);
    const isBack = recent.length > 0 && recent.every((a) => a.release === 'good');
    await pm2.deploy(bench.app.good);
    const end = isBack ? 'back' : 'stays on the bad release';
    return counted(load, fromMs, closedMs, { isBack, end, timeline: [] });
  } finally {
    await load.stop();
  }
}

function counted(
  load: Load,
  fromMs: number,
  closedMs: number,
  facts: {
    readonly isBack: boolean;
    readonly end: string;
    readonly timeline: readonly Moment[];
  },
): Deploy {
  const answers = load.between(fromMs, closedMs);
  const failed = answers.filter(isFailed);
  return {
    backMs: facts.isBack ? closedMs - fromMs : undefined,
    windowMs: closedMs - fromMs,
    requests: answers.length,
    failed: failed.length,
    failedRepeatable: failed.filter(isRepeatable).length,
    badAnswers: answers.filter((a) => a.release === 'bad').length,
    share: failed.length / Math.max(1, answers.length),
    end: facts.end,
    timeline: facts.timeline,
  };
}

function report(own: readonly Deploy[], pm2: Deploy | undefined, capMs: number): RowReport {
  const backs = own.map((deploy) => deploy.backMs);
  const worstBack = Math.max(...backs.map((ms) => ms ?? Number.POSITIVE_INFINITY));
  const worstShare = Math.max(...own.map((deploy) => deploy.share));
  const line = (name: string, deploys: readonly Deploy[]): string[] => [
    name,
    deploys.every((d) => d.backMs === undefined)
      ? `never (${capMs / 1000} s)`
      : spreadText(deploys.map((d) => d.backMs)),
    deploys.map((d) => `${d.failed} of ${d.requests}`).join(', '),
    percentText(median(deploys.map((d) => d.share)) ?? 0),
    String(median(deploys.map((d) => d.failedRepeatable)) ?? 0),
  ];
  return {
    name: 'release',
    title: 'bad release (every real request 500, probes fine), 100 requests/s (10 % plain POST)',
    table: [
      ['', 'back on the good one', 'user-visible errors', 'share', 'of them idempotent'],
      line('Kintsugi', own),
      ...(pm2 === undefined ? [] : [line(`${'PM2'} reload`, [pm2])]),
    ],
    bars: [
      bar(
        'back on the last good release (worst round)',
        `≤ ${BACK_MS / 1000} s`,
        msText(Number.isFinite(worstBack) ? worstBack : undefined),
        worstBack <= BACK_MS,
      ),
      bar(
        'user-visible errors in the window (worst round)',
        `≤ ${percentText(ERRORS_SHARE)}`,
        percentText(worstShare),
        own.length > 0 && worstShare <= ERRORS_SHARE,
      ),
    ],
    notes: own.map((deploy, i) => `round ${i + 1}: ${deploy.end}`),
    inside: own
      .slice(0, 1)
      .flatMap(({ timeline }) =>
        timeline.map((m) => `${Math.round(m.afterMs).toString().padStart(7)} ms  ${m.what}`),
      ),
    data: { kintsugi: own, pm2, backP50Ms: medianOrNever(backs) },
  };
}
