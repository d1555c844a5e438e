// What does a look from outside say about the simulated machine? The truth, unless the simulation
// has told the probe to lie.
//
//   SP1. A probe answers within its timeout, never throws, and answers no dead incarnation.
import type { DependencyName, ServiceName } from '../../model/ids.ts';
import type { ProbeSpec } from '../../model/manifest.ts';
import type { Endpoint } from '../../model/replica.ts';
import type { ProbeResult } from '../../model/signal.ts';
import type { Probes } from '../probes.ts';
import type { Life, SimClock } from './clock.ts';
import type { Machine } from './machine.ts';
import { unanswered } from './runtime.ts';

export interface SimProbesSetup {
  readonly machine: Machine;
  readonly clock: SimClock;
  readonly life: Life;
  /** The path that asks for readiness; any other asks for life alone. */
  readonly readyPath: string;
  readonly providers: ReadonlyMap<DependencyName, ServiceName>;
}

const OK: ProbeResult = { kind: 'ok', tookMs: 1 };

export function openSimProbes(setup: SimProbesSetup): Probes {
  const { machine, life } = setup;
  const clock = setup.clock.ownedBy(life);
  async function timeout(afterMs: number): Promise<ProbeResult> {
    await clock.sleep(afterMs);
    return { kind: 'timeout', afterMs };
  }
  return {
    async probe(endpoint, spec) {
      if (life.dead) return unanswered();
      const seen = look(setup, endpoint, spec);
      return seen.kind === 'timeout' ? timeout(spec.timeoutMs) : seen;
    },
    async dependency(name, timeoutMs) {
      if (life.dead) return unanswered();
      const provider = setup.providers.get(name);
      const [process] = provider === undefined ? [] : machine.alive(provider);
      if (process === undefined || !machine.isUp(process)) {
        return { kind: 'unreachable', detail: 'connection refused' };
      }
      return process.hung ? timeout(timeoutMs) : OK;
    },
  };
}

function look(setup: SimProbesSetup, endpoint: Endpoint, spec: ProbeSpec): ProbeResult {
  const { machine } = setup;
  const process = machine.at(endpoint.port);
  if (process === undefined || !machine.isUp(process)) {
    return { kind: 'unreachable', detail: 'connection refused' };
  }
  const lie = machine.lies.get(process.id) ?? machine.lies.get(process.service);
  if (process.hung || lie === 'timeout') return { kind: 'timeout', afterMs: spec.timeoutMs };
  if (lie === 'refused') return { kind: 'refused', tookMs: 1, detail: 'status 404' };
  if (spec.path !== setup.readyPath) return OK;
  if (machine.releaseKinds.get(process.release) === 'never-ready') {
    return { kind: 'refused', tookMs: 1, detail: 'status 503: warming up' };
  }
  if (!machine.hasNeeds(process.service)) {
    return { kind: 'refused', tookMs: 1, detail: 'status 503: its dependency is missing' };
  }
  return OK;
}
