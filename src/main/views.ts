// How does what the controller knows look to a reader? Views of the picture and the book, with all
// times as wall times.
import type {
  BudgetSummary,
  ControlSummary,
  DependencySummary,
  GatewaySummary,
  IncidentSummary,
  KeySummary,
  Overall,
  ReplicaSummary,
  RunSummary,
  ServiceSummary,
  Status,
  TenantSummary,
  TrafficSummary,
} from '../api/contract.ts';
import { subjectText } from '../model/finding.ts';
import type { Incident } from '../model/incident.ts';
import type { CheckSpec } from '../model/manifest.ts';
import { addWindows, isAvailable, quantileMs, sumWindows } from '../model/picture.ts';
import type {
  ControlView,
  DependencyView,
  ReplicaView,
  ServiceView,
  TrafficWindow,
} from '../model/picture.ts';
import type { Run, Verdict } from '../model/run.ts';
import { blastRadius, blastText } from '../model/shards.ts';
import { stepText } from '../loop/act/perform.ts';
import { holdOf } from './holds.ts';
import type { Controller } from './parts.ts';
import { VERSION } from './parts.ts';
import { ledgerHead } from './ledger-view.ts';

const TRAFFIC_SPAN_MS = 10_000;
/** A control is stale when it was not measured for this many of its intervals (P11). */
const STALE_INTERVALS = 4;

export interface Times {
  readonly nowMs: number;
  readonly wallMs: number;
  wall(monotonicMs: number): number;
}

export function timesOf(controller: Controller): Times {
  const { clock } = controller.world;
  const nowMs = clock.monotonicMs();
  const wallMs = clock.nowMs();
  return { nowMs, wallMs, wall: (ms) => Math.round(wallMs - (nowMs - ms)) };
}

export function statusOf(
  controller: Controller,
  pending: Status['approvals'],
  runs: readonly RunSummary[],
  storySeq: number,
): Status {
  const times = timesOf(controller);
  const { loop, settings, keys } = controller;
  const { canvas } = loop.state;
  const services = [...canvas.services.values()].map((s) => serviceView(controller, s, times));
  const incidents = [...loop.state.incidents.values()].map((i) => incidentView(i, times));
  const dependencies = [...canvas.dependencies.values()].map((d) => dependencyView(d, times));
  const rows = keys.rows();
  const tenants = [...settings.manifest.tenants.values()].map((spec): TenantSummary => ({
    id: spec.id,
    plan: spec.plan,
    region: spec.region,
    status: spec.status,
    isolation: spec.isolation,
    frameworks: spec.frameworks,
    keys: rows
      .filter((row) => row.tenant === spec.id)
      .map(({ id, createdAtMs, expiresAtMs, roles }): KeySummary => {
        return { id, createdAtMs, expiresAtMs, roles };
      }),
    quarantined: [...loop.state.book.fleet().quarantines.values()]
      .filter((rule) => rule.tenant === spec.id)
      .map((rule) => `${rule.method} ${rule.route}`),
    hold: holdOf(controller, spec.id),
    traffic: traffic(canvas.tenants.get(spec.id)?.windows ?? [], times.nowMs),
  }));
  return {
    atMs: times.wallMs,
    instance: instanceView(controller),
    overall: overall(controller, services, dependencies, incidents, pending.length),
    services,
    dependencies,
    controls: controlViews(controller, times),
    tenants,
    gateway: gatewayView(controller),
    incidents,
    runs,
    approvals: pending,
    ledger: ledgerHead(controller),
    storySeq,
  };
}

function instanceView(controller: Controller): Status['instance'] {
  const { settings, own, start, world, loop } = controller;
  return {
    name: settings.manifest.name,
    instance: own.instance,
    pid: process.pid,
    version: VERSION,
    startedAtMs: controller.startedAtMs,
    mode: loop.warm() ? 'acting' : 'observing',
    production: controller.env['KINTSUGI_PRODUCTION'] === '1',
    manifestPath: start.manifest,
    healing: settings.manifest.healing.mode,
    limits: `${world.runtime.limits().kind}: ${world.runtime.limits().detail}`,
    rssBytes: process.memoryUsage.rss(),
    cpu: controller.cpu,
  };
}

function overall(
  controller: Controller,
  services: readonly ServiceSummary[],
  dependencies: readonly DependencySummary[],
  incidents: readonly IncidentSummary[],
  pending: number,
): Overall {
  if (controller.stopping) return { kind: 'stopping' };
  const escalated = incidents.filter((i) => i.state.kind === 'escalated');
  const reasons = [
    ...escalated.map((i) => i.now),
    ...(pending > 0 ? [`${pending} approvals wait for a person`] : []),
  ];
  const waitingFor = [
    ...services.filter((s) => s.ready < s.wanted).map((s) => `${s.name} ${s.ready}/${s.wanted}`),
    ...dependencies.filter((d) => d.state === 'unknown').map((d) => d.name),
    ...(gatewaysMissing(controller) > 0 ? ['gateway'] : []),
  ];
  if (waitingFor.length > 0 && !controller.wasHealthy.value && reasons.length === 0) {
    return { kind: 'starting', waitingFor };
  }
  if (waitingFor.length === 0) controller.wasHealthy.value = true;
  if (reasons.length > 0) return { kind: 'degraded', reasons };
  if (incidents.length > 0) return { kind: 'healing', incidents: incidents.length };
  return waitingFor.length === 0 ? { kind: 'healthy' } : { kind: 'healing', incidents: 0 };
}

function serviceView(controller: Controller, service: ServiceView, times: Times): ServiceSummary {
  const { spec } = service;
  const replicas = [...controller.loop.state.canvas.replicas.values()].filter(
    (r) => r.service === spec.name,
  );
  const budget = budgetView(controller, service, replicas);
  return {
    name: spec.name,
    kind: spec.kind,
    wanted: service.replicas,
    ready: replicas.filter(
      (r) => r.role === 'active' && r.phase === 'ready' && r.weight > 0 && r.exited === undefined,
    ).length,
    spares: replicas.filter((r) => r.role === 'spare' && r.phase === 'ready').length,
    release: service.release,
    previous: service.previous,
    releasedAtMs: service.releasedAtMs === undefined ? undefined : times.wall(service.releasedAtMs),
    rollingOut: service.rollingOut,
    paused: service.paused,
    blast: blastOf(spec, service.replicas),
    routes: spec.routes.map((route) => route.prefix),
    dependsOn: spec.dependsOn,
    budget,
    traffic: merged(replicas, times.nowMs),
    replicas: replicas.map((r) => replicaView(controller, r, times)),
  };
}

/** Replicas of equal weight; those kept for one tenant are not counted out. */
function blastOf(spec: ServiceView['spec'], replicas: number): string | undefined {
  if (spec.shardSize === undefined) return undefined;
  return blastText(blastRadius(replicas, spec.shardSize));
}

function budgetView(
  controller: Controller,
  service: ServiceView,
  replicas: readonly ReplicaView[],
): BudgetSummary {
  const { maxUnavailable } = controller.settings.manifest.healing.budget;
  const available = replicas.filter(isAvailable).length;
  const floor = Math.max(1, service.replicas - maxUnavailable);
  return { available, floor, mayLose: Math.max(0, available - floor) };
}

function replicaView(controller: Controller, view: ReplicaView, times: Times): ReplicaSummary {
  const running = controller.world.runtime.list().find((r) => r.id === view.id);
  const book = controller.loop.state.book.fleet().replicas.get(view.id);
  return {
    id: view.id,
    service: view.service,
    release: view.release,
    role: view.role,
    phase: view.exited === undefined ? view.phase : 'gone',
    weight: view.weight,
    pid: running?.pid,
    port: book?.endpoint?.port,
    region: book?.region ?? 'any',
    sinceMs: times.wall(running?.startedAtMs ?? view.startedAtMs),
    available: isAvailable(view),
    ejected:
      view.ejected === undefined
        ? undefined
        : { reason: view.ejected.reason, detail: view.ejected.detail },
    rssBytes: view.memory.at(-1)?.rssBytes,
    cpu: cpuOf(view),
    traffic: traffic(view.windows, times.nowMs),
  };
}

function gatewaysMissing(controller: Controller): number {
  const { workers } = controller.settings.manifest.gateway;
  return workers - controller.world.gateways.connected().length;
}

/** Share of one core between the last two samples. */
function cpuOf(view: ReplicaView): number | undefined {
  const last = view.memory.at(-1);
  const before = view.memory.at(-2);
  if (last === undefined || before === undefined || last.atMs <= before.atMs) return undefined;
  return Math.max(0, last.cpuMs - before.cpuMs) / (last.atMs - before.atMs);
}

function merged(replicas: readonly ReplicaView[], nowMs: number): TrafficSummary {
  const all = replicas.map((r) => sumWindows(r.windows, nowMs, TRAFFIC_SPAN_MS));
  return summary(addWindows(all, nowMs));
}

export function traffic(windows: readonly TrafficWindow[], nowMs: number): TrafficSummary {
  return summary(sumWindows(windows, nowMs, TRAFFIC_SPAN_MS));
}

function summary(sum: TrafficWindow): TrafficSummary {
  return {
    requestsPerSecond: sum.requests / (TRAFFIC_SPAN_MS / 1000),
    failedShare: sum.requests === 0 ? 0 : Math.min(1, sum.failed / sum.requests),
    p99Ms: quantileMs(sum.latency, 0.99),
  };
}

function dependencyView(view: DependencyView, times: Times): DependencySummary {
  const { track, spec } = view;
  const state =
    track.last === undefined
      ? 'unknown'
      : track.failures >= spec.failures
        ? track.okAtMs === undefined
          ? 'unknown'
          : 'down'
        : 'up';
  const since = state === 'up' ? track.recoveredAtMs : track.failingSinceMs;
  return {
    name: spec.name,
    kind: spec.kind,
    service: spec.service,
    state,
    detail: track.last === undefined ? 'not looked at yet' : track.last.kind,
    sinceMs: since === undefined ? undefined : times.wall(since),
  };
}

export function controlViews(controller: Controller, times: Times): readonly ControlSummary[] {
  return controller.settings.manifest.compliance.checks.map((spec): ControlSummary => {
    const view = controller.loop.state.canvas.controls.get(spec.id);
    return {
      id: spec.id,
      kind: spec.kind,
      dependency: spec.dependency,
      frameworks: spec.frameworks,
      heal: spec.heal,
      intervalMs: spec.intervalMs,
      verdict: verdictOf(spec, view, times.nowMs),
      result: view?.result,
      measuredAtMs: view?.result === undefined ? undefined : times.wall(view.atMs),
    };
  });
}

/** P11: what was not measured, or not lately, is never shown as satisfied. */
function verdictOf(
  spec: CheckSpec,
  view: ControlView | undefined,
  nowMs: number,
): ControlSummary['verdict'] {
  if (view?.result === undefined) return 'not-evaluated';
  if (nowMs - view.atMs > spec.intervalMs * STALE_INTERVALS + 5_000) return 'stale';
  if (view.result.kind === 'satisfied' && view.result.population === 0) return 'not-evaluated';
  return view.result.kind;
}

function gatewayView(controller: Controller): GatewaySummary {
  const { gateway } = controller.settings.manifest;
  const { gateways } = controller.world;
  return {
    url: `${gateway.tls === undefined ? 'http' : 'https'}://${gateway.host}:${gateway.port}`,
    workersWanted: gateway.workers,
    tableVersion: controller.loop.state.book.version(),
    workers: gateways.connected().map((worker) => ({ worker, pid: undefined, version: 0 })),
  };
}

export function incidentView(incident: Incident, times: Times): IncidentSummary {
  const [best] = incident.diagnosis.hypotheses;
  const { state } = incident;
  return {
    id: incident.id,
    title: incident.title,
    subject: best.subject,
    state,
    now: nowText(incident),
    diagnosis: `${best.subject.kind} ${subjectText(best.subject)}: ${best.why}`,
    confidence: best.confidence,
    openedAtMs: incident.openedAtWallMs,
    healedAtMs: state.kind === 'healed' ? times.wall(state.atMs) : undefined,
    attempts: incident.attempts.map((a) => ({ ...a, endedAtMs: times.wall(a.endedAtMs) })),
  };
}

function nowText(incident: Incident): string {
  const { state, title } = incident;
  switch (state.kind) {
    case 'open':
      return `${title}: being decided`;
    case 'waiting':
      return `${title}: waiting, ${state.reason}: ${state.detail}`;
    case 'acting':
      return `${title}: acting by plan ${state.plan}`;
    case 'verifying':
      return `${title}: acted, watching whether it helped`;
    case 'escalated':
      return `${title}: a person is asked, ${state.reason}: ${state.detail}`;
    case 'healed':
      return state.by === 'itself' ? `${title}: it went away by itself` : `${title}: healed`;
  }
}

export function runView(run: Run, verdict: Verdict | undefined): RunSummary {
  const { plan } = run;
  const done = run.steps.filter((s) => s.state === 'done' && s.key.startsWith('do:'));
  const current = plan.steps[done.length]?.step;
  const open = run.state === 'running' || run.state === 'waiting' || run.state === 'undoing';
  return {
    id: run.id,
    playbook: plan.playbook,
    summary: plan.summary,
    target: plan.target,
    service: plan.service,
    incident: run.incident,
    origin: plan.origin.kind === 'operator' ? plan.origin.actor : plan.origin.kind,
    state: run.state,
    failure: run.failure,
    startedAtMs: run.startedAtWallMs,
    endedAtMs: run.endedAtWallMs,
    stepsDone: done.length,
    stepsTotal: plan.steps.length,
    step: open && current !== undefined ? stepText(current) : undefined,
    verdict,
  };
}
