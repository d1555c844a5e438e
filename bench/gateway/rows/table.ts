// How long does a large table take until it is in force, and does a request ever wait for it? The
// real worker behind the real hub: 100 000 tenants with a key each and 200 services, pushed whole,
// and with a change in one tenant and one service.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { keyMac, mintKey } from '../../../src/gateway/keys.ts';
import { compileTable } from '../../../src/gateway/routes.ts';
import { serviceName } from '../../../src/model/ids.ts';
import type { RoutingTable, ServiceRoute, TenantRoute } from '../../../src/model/routing.ts';
import type { RowReport } from '../../heal/bench.ts';
import { nowMs, sleep } from '../../heal/clock.ts';
import { median, msText, spreadText } from '../../heal/numbers.ts';
import { bar, GATEWAY_CORE, roundsOf } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { openKintsugi, serviceOf, tenantOf } from '../kintsugi.ts';
import type { Kintsugi } from '../kintsugi.ts';
import { cpuMs, rssMb } from '../peers.ts';
import type { WorkerReport } from '../watched-worker.ts';

const APPLY_MS = 250;
const PAUSE_MS = 20;
const LOOKUP_US = 1;
const SERVICES = 200;
const LOOKUPS = 1_000_000;
/** What is read one after another, so that no cache of one name makes it look fast. */
const STRIDE = 7_919;
const NO_PEPPER = randomBytes(32).toString('base64url');

function tenantsOf(count: number): { readonly tenants: TenantRoute[]; readonly ids: string[] } {
  const ids: string[] = [];
  const tenants = Array.from({ length: count }, (_, i) => {
    const minted = mintKey('bench', randomBytes(9), randomBytes(32));
    ids.push(minted.id);
    const mac = keyMac(NO_PEPPER, minted.secret);
    const limits = { ratePerSecond: 100 + (i % 900), burst: 200, concurrency: 50 };
    const keys = [{ id: minted.id, mac, expiresAtMs: undefined }];
    return tenantOf(`tenant-${i}`, { ...limits, bodyBytes: 1_048_576, keys });
  });
  return { tenants, ids };
}

const servicesOf = (): ServiceRoute[] =>
  Array.from({ length: SERVICES }, (_, i) =>
    serviceOf(
      [1, 2, 3].map((n) => 20_000 + i * 3 + n),
      {
        name: serviceName(`service-${i}`),
        prefixes: [
          { prefix: `/api/service-${i}`, timeoutMs: 10_000, retry: true },
          { prefix: `/v2/service-${i}/records`, timeoutMs: 5_000, retry: false },
        ],
        healthPath: undefined,
      },
    ),
  ).map((service, i) => ({
    ...service,
    replicas: service.replicas.map((replica) => ({
      ...replica,
      id: `service-${i}-${replica.id}` as typeof replica.id,
    })),
  }));

interface Push {
  readonly tookMs: number;
  readonly pauseMs: number;
  /** Until half a second later, as what it puts off counts. */
  readonly workerCpuMs: number;
  /** Of the side that pushes, until it was applied. */
  readonly hubCpuMs: number;
}

async function push(kintsugi: Kintsugi, change: Partial<RoutingTable>): Promise<Push> {
  kintsugi.child.send('reset');
  await sleep(50);
  const table = kintsugi.table(change);
  const workerMs = cpuMs(kintsugi.pids());
  const hub = process.cpuUsage();
  const fromMs = nowMs();
  await kintsugi.push(table);
  const tookMs = nowMs() - fromMs;
  const { user, system } = process.cpuUsage(hub);
  // What it puts off until afterwards (the file, old objects) may stop it as well.
  await sleep(500);
  kintsugi.child.send('report');
  const [report] = (await once(kintsugi.child, 'message')) as [WorkerReport];
  const workerCpuMs = cpuMs(kintsugi.pids()) - workerMs;
  const hubCpuMs = (user + system) / 1_000;
  return { tookMs, pauseMs: report.pauseMs, workerCpuMs, hubCpuMs };
}

interface Lookups {
  readonly tenantUs: number;
  readonly keyUs: number;
  readonly routeUs: number;
}

function lookups(table: RoutingTable, ids: readonly string[]): Lookups {
  const compiled = compileTable(table, NO_PEPPER);
  if (compiled.kind === 'refused') throw new Error(compiled.reason);
  const { routes } = compiled;
  const paths = Array.from({ length: SERVICES }, (_, i) => `/api/service-${i}/records/42`);
  const names = ids.map((_, i) => `tenant-${i}`);
  let found = 0;
  const perLookUs = (look: (n: number) => unknown): number => {
    const rounds: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const fromMs = nowMs();
      for (let i = 0; i < LOOKUPS / 5; i += 1) if (look(i) !== undefined) found += 1;
      rounds.push(((nowMs() - fromMs) * 1_000) / (LOOKUPS / 5));
    }
    return median(rounds) ?? 0;
  };
  const at = (i: number): number => (i * STRIDE) % ids.length;
  const result = {
    tenantUs: perLookUs((i) => routes.tenant(names[at(i)] ?? '')),
    keyUs: perLookUs((i) => routes.key(ids[at(i)] ?? '')),
    routeUs: perLookUs((i) => routes.findEntry(paths[i % SERVICES] ?? '')),
  };
  if (found !== 3 * LOOKUPS) throw new Error(`${3 * LOOKUPS - found} look-ups found nothing`);
  return result;
}

export async function tableRow(bench: GatewayBench): Promise<RowReport> {
  const count = bench.options.quick ? 5_000 : 100_000;
  const rounds = roundsOf(bench.options, 5, 1);
  const { tenants, ids } = tenantsOf(count);
  const services = servicesOf();
  const kintsugi = await openKintsugi({
    core: GATEWAY_CORE,
    replicaPorts: [],
    command: [join(import.meta.dirname, '../watched-worker.ts')],
  });
  const whole = { services, tenants };
  const first = await push(kintsugi, whole);
  bench.say(`table: first push ${msText(first.tookMs)}, pause ${msText(first.pauseMs)}`);
  const again: Push[] = [];
  const small: Push[] = [];
  for (let i = 0; i < rounds; i += 1) {
    const others = tenants.map((one) => ({ ...one, burst: one.burst + 1 + i }));
    again.push(await push(kintsugi, { services, tenants: others }));
    const [head, ...rest] = others;
    const changed = head === undefined ? others : [{ ...head, burst: 1_000 + i }, ...rest];
    small.push(await push(kintsugi, { services, tenants: changed }));
  }
  const memoryMb = rssMb(kintsugi.pids());
  const table = kintsugi.table(whole);
  await kintsugi.stop();
  const looks = lookups(table, ids);
  return reportOf({ count, first, again, small, memoryMb, looks });
}

function reportOf(found: {
  readonly count: number;
  readonly first: Push;
  readonly again: readonly Push[];
  readonly small: readonly Push[];
  readonly memoryMb: number;
  readonly looks: Lookups;
}): RowReport {
  const { count, first, again, small, memoryMb, looks } = found;
  const all = [first, ...again, ...small];
  const tookMs = median([first, ...again].map((one) => one.tookMs)) ?? 0;
  const pauseMs = Math.max(...all.map((one) => one.pauseMs));
  const worstUs = Math.max(looks.tenantUs, looks.keyUs, looks.routeUs);
  const line = (name: string, pushes: readonly Push[]): string[] => [
    name,
    spreadText(pushes.map((one) => one.tookMs)),
    spreadText(pushes.map((one) => one.pauseMs)),
    spreadText(pushes.map((one) => one.workerCpuMs)),
    spreadText(pushes.map((one) => one.hubCpuMs)),
  ];
  const us = (value: number): string => `${value.toFixed(2)} µs`;
  const size = `${count.toLocaleString('en')} tenants × ${SERVICES} services`;
  return {
    name: 'table',
    title: `a routing table of ${size}`,
    table: [
      ['', 'push → applied', 'longest pause of the worker', 'its CPU', 'CPU of the pusher'],
      line('the first, whole', [first]),
      line('every tenant changed', again),
      line('one tenant changed', small),
    ],
    bars: [
      bar('push → applied, whole', `< ${APPLY_MS} ms`, msText(tookMs), tookMs < APPLY_MS),
      bar('longest pause', `≤ ${PAUSE_MS} ms`, `${pauseMs.toFixed(1)} ms`, pauseMs <= PAUSE_MS),
      bar('look-up, the slowest kind', `< ${LOOKUP_US} µs`, us(worstUs), worstUs < LOOKUP_US),
    ],
    notes: [
      'from the call of the hub with a table in memory until the worker said that it is in force',
      `look-ups: tenant ${us(looks.tenantUs)}, key ${us(looks.keyUs)}, route ${us(looks.routeUs)}`,
      `the worker has ${memoryMb} MB afterwards`,
    ],
    inside: [],
    data: found,
  };
}
