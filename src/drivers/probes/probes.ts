// Does it answer, seen from outside as a client would see it? A fresh connection for every look at
// a replica, so that a process that no longer accepts is seen even while old connections live.
//
//   PB1. A probe answers within its timeout and never throws (PR1); no socket outlives it.
//   PB2. Of a long or endless answer only a little is read.
import { connect } from 'node:net';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { messageOf } from '../../model/errors.ts';
import type { Endpoint } from '../../model/replica.ts';
import type { ProbeSpec } from '../../model/manifest.ts';
import type { ProbeResult } from '../../model/signal.ts';
import type { Probes } from '../../world/probes.ts';
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

const BODY_MAX = 4096;
const DETAIL_MAX = 200;

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

function httpProbe(endpoint: Endpoint, spec: ProbeSpec): Promise<ProbeResult> {
  const { host, port } = endpoint;
  const { path, timeoutMs } = spec;
  const headers = { 'user-agent': 'kintsugi-probe', accept: 'application/json, */*;q=0.1' };
  return new Promise((resolve) => {
    const startedMs = performance.now();
    const tookMs = (): number => performance.now() - startedMs;
    let asked: ReturnType<typeof request> | undefined;
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      asked?.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ kind: 'timeout', afterMs: timeoutMs }), timeoutMs);
    try {
      // Without an agent each request has a connection of its own, closed after the answer.
      asked = request({ host, port, path, headers, agent: false }, (answer) => {
        readSome(answer).then(
          (body) => end(judge(answer.statusCode ?? 0, body, tookMs())),
          (error: unknown) => end(broken(error, tookMs())),
        );
      });
      asked.on('error', (error) => end(broken(error, tookMs())));
      asked.end();
    } catch (error) {
      end(unreachable(error));
    }
  });
}

async function readSome(answer: IncomingMessage): Promise<string> {
  let body = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer) {
    body += String(chunk);
    if (body.length >= BODY_MAX) break;
  }
  return body.slice(0, BODY_MAX);
}

function judge(status: number, body: string, tookMs: number): ProbeResult {
  if (status >= 200 && status < 400) return { kind: 'ok', tookMs };
  const down = downIn(body);
  const detail = down === '' ? `status ${status}` : `status ${status}, down: ${down}`;
  return { kind: 'refused', tookMs, detail: detail.slice(0, DETAIL_MAX) };
}

/** The dependencies that the replica itself calls down, as the SDK's readiness lists them. */
function downIn(body: string): string {
  try {
    const answer: unknown = JSON.parse(body);
    if (typeof answer !== 'object' || answer === null || !('dependencies' in answer)) return '';
    const { dependencies } = answer;
    if (typeof dependencies !== 'object' || dependencies === null) return '';
    const names = Object.entries(dependencies).filter(([, state]) => state === 'down');
    return names.map(([name]) => name.replace(/[^\x20-\x7e]/gu, '?')).join(', ');
  } catch {
    return '';
  }
}

/** Somebody answered, but not in HTTP: that is a "no" and not an absence. */
function broken(error: unknown, tookMs: number): ProbeResult {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (!code.startsWith('HPE_')) return unreachable(error);
  return { kind: 'refused', tookMs, detail: `not an HTTP answer: ${messageOf(error)}` };
}
