// Who looks at what, and how often? Probes of replicas and dependencies, memory, controls, and what
// the runtime and the gateways tell; everything leaves as a Signal into the inbox.
//
//   W1. One look at a time a thing: a slow probe delays only its own next look.
//   W3. A replica that answers ready is alive: liveness is asked only of one that does not.
//   W2. Looks of many replicas are spread over the interval, so that they never come in step.
import type { Fleet } from '../../model/fleet.ts';
import type { Manifest } from '../../model/manifest.ts';
import type { Replica } from '../../model/replica.ts';
import type { ProbeResult, Signal } from '../../model/signal.ts';
import type { World } from '../../world/world.ts';

export interface WatchPorts {
  readonly world: Pick<
    World,
    'clock' | 'runtime' | 'gateways' | 'probes' | 'controls' | 'log' | 'ledger'
  >;
  readonly manifest: () => Manifest;
  readonly fleet: () => Fleet;
  readonly put: (signal: Signal) => void;
  /** Heartbeats and `ready` words of the SDK that are for the executor. */
  readonly onReady: (replica: Replica['id']) => void;
  readonly onAudit: (replica: Replica['id'], event: unknown) => void;
}

/** How often the clock is compared with itself, and what counts as a jump. */
const CLOCK = { everyMs: 1_000, jumpMs: 2_000 } as const;
const USAGE_EVERY_MS = 2_000;

export interface Watch {
  /** Looks at everything that is due. Cheap when nothing is. */
  look(): void;
  /** A gateway suspects this replica: it is asked at once whether it is ready and alive. */
  suspect(replica: Replica['id']): void;
  /** Looks at these dependencies and at all that need them at the next `look` (early wake). */
  hurry(): void;
  close(): void;
}

export function startWatch(ports: WatchPorts): Watch {
  const { clock } = ports.world;
  const due = new Map<string, number>();
  const busy = new Set<string>();
  const suspects = new Set<Replica['id']>();
  const stops = [
    ports.world.runtime.onEvent((event) => {
      if (event.kind !== 'exited') return;
      const atMs = clock.monotonicMs();
      ports.put({ kind: 'exited', atMs, replica: event.replica, exit: event.exit });
    }),
    listenToGateways(ports),
  ];
  const clockTrack = { wall: clock.nowMs(), mono: clock.monotonicMs() };

  function every(key: string, intervalMs: number, look: () => Promise<void>): void {
    const nowMs = clock.monotonicMs();
    const at = due.get(key);
    if (at === undefined) {
      // The first look is spread by a hash of the key (W2), at most one interval away.
      due.set(key, nowMs + spread(key) * Math.min(intervalMs, 250));
      return;
    }
    if (nowMs < at || busy.has(key)) return;
    due.set(key, nowMs + intervalMs);
    busy.add(key);
    void look()
      .catch((error: unknown) => ports.world.log.warn('a look failed', { key, error }))
      .finally(() => busy.delete(key));
  }

  return {
    look() {
      watchClock(ports, clockTrack);
      const keep = new Set<string>();
      const seen = (key: string, intervalMs: number, look: () => Promise<void>): void => {
        keep.add(key);
        every(key, intervalMs, look);
      };
      watchReplicas(ports, seen, suspects);
      watchDependencies(ports, seen);
      watchControls(ports, seen);
      watchEvidence(ports, seen);
      for (const key of due.keys()) if (!keep.has(key)) due.delete(key);
      for (const id of suspects) if (!keep.has(`ready ${id}`)) suspects.delete(id);
    },
    suspect(replica) {
      suspects.add(replica);
      if (due.has(`ready ${replica}`)) due.set(`ready ${replica}`, 0);
    },
    hurry() {
      for (const key of due.keys()) if (!key.startsWith('check ')) due.set(key, 0);
    },
    close() {
      for (const stop of stops) stop();
    },
  };
}

type Every = (key: string, intervalMs: number, look: () => Promise<void>) => void;

function spread(key: string): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < key.length; i += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 16_777_619) >>> 0;
  }
  // Names that differ in their last letter alone must end far apart.
  hash = Math.imul(hash ^ (hash >>> 16), 2_246_822_507);
  hash = Math.imul(hash ^ (hash >>> 13), 3_266_489_909);
  return ((hash ^ (hash >>> 16)) >>> 0) / 4_294_967_296;
}

function listenToGateways(ports: WatchPorts): () => void {
  const { clock, gateways } = ports.world;
  return gateways.onSignal((signal) => {
    const atMs = clock.monotonicMs();
    switch (signal.kind) {
      case 'traffic':
        ports.put({ kind: 'traffic', atMs, cells: signal.cells });
        return;
      case 'event':
        ports.put({ kind: 'gateway', atMs, event: signal.event });
        return;
      case 'edge':
        // For the metrics alone: the loop judges by `traffic`.
        return;
      case 'heartbeat':
        ports.put({ kind: 'heartbeat', atMs, replica: signal.replica, beat: signal.beat });
        return;
      case 'ready':
        ports.onReady(signal.replica);
        return;
      case 'audit':
        ports.onAudit(signal.replica, signal.event);
    }
  });
}

function watchClock(ports: WatchPorts, last: { wall: number; mono: number }): void {
  const { clock } = ports.world;
  const mono = clock.monotonicMs();
  if (mono - last.mono < CLOCK.everyMs) return;
  const wall = clock.nowMs();
  const byMs = wall - last.wall - (mono - last.mono);
  if (Math.abs(byMs) > CLOCK.jumpMs) ports.put({ kind: 'clock-jumped', atMs: mono, byMs });
  last.wall = wall;
  last.mono = mono;
}

function watchReplicas(ports: WatchPorts, every: Every, suspects: Set<Replica['id']>): void {
  const manifest = ports.manifest();
  for (const replica of ports.fleet().replicas.values()) {
    const spec = manifest.services.get(replica.service);
    if (spec === undefined || replica.endpoint === undefined) continue;
    // A starting replica is looked at by the run that started it.
    if (replica.phase !== 'ready') continue;
    every(`ready ${replica.id}`, spec.readiness.intervalMs, async () => {
      await lookAt(ports, replica, suspects);
    });
    every(`usage ${replica.id}`, USAGE_EVERY_MS, async () => {
      const usage = ports.world.runtime.usage(replica.id);
      const atMs = ports.world.clock.monotonicMs();
      if (usage !== undefined) ports.put({ kind: 'usage', atMs, replica: replica.id, ...usage });
    });
  }
}

/** W3: who is ready is alive; only who is not is asked whether it lives. */
async function lookAt(
  ports: WatchPorts,
  replica: Replica,
  suspects: Set<Replica['id']>,
): Promise<void> {
  const spec = ports.manifest().services.get(replica.service);
  const { endpoint } = replica;
  if (spec === undefined || endpoint === undefined) return;
  const same = sameProbe(spec.readiness, spec.liveness);
  const ask = (probe: 'ready' | 'live'): Promise<ProbeResult> =>
    ports.world.probes.probe(endpoint, probe === 'ready' ? spec.readiness : spec.liveness);
  const put = (probe: 'ready' | 'live', result: ProbeResult): void => {
    const atMs = ports.world.clock.monotonicMs();
    ports.put({ kind: 'probe', atMs, replica: replica.id, probe, result });
  };
  // A suspect is asked both at once, so that a hang is not found one timeout later.
  const early = suspects.has(replica.id) && !same ? ask('live') : undefined;
  const ready = await ask('ready');
  put('ready', ready);
  if (ready.kind === 'ok' || same) {
    suspects.delete(replica.id);
    put('live', ready);
    await early;
    return;
  }
  suspects.add(replica.id);
  put('live', await (early ?? ask('live')));
}

function sameProbe(
  a: { readonly kind: string; readonly path: string },
  b: { readonly kind: string; readonly path: string },
): boolean {
  return a.kind === b.kind && (a.kind === 'tcp' || a.path === b.path);
}

function watchDependencies(ports: WatchPorts, every: Every): void {
  for (const spec of ports.manifest().dependencies.values()) {
    every(`dependency ${spec.name}`, spec.intervalMs, async () => {
      const result = await ports.world.probes.dependency(spec.name, spec.timeoutMs);
      const atMs = ports.world.clock.monotonicMs();
      ports.put({ kind: 'dependency', atMs, dependency: spec.name, result });
    });
  }
}

const EVIDENCE_EVERY_MS = 2_000;

function watchEvidence(ports: WatchPorts, every: Every): void {
  every('evidence', EVIDENCE_EVERY_MS, async () => {
    const troubles = ports.world.ledger.troubles();
    ports.put({ kind: 'evidence', atMs: ports.world.clock.monotonicMs(), troubles });
  });
}

function watchControls(ports: WatchPorts, every: Every): void {
  for (const check of ports.manifest().compliance.checks) {
    every(`check ${check.id}`, check.intervalMs, async () => {
      const result = await ports.world.controls.measure(check.id);
      const atMs = ports.world.clock.monotonicMs();
      ports.put({ kind: 'check', atMs, check: check.id, result });
    });
  }
}
