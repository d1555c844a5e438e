// How long does a large table take until it is in force, and does a request ever wait for it? The
// real worker behind the real hub: 100 000 tenants with a key each and 200 services, pushed whole
// into a worker that knows nothing, and with a change in one replica and in one tenant.
import type { RowReport } from '../../heal/bench.ts';
import { median, msText, spreadText } from '../../heal/numbers.ts';
import { GATEWAY_CORE, bar, roundsOf } from '../bench.ts';
import type { GatewayBench } from '../bench.ts';
import { hasTaskset } from '../peers.ts';
import { measureTable } from '../table.ts';
import type { LookUps, TableFigures } from '../table.ts';

const APPLY_MS = 250;
const PAUSE_MS = 20;
const LOOKUP_NS = 1_000;
const SERVICES = 200;

export async function tableRow(bench: GatewayBench): Promise<RowReport> {
  const tenants = bench.options.quick ? 5_000 : 100_000;
  const rounds = roundsOf(bench.options, 5, 1);
  const core = hasTaskset ? { core: GATEWAY_CORE } : {};
  const all: TableFigures[] = [];
  for (let i = 0; i < rounds; i += 1) {
    const found = await measureTable({ tenants, services: SERVICES, ...core });
    const { applyMs, longestPauseMs } = found.whole;
    bench.say(`table: in force after ${msText(applyMs)}, pause ${msText(longestPauseMs)}`);
    all.push(found);
  }
  return reportOf(tenants, all);
}

const nsText = (ns: number): string => `${Math.round(ns)} ns`;
const worst = ({ tenantNs, keyNs, entryNs }: LookUps): number => Math.max(tenantNs, keyNs, entryNs);

function reportOf(tenants: number, all: readonly TableFigures[]): RowReport {
  const middle = (of: (one: TableFigures) => number): number => median(all.map(of)) ?? 0;
  const kinds = (of: (one: TableFigures) => LookUps): string =>
    (['tenantNs', 'keyNs', 'entryNs'] as const)
      .map((kind) => `${kind.slice(0, -2)} ${nsText(middle((one) => of(one)[kind]))}`)
      .join(', ');
  const line = (name: string, of: (one: TableFigures) => Change): string[] => {
    const spread = (pick: (change: Change) => number): string =>
      spreadText(all.map((one) => pick(of(one))));
    return [
      name,
      spread((c) => c.applyMs),
      spread((c) => c.longestPauseMs),
      spread((c) => c.busyCpuMs),
      spread((c) => c.controllerCpuMs),
    ];
  };
  const applyMs = middle((one) => one.whole.applyMs);
  const pauseMs = middle((one) => one.whole.longestPauseMs);
  const turnMs = middle((one) => one.controller.longestPauseMs);
  const firstNs = middle((one) => worst(one.lookUps.first));
  const againNs = middle((one) => worst(one.lookUps.again));
  const wholeMs = spreadText(all.map((one) => one.controller.wholeMs));
  const cpuTurn = (of: (one: TableFigures) => { readonly longestTurnCpuMs: number }): string =>
    msText(middle((one) => of(one).longestTurnCpuMs));
  const isQuick = (ns: number): boolean => ns < LOOKUP_NS;
  return {
    name: 'table',
    title: `a routing table of ${tenants.toLocaleString('en')} tenants × ${SERVICES} services`,
    table: [
      ['', 'until in force', 'longest pause of the worker', 'its CPU', 'CPU of the pusher'],
      line('the first, whole', wholeOf),
      line('one replica changed', (one) => one.replica),
      line('one tenant changed', (one) => one.tenant),
    ],
    bars: [
      bar('in force, whole', `< ${APPLY_MS} ms`, msText(applyMs), applyMs < APPLY_MS),
      bar('longest pause', `≤ ${PAUSE_MS} ms`, msText(pauseMs), pauseMs <= PAUSE_MS),
      bar('longest pause of the pusher', `≤ ${PAUSE_MS} ms`, msText(turnMs), turnMs <= PAUSE_MS),
      bar('look-up, first, slowest kind', `< ${LOOKUP_NS} ns`, nsText(firstNs), isQuick(firstNs)),
      bar('look-up, again, slowest kind', `< ${LOOKUP_NS} ns`, nsText(againNs), isQuick(againNs)),
    ],
    notes: [
      'until in force: from the first byte that the worker reads of it; medians over the rounds',
      'pauses of the worker: until half a second after that, in which it saves the table',
      `with building and cutting at the pusher, from nothing to the answer: ${wholeMs}`,
      `longest turns in CPU time, by the kernel's ticks: worker ${cpuTurn((one) => one.whole)}`,
      `the same of the pusher: ${cpuTurn((one) => one.controller)}`,
      `look-ups, first: ${kinds((one) => one.lookUps.first)}`,
      `look-ups, again: ${kinds((one) => one.lookUps.again)}`,
      `a start from the saved table: ${msText(middle((one) => one.lookUps.loadMs))}`,
    ],
    inside: [],
    data: all,
  };
}

type Change = TableFigures['replica'];

function wholeOf({ whole, controller }: TableFigures): Change {
  return { ...whole, controllerCpuMs: controller.wholeCpuMs };
}
