// How do signals become a picture? Each signal is folded into the view of what it speaks about.
// Views are replaced whole; only the maps that hold them change.
//
//   O1. Folding reads no clock: the time is the signal's own.
//   O2. A signal about something that is in nobody's book is dropped, never invented into it.
//   O3. Lists stay within LIMITS.
import { LIMITS, NO_PROBE, noLatency } from '../../model/picture.ts';
import type {
  ControlView,
  DependencyView,
  Picture,
  ProbeTrack,
  ReplicaView,
  ServiceView,
  TenantView,
  TrafficWindow,
} from '../../model/picture.ts';
import type { GatewayEvent, ProbeResult, Signal, TrafficCell } from '../../model/signal.ts';
import type { CheckId, DependencyName, ReplicaId, ServiceName, TenantId } from '../../model/ids.ts';
import { never } from '../../model/errors.ts';

export interface Canvas extends Picture {
  readonly replicas: Map<ReplicaId, ReplicaView>;
  readonly services: Map<ServiceName, ServiceView>;
  readonly dependencies: Map<DependencyName, DependencyView>;
  readonly controls: Map<CheckId, ControlView>;
  readonly gateways: Map<string, number>;
  evidence: Picture['evidence'];
  readonly tenants: Map<TenantId, TenantView>;
  /** Replicas that we are ending: their exits are wanted. Written by acting. */
  readonly ending: Set<ReplicaId>;
  clockJump: Picture['clockJump'];
}

export function emptyCanvas(since: number): Canvas {
  return {
    since,
    replicas: new Map(),
    services: new Map(),
    dependencies: new Map(),
    controls: new Map(),
    gateways: new Map(),
    evidence: new Map(),
    tenants: new Map(),
    ending: new Set(),
    clockJump: undefined,
  };
}

export function fold(canvas: Canvas, signal: Signal): void {
  switch (signal.kind) {
    case 'started':
      change(canvas, signal.replica, (r) => ({ ...r, startedAtMs: signal.atMs }));
      return;
    case 'exited':
      foldExit(canvas, signal);
      return;
    case 'probe':
      change(canvas, signal.replica, (r) => ({
        ...r,
        [signal.probe]: track(r[signal.probe], signal.result, signal.atMs),
      }));
      return;
    case 'heartbeat':
      change(canvas, signal.replica, (r) => ({
        ...r,
        beat: { atMs: signal.atMs, beat: signal.beat },
      }));
      return;
    case 'usage':
      change(canvas, signal.replica, (r) => ({
        ...r,
        memory: push(
          r.memory,
          { atMs: signal.atMs, rssBytes: signal.rssBytes, cpuMs: signal.cpuMs },
          LIMITS.memorySamples,
        ),
      }));
      return;
    case 'traffic':
      foldTraffic(canvas, signal.cells, signal.atMs);
      return;
    case 'gateway':
      foldGateway(canvas, signal.event, signal.atMs);
      return;
    case 'dependency':
      foldDependency(canvas, signal.dependency, signal.result, signal.atMs);
      return;
    case 'check': {
      const control = canvas.controls.get(signal.check);
      if (control === undefined) return;
      canvas.controls.set(control.id, { ...control, result: signal.result, atMs: signal.atMs });
      return;
    }
    case 'evidence': {
      const before = canvas.evidence;
      canvas.evidence = new Map(
        signal.troubles.map(({ part, detail }) => {
          const sinceMs = before.get(part)?.sinceMs ?? signal.atMs;
          return [part, { detail, sinceMs }];
        }),
      );
      return;
    }
    case 'clock-jumped':
      canvas.clockJump = { atMs: signal.atMs, byMs: signal.byMs };
      return;
    default:
      never(signal);
  }
}

function change(canvas: Canvas, id: ReplicaId, to: (replica: ReplicaView) => ReplicaView): void {
  const replica = canvas.replicas.get(id);
  if (replica !== undefined) canvas.replicas.set(id, to(replica));
}

/** Appends and drops the oldest past `limit` (O3). */
export function push<T>(list: readonly T[], item: T, limit: number): readonly T[] {
  const next = list.length >= limit ? list.slice(list.length - limit + 1) : list.slice();
  next.push(item);
  return next;
}

export function track(before: ProbeTrack, result: ProbeResult, atMs: number): ProbeTrack {
  if (result.kind === 'ok') {
    const recoveredAtMs = before.failures > 0 ? atMs : before.recoveredAtMs;
    return {
      last: result,
      lastAtMs: atMs,
      failures: 0,
      okAtMs: atMs,
      failingSinceMs: undefined,
      recoveredAtMs,
    };
  }
  return {
    last: result,
    lastAtMs: atMs,
    failures: before.failures + 1,
    okAtMs: before.okAtMs,
    failingSinceMs: before.failingSinceMs ?? atMs,
    recoveredAtMs: before.recoveredAtMs,
  };
}

function foldExit(canvas: Canvas, signal: Extract<Signal, { kind: 'exited' }>): void {
  const replica = canvas.replicas.get(signal.replica);
  if (replica === undefined || replica.exited !== undefined) return;
  const exited = { atMs: signal.atMs, exit: signal.exit };
  canvas.replicas.set(replica.id, { ...replica, exited });
  const service = canvas.services.get(replica.service);
  if (service === undefined) return;
  const record = {
    atMs: signal.atMs,
    replica: replica.id,
    release: replica.release,
    exit: signal.exit,
    wasReady: replica.readyAtMs !== undefined,
    wanted: replica.phase === 'draining' || canvas.ending.has(replica.id),
  };
  canvas.services.set(service.spec.name, {
    ...service,
    exits: push(service.exits, record, LIMITS.exits),
  });
}

function foldDependency(
  canvas: Canvas,
  name: DependencyName,
  result: ProbeResult,
  atMs: number,
): void {
  const dependency = canvas.dependencies.get(name);
  if (dependency === undefined) return;
  canvas.dependencies.set(name, { ...dependency, track: track(dependency.track, result, atMs) });
}

interface Sum {
  requests: number;
  errors: number;
  broken: number;
  timeouts: number;
  failed: number;
  latency: number[];
}

function foldTraffic(canvas: Canvas, cells: readonly TrafficCell[], atMs: number): void {
  const byReplica = new Map<ReplicaId, Sum>();
  const byTenant = new Map<TenantId, Sum>();
  for (const cell of cells) {
    add(byReplica, cell.replica, cell);
    if (cell.tenant !== undefined) add(byTenant, cell.tenant, cell);
  }
  for (const [id, sum] of byReplica) {
    change(canvas, id, (r) => ({ ...r, windows: addWindow(r.windows, sum, atMs) }));
  }
  for (const [id, sum] of byTenant) {
    const tenant = canvas.tenants.get(id);
    if (tenant === undefined) continue;
    canvas.tenants.set(id, { ...tenant, windows: addWindow(tenant.windows, sum, atMs) });
  }
}

/** Flushes of several workers within 100 ms are one window. */
function addWindow(
  windows: readonly TrafficWindow[],
  sum: Sum,
  atMs: number,
): readonly TrafficWindow[] {
  const last = windows.at(-1);
  if (last === undefined || atMs - last.atMs > 100) {
    return push(windows, { atMs, ...sum }, LIMITS.trafficWindows);
  }
  const merged: TrafficWindow = {
    atMs: last.atMs,
    requests: last.requests + sum.requests,
    errors: last.errors + sum.errors,
    broken: last.broken + sum.broken,
    timeouts: last.timeouts + sum.timeouts,
    failed: last.failed + sum.failed,
    latency: last.latency.map((n, b) => n + (sum.latency[b] ?? 0)),
  };
  return [...windows.slice(0, -1), merged];
}

function add<K>(sums: Map<K, Sum>, key: K, cell: TrafficCell): void {
  let sum = sums.get(key);
  if (sum === undefined) {
    sum = {
      requests: 0,
      errors: 0,
      broken: 0,
      timeouts: 0,
      failed: 0,
      latency: noLatency(),
    };
    sums.set(key, sum);
  }
  sum.requests += cell.requests;
  sum.errors += cell.errors;
  sum.broken += cell.broken;
  sum.timeouts += cell.timeouts;
  sum.failed += cell.failed;
  for (let b = 0; b < sum.latency.length; b += 1) {
    sum.latency[b] = (sum.latency[b] ?? 0) + (cell.latency[b] ?? 0);
  }
}

function foldGateway(canvas: Canvas, event: GatewayEvent, atMs: number): void {
  switch (event.kind) {
    case 'connected':
      canvas.gateways.set(event.worker, atMs);
      return;
    case 'disconnected':
      canvas.gateways.delete(event.worker);
      return;
    case 'ejected':
      change(canvas, event.replica, (r) => ({
        ...r,
        // The first worker's word sets the time: a second one saying the same is no news.
        ejected: {
          atMs: r.ejected?.atMs ?? trialSince(r, atMs) ?? atMs,
          reason: event.reason,
          detail: event.detail,
        },
      }));
      return;
    case 'returned':
      change(canvas, event.replica, (r) => ({
        ...r,
        ejected: undefined,
        onTrial:
          r.ejected === undefined
            ? r.onTrial
            : {
                ejectedAtMs: r.ejected.atMs,
                returnedAtMs: atMs,
                reason: r.ejected.reason,
                detail: r.ejected.detail,
              },
      }));
      return;
    case 'died-serving': {
      const service = serviceOf(canvas, event.replica);
      if (service === undefined) return;
      const death = { atMs, replica: event.replica, suspects: event.suspects.slice(0, 64) };
      canvas.services.set(service.spec.name, {
        ...service,
        deaths: push(service.deaths, death, LIMITS.deaths),
      });
      return;
    }
    case 'certificate':
    case 'crossed':
    case 'keys-wanted':
      // Told and acted on elsewhere: they say nothing about the health of anything.
      return;
    case 'poison-held': {
      const service = canvas.services.get(event.suspect.service);
      if (service === undefined) return;
      const held = { atMs, suspect: event.suspect, deaths: event.deaths };
      canvas.services.set(service.spec.name, {
        ...service,
        held: push(service.held, held, LIMITS.held),
      });
      return;
    }
    default:
      never(event);
  }
}

const TRIAL_MS = 30_000;

/** Out again while it was on trial: it is the same trouble, and began with the first ejection. */
function trialSince(replica: ReplicaView, atMs: number): number | undefined {
  const trial = replica.onTrial;
  if (trial === undefined || atMs - trial.returnedAtMs > TRIAL_MS) return undefined;
  return trial.ejectedAtMs;
}

function serviceOf(canvas: Canvas, replica: ReplicaId): ServiceView | undefined {
  const view = canvas.replicas.get(replica);
  return view === undefined ? undefined : canvas.services.get(view.service);
}

/** A replica that the book has and the picture does not yet. */
export function newView(
  facts: Pick<ReplicaView, 'id' | 'service' | 'release' | 'role' | 'phase' | 'weight'>,
  nowMs: number,
): ReplicaView {
  return {
    ...facts,
    startedAtMs: nowMs,
    readyAtMs: facts.phase === 'ready' ? nowMs : undefined,
    exited: undefined,
    ready: NO_PROBE,
    live: NO_PROBE,
    beat: undefined,
    memory: [],
    windows: [],
    ejected: undefined,
    onTrial: undefined,
  };
}
