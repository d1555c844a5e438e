// Which things does the picture show? Those in the book and the manifest: replicas that came are
// added, those that are gone leave, and what we want of each service is copied in.
//
//   FR1. Framing is idempotent: the same book twice changes nothing.
import type { Fleet } from '../../model/fleet.ts';
import type { Manifest } from '../../model/manifest.ts';
import { NO_PROBE, NO_TROUBLE } from '../../model/picture.ts';
import type { ServiceView } from '../../model/picture.ts';
import type { ServiceName } from '../../model/ids.ts';
import { newView } from './fold.ts';
import type { Canvas } from './fold.ts';

export interface Framed {
  readonly manifest: Manifest;
  readonly fleet: Fleet;
  /** Services with a rollout under way. */
  readonly rollingOut: ReadonlySet<ServiceName>;
  /** Wall clock minus monotonic clock, to place wall times of the book. */
  readonly wallOffsetMs: number;
}

export function frame(canvas: Canvas, framed: Framed, nowMs: number): void {
  frameServices(canvas, framed);
  frameReplicas(canvas, framed, nowMs);
  frameDependencies(canvas, framed);
  frameControls(canvas, framed);
  frameTenants(canvas, framed);
}

function frameServices(canvas: Canvas, framed: Framed): void {
  for (const spec of framed.manifest.services.values()) {
    const book = framed.fleet.services.get(spec.name);
    if (book === undefined) continue;
    const before = canvas.services.get(spec.name);
    const wanted: ServiceView = {
      spec,
      replicas: book.replicas,
      release: book.release,
      previous: book.previous,
      releasedAtMs:
        book.releasedAtMs === undefined ? undefined : book.releasedAtMs - framed.wallOffsetMs,
      rollingOut: framed.rollingOut.has(spec.name),
      paused: book.paused,
      exits: before?.exits ?? [],
      deaths: before?.deaths ?? [],
      held: before?.held ?? [],
      troubles: before?.troubles ?? NO_TROUBLE,
    };
    canvas.services.set(spec.name, wanted);
  }
  for (const name of canvas.services.keys()) {
    if (!framed.manifest.services.has(name)) canvas.services.delete(name);
  }
}

function frameReplicas(canvas: Canvas, framed: Framed, nowMs: number): void {
  for (const replica of framed.fleet.replicas.values()) {
    if (replica.phase === 'gone') continue;
    const { id, service, release, role, phase, weight } = replica;
    const facts = { id, service, release, role, phase, weight };
    const before = canvas.replicas.get(id);
    if (before === undefined) {
      canvas.replicas.set(id, newView(facts, nowMs));
    } else if (before.role !== role || before.phase !== phase || before.weight !== weight) {
      const becameReady = phase === 'ready' && before.readyAtMs === undefined;
      canvas.replicas.set(id, {
        ...before,
        ...facts,
        readyAtMs: becameReady ? nowMs : before.readyAtMs,
      });
    }
  }
  for (const id of canvas.replicas.keys()) {
    const replica = framed.fleet.replicas.get(id);
    if (replica === undefined || replica.phase === 'gone') canvas.replicas.delete(id);
  }
  for (const id of canvas.ending) if (!canvas.replicas.has(id)) canvas.ending.delete(id);
}

function frameDependencies(canvas: Canvas, framed: Framed): void {
  for (const spec of framed.manifest.dependencies.values()) {
    const before = canvas.dependencies.get(spec.name);
    if (before?.spec === spec) continue;
    canvas.dependencies.set(spec.name, { spec, track: before?.track ?? NO_PROBE });
  }
  for (const name of canvas.dependencies.keys()) {
    if (!framed.manifest.dependencies.has(name)) canvas.dependencies.delete(name);
  }
}

function frameControls(canvas: Canvas, framed: Framed): void {
  const wanted = new Set(framed.manifest.compliance.checks.map((check) => check.id));
  for (const check of framed.manifest.compliance.checks) {
    const before = canvas.controls.get(check.id);
    canvas.controls.set(check.id, {
      id: check.id,
      heal: check.heal,
      dependency: check.dependency,
      frameworks: check.frameworks,
      intervalMs: check.intervalMs,
      result: before?.result,
      atMs: before?.atMs ?? 0,
    });
  }
  for (const id of canvas.controls.keys()) if (!wanted.has(id)) canvas.controls.delete(id);
}

function frameTenants(canvas: Canvas, framed: Framed): void {
  const rules = [...framed.fleet.quarantines.values()];
  for (const spec of framed.manifest.tenants.values()) {
    const before = canvas.tenants.get(spec.id);
    canvas.tenants.set(spec.id, {
      id: spec.id,
      region: spec.region,
      windows: before?.windows ?? [],
      quarantined: new Set(rules.filter((r) => r.tenant === spec.id).map((r) => r.id)),
    });
  }
  for (const id of canvas.tenants.keys()) {
    if (!framed.manifest.tenants.has(id)) canvas.tenants.delete(id);
  }
}
