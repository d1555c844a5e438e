// What does it cost to be looked after, when nothing is wrong and nobody asks anything? CPU and
// memory of each part, from /proc, over a time without load.
import { bar } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs, sleep } from '../clock.ts';
import { percentText } from '../numbers.ts';
import { statOf } from '../processes.ts';

const CPU_SHARE = 0.02;

interface Cost {
  readonly part: string;
  readonly cpu: number;
  readonly rssBytes: number;
}

export async function idleRow(bench: Bench): Promise<RowReport> {
  const forMs = bench.options.quick ? 5_000 : 20_000;
  const kintsugi = await bench.kintsugi();
  await kintsugi.settle();
  // What a load before this left to do (flushing, collecting garbage) is not idle cost.
  await sleep(bench.options.quick ? 1_000 : 10_000);
  bench.say(`idle: ${forMs / 1000} s`);
  const parts = new Map(kintsugi.parts());
  if (bench.options.peers) {
    for (const [name, peer] of [
      ['PM2 daemon', await bench.pm2()],
      ['bare respawn, parent', await bench.respawn()],
    ] as const) {
      const pid = peer.supervisorPid();
      if (pid !== undefined) parts.set(name, pid);
    }
    await sleep(3_000);
  }
  const costs = await measure(parts, forMs);
  const own = costs.filter((cost) => /^(?:controller|gateway-\d+)$/u.test(cost.part));
  const sum = own.reduce((all, cost) => all + cost.cpu, 0);
  return {
    name: 'idle',
    title: `idle cost over ${forMs / 1000} s: 2 services, 6 replicas and a spare, no requests`,
    table: [
      ['', 'CPU of one core', 'resident memory'],
      ...costs.map((cost) => [
        cost.part,
        percentText(cost.cpu),
        `${Math.round(cost.rssBytes / 1024 ** 2)} MiB`,
      ]),
    ],
    bars: [
      bar(
        'CPU of controller and gateways together',
        `≤ ${percentText(CPU_SHARE)} of a core`,
        percentText(sum),
        own.length > 1 && sum <= CPU_SHARE,
      ),
    ],
    notes: [],
    inside: [],
    data: { costs, sum, forMs },
  };
}

async function measure(parts: ReadonlyMap<string, number>, forMs: number): Promise<Cost[]> {
  const before = [...parts].map(([part, pid]) => ({ part, pid, stat: statOf(pid) }));
  const fromMs = nowMs();
  await sleep(forMs);
  const tookMs = nowMs() - fromMs;
  return before.flatMap(({ part, pid, stat }) => {
    const now = statOf(pid);
    if (stat === undefined || now === undefined) return [];
    return [{ part, cpu: (now.cpuMs - stat.cpuMs) / tookMs, rssBytes: now.rssBytes }];
  });
}
