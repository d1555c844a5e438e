// What do tests of the pure stages need? Pictures, incidents and contexts in a line each, with
// everything well unless said otherwise. Time here is 1 000 000 ms.
import type { DecideContext } from '../../src/loop/decide/context.ts';
import { emptyCanvas, newView } from '../../src/loop/observe/fold.ts';
import type { Canvas } from '../../src/loop/observe/fold.ts';
import { finding } from '../../src/model/finding.ts';
import type { Finding, FindingKind, Subject } from '../../src/model/finding.ts';
import type { Fleet, ServiceBook } from '../../src/model/fleet.ts';
import {
  asReplicaId,
  fingerprint,
  incidentId,
  releaseId,
  serviceName,
} from '../../src/model/ids.ts';
import type { ReplicaId, ServiceName } from '../../src/model/ids.ts';
import type { Incident } from '../../src/model/incident.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { NO_PROBE, NO_TROUBLE, noLatency } from '../../src/model/picture.ts';
import type {
  ProbeTrack,
  ReplicaView,
  ServiceView,
  TrafficWindow,
} from '../../src/model/picture.ts';
import type { Release } from '../../src/model/release.ts';
import { settingOf } from '../sim/setting.ts';

export const NOW = 1_000_000;
export const WALL = 1_700_000_000_000;
export const R1 = releaseId('r-1');
export const R2 = releaseId('r-2');
export const RECORDS = serviceName('records');
export const BILLING = serviceName('billing');
export const MANIFEST: Manifest = settingOf({ probeMs: 500 });

export const okAt = (atMs: number): ProbeTrack => ({
  ...NO_PROBE,
  last: { kind: 'ok', tookMs: 1 },
  lastAtMs: atMs,
  okAtMs: atMs,
});

export function failing(
  kind: 'timeout' | 'refused' | 'unreachable',
  failures: number,
  sinceMs = NOW - 3_000,
): ProbeTrack {
  const last =
    kind === 'timeout'
      ? ({ kind, afterMs: 500 } as const)
      : kind === 'refused'
        ? ({ kind, tookMs: 1, detail: 'status 503' } as const)
        : ({ kind, detail: 'connection refused' } as const);
  return { ...NO_PROBE, last, lastAtMs: NOW, failures, failingSinceMs: sinceMs, okAtMs: 1 };
}

/** A replica that is well: ready, routed, probed. */
export function replica(id: string, change: Partial<ReplicaView> = {}): ReplicaView {
  const service = serviceName(id.slice(0, id.lastIndexOf('-')));
  const facts = {
    id: asReplicaId(id),
    service,
    release: R1,
    role: 'active',
    phase: 'ready',
    weight: 100,
  } as const;
  return {
    ...newView(facts, NOW - 600_000),
    ready: okAt(NOW - 100),
    live: okAt(NOW - 100),
    ...change,
  };
}

export function traffic(
  atMs: number,
  requests: number,
  change: Partial<TrafficWindow> = {},
  bucket = 3,
): TrafficWindow {
  const latency = noLatency();
  latency[bucket] = requests;
  return { atMs, requests, errors: 0, broken: 0, timeouts: 0, failed: 0, latency, ...change };
}

/** The canvas of the clinic with these replicas; the database stands and answers. */
export function canvasWith(
  replicas: readonly ReplicaView[],
  services: Readonly<Record<string, Partial<ServiceView>>> = {},
): Canvas {
  const canvas = emptyCanvas(NOW - 700_000);
  for (const spec of MANIFEST.services.values()) {
    canvas.services.set(spec.name, {
      spec,
      replicas: spec.replicas.min,
      release: R1,
      previous: undefined,
      releasedAtMs: undefined,
      rollingOut: false,
      paused: false,
      exits: [],
      deaths: [],
      held: [],
      troubles: NO_TROUBLE,
      ...services[spec.name],
    });
  }
  for (const spec of MANIFEST.dependencies.values()) {
    canvas.dependencies.set(spec.name, { spec, track: okAt(NOW) });
  }
  for (const spec of MANIFEST.compliance.checks) {
    canvas.controls.set(spec.id, { ...spec, result: undefined, atMs: NOW });
  }
  for (const spec of MANIFEST.tenants.values()) {
    canvas.tenants.set(spec.id, {
      id: spec.id,
      region: spec.region,
      windows: [],
      quarantined: new Set(),
    });
  }
  for (const view of [replica('database-1'), ...replicas]) canvas.replicas.set(view.id, view);
  return canvas;
}

export function release(id: Release['id'], change: Partial<Release> = {}): Release {
  return {
    id,
    service: RECORDS,
    digest: `sha256:${id}`,
    dir: `/releases/${id}`,
    command: ['x'],
    cwd: '.',
    env: {},
    createdAtMs: 0,
    schema: undefined,
    verdict: { kind: 'new' },
    ...change,
  };
}

/** The book that belongs to a canvas. */
export function fleetOf(
  canvas: Canvas,
  books: Readonly<Record<string, Partial<ServiceBook>>> = {},
  releases: readonly Release[] = [release(R1), release(R2)],
): Fleet {
  return {
    services: new Map(
      [...canvas.services.values()].map(({ spec, replicas, release: r }) => [
        spec.name,
        {
          name: spec.name,
          replicas,
          release: r,
          previous: undefined,
          releasedAtMs: undefined,
          nextOrdinal: 10,
          paused: false,
          ...books[spec.name],
        },
      ]),
    ),
    replicas: new Map(
      [...canvas.replicas.values()].map((view) => [
        view.id,
        {
          id: view.id,
          service: view.service,
          release: view.release,
          role: view.role,
          phase: view.phase,
          weight: view.weight,
          region: 'eu',
          endpoint: { host: '127.0.0.1', port: 1 },
          createdAtMs: 0,
        },
      ]),
    ),
    releases: new Map(releases.map((r) => [r.id, r])),
    quarantines: new Map(),
    holds: new Map(),
  };
}

export function contextWith(canvas: Canvas, change: Partial<DecideContext> = {}): DecideContext {
  return {
    nowMs: NOW,
    wallMs: WALL,
    picture: canvas,
    fleet: fleetOf(canvas),
    manifest: MANIFEST,
    liveRuns: [],
    disruptions: [],
    incidents: [],
    warm: true,
    halted: false,
    ...change,
  };
}

export const onReplica = (id: string): Extract<Subject, { kind: 'replica' }> => ({
  kind: 'replica',
  replica: asReplicaId(id),
  service: serviceName(id.slice(0, id.lastIndexOf('-'))),
});

export function found(
  kind: FindingKind,
  subject: Subject,
  sinceMs = NOW - 10_000,
  measures: Readonly<Record<string, number>> = {},
): Finding {
  return finding(kind, subject, sinceMs, 0.9, ['seen'], measures);
}

export function incident(findings: readonly Finding[], change: Partial<Incident> = {}): Incident {
  const subject = findings[0]?.subject ?? { kind: 'node' };
  return {
    id: incidentId('inc_1'),
    fingerprint: fingerprint('incident', 'x'),
    title: 'trouble',
    findings,
    diagnosis: { hypotheses: [{ subject, confidence: 0.9, why: 'seen' }] },
    state: { kind: 'open' },
    openedAtMs: NOW - 10_000,
    openedAtWallMs: WALL - 10_000,
    attempts: [],
    seenAtMs: NOW,
    ...change,
  };
}

export const kinds = (findings: readonly Finding[]): string[] => findings.map((f) => f.kind);
export const ids = (...names: string[]): ReplicaId[] => names.map(asReplicaId);
export const records = (...changes: Partial<ReplicaView>[]): ReplicaView[] =>
  changes.map((change, i) => replica(`records-${i + 1}`, change));
export const names = (...words: string[]): ServiceName[] => words.map(serviceName);
