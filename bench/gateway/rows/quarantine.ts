// How soon does nothing of a tenant pass any more, once that was decided? From handing the table to
// the hub until the last request that still passed was sent; once for one combination of tenant,
// method and route, and once for the whole tenant.
import { foldRoute } from '../../../src/gateway/paths.ts';
import { fingerprint, serviceName, tenantId } from '../../../src/model/ids.ts';
import type { RoutingTable } from '../../../src/model/routing.ts';
import type { Bar, RowReport } from '../../heal/bench.ts';
import { nowMs, sleep } from '../../heal/clock.ts';
import { spreadText } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, roundsOf, unmeasured } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { PATH } from '../closed.ts';
import { openKintsugi } from '../kintsugi.ts';
import type { Kintsugi } from '../kintsugi.ts';
import { openLoad } from '../open.ts';
import { bearer, openUpstream } from './plain.ts';

const WANTED_MS = 100;
const PER_SECOND = 1_000;
const WARM_MS = 400;
const WATCH_MS = 800;

const WAYS: Readonly<Record<string, Partial<RoutingTable>>> = {
  'one combination': {
    quarantines: [
      {
        id: fingerprint('tenant', 'acme'),
        tenant: tenantId('acme'),
        service: serviceName('records'),
        method: 'GET',
        route: foldRoute(PATH.slice(0, PATH.indexOf('?'))),
        reason: 'bench',
      },
    ],
  },
  'the whole tenant': {
    tenantRules: [{ tenant: tenantId('acme'), mode: 'deny', reason: 'bench' }],
  },
};

interface Round {
  /** Undefined: it never came into force. */
  readonly tookMs: number | undefined;
  /** Requests of the other tenant that failed meanwhile. */
  readonly others: number;
}

async function play(kintsugi: Kintsugi, change: Partial<RoutingTable>): Promise<Round> {
  const common = { perSecond: PER_SECOND / 2, method: 'GET' as const, path: PATH };
  const streams = ['acme', 'globex'].map((name) => ({
    ...common,
    name,
    fields: bearer(kintsugi.key(name)),
  }));
  const lastsMs = WARM_MS + WATCH_MS;
  const load = openLoad({ port: kintsugi.port, streams, lastsMs, giveUpMs: 2_000 });
  await load.first(5_000, (answer) => answer.status === 200);
  await sleep(WARM_MS);
  const fromMs = nowMs();
  await kintsugi.push(kintsugi.table(change));
  await load.over();
  await kintsugi.push(kintsugi.table());
  const passed = load.answers.filter((a) => a.stream === 0 && a.status < 300 && a.status > 0);
  const last = Math.max(fromMs, ...passed.map((a) => a.sentMs));
  const refused = load.answers.some((a) => a.stream === 0 && a.status >= 400);
  const others = load.answers.filter((a) => a.stream === 1 && a.status !== 200).length;
  return { tookMs: refused ? last - fromMs : undefined, others };
}

export async function quarantineRow(bench: GatewayBench): Promise<RowReport> {
  const upstream = await openUpstream(bench);
  const kintsugi = await openKintsugi({
    core: GATEWAY_CORE,
    replicaPorts: [upstream.port],
    tenants: { acme: {}, globex: {} },
  });
  const count = roundsOf(bench.options, 8, 1);
  const table: string[][] = [['', 'until nothing passes', 'others failed']];
  const bars: Bar[] = [];
  const data: Record<string, Round[]> = {};
  for (const [name, change] of Object.entries(WAYS)) {
    const rounds: Round[] = [];
    for (let i = 0; i < count; i += 1) rounds.push(await play(kintsugi, change));
    data[name] = rounds;
    const took = rounds.map((round) => round.tookMs);
    const others = rounds.reduce((sum, round) => sum + round.others, 0);
    table.push([name, spreadText(took), String(others)]);
    const worst = Math.max(...took.map((ms) => ms ?? Number.POSITIVE_INFINITY));
    const what = `${name}: push → effective, worst`;
    const wanted = `< ${WANTED_MS} ms`;
    if (took.every((ms) => ms === undefined)) {
      bars.push(unmeasured(what, wanted, 'the gateway let everything pass'));
    } else {
      const got = Number.isFinite(worst) ? `${Math.round(worst)} ms` : 'not always';
      bars.push(bar(what, wanted, got, worst < WANTED_MS && others === 0));
    }
    bench.say(`quarantine: ${name}: ${spreadText(took)}`);
  }
  await kintsugi.stop();
  await upstream.stop();
  return {
    name: 'quarantine',
    title: `a tenant is quarantined at ${PER_SECOND / 2} of its requests/s`,
    table,
    bars,
    notes: [`${count} rounds; the load comes from an open loop, ${1_000 / PER_SECOND} ms apart`],
    inside: [],
    data,
  };
}
