// Does it answer, seen from outside as a client would see it? A fresh connection for every look at
// a replica, so that a process that no longer accepts is seen even while old connections live.
//
//   PB1. A probe answers within its timeout and never throws (PR1); no socket outlives it.
//   PB2. Of a long or endless answer only a little is read (http-probe.ts).
import { connect } from 'node:net';
import type { Endpoint } from '../../model/replica.ts';
import type { ProbeResult } from '../../model/signal.ts';
import type { Probes } from '../../world/probes.ts';
import { httpProbe } from './http-probe.ts';
import { openPostgresProbe } from './postgres-probe.ts';
import type { PostgresProbe } from './postgres-probe.ts';
import { unreachable } from './failures.ts';

export interface DependencyTarget {
  readonly kind: 'postgres' | 'tcp';
  /** As the application's role; references are resolved. */
  readonly url: string;
}

export interface OpenProbes extends Probes {
  /** Replaces the dependencies; what changed gets a new connection. */
  configure(dependencies: ReadonlyMap<string, DependencyTarget>): void;
  close(): Promise<void>;
}

export function openProbes(
  options: { readonly dependencies?: ReadonlyMap<string, DependencyTarget> } = {},
): OpenProbes {
  let targets = options.dependencies ?? new Map<string, DependencyTarget>();
  const sessions = new Map<string, PostgresProbe>();

  function session(url: string): PostgresProbe {
    let known = sessions.get(url);
    if (known === undefined) {
      known = openPostgresProbe(url);
      sessions.set(url, known);
    }
    return known;
  }

  return {
    probe: (endpoint, spec) =>
      spec.kind === 'tcp' ? tcpProbe(endpoint, spec.timeoutMs) : httpProbe(endpoint, spec),
    async dependency(name, timeoutMs) {
      const target = targets.get(name);
      if (target === undefined) return unreachable(`${name} is not configured`);
      if (target.kind === 'postgres') return await session(target.url).probe(timeoutMs);
      const endpoint = endpointOf(target.url);
      if (endpoint === undefined) return unreachable(`the address of ${name} has no host and port`);
      return await tcpProbe(endpoint, timeoutMs);
    },
    configure(dependencies) {
      targets = dependencies;
      const wanted = new Set([...dependencies.values()].map(({ url }) => url));
      for (const [url, open] of sessions) {
        if (wanted.has(url)) continue;
        sessions.delete(url);
        open.close();
      }
    },
    async close() {
      for (const open of sessions.values()) open.close();
      sessions.clear();
    },
  };
}

function endpointOf(url: string): Endpoint | undefined {
  const parsed = URL.parse(url);
  const port = Number(parsed?.port);
  if (parsed === null || parsed.hostname === '' || !(port > 0)) return undefined;
  return { host: parsed.hostname.replace(/^\[|\]$/gu, ''), port };
}

function tcpProbe(endpoint: Endpoint, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const startedMs = performance.now();
    const socket = connect({ host: endpoint.host, port: endpoint.port });
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ kind: 'timeout', afterMs: timeoutMs }), timeoutMs);
    socket.once('connect', () => end({ kind: 'ok', tookMs: performance.now() - startedMs }));
    socket.on('error', (error) => end(unreachable(error)));
  });
}
