// How do we look at a replica or dependency from outside, as a client would?
//
//   PR1. A probe always answers within its timeout; it never throws.
import type { Endpoint } from '../model/replica.ts';
import type { ProbeSpec } from '../model/manifest.ts';
import type { ProbeResult } from '../model/signal.ts';
import type { DependencyName } from '../model/ids.ts';

export interface Probes {
  probe(endpoint: Endpoint, spec: ProbeSpec): Promise<ProbeResult>;
  /** Does the dependency answer a trivial question to the application's role? */
  dependency(name: DependencyName, timeoutMs: number): Promise<ProbeResult>;
}
