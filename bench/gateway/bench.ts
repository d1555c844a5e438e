// What do the rows of this bench share? Options, which peers are there, one certificate, and the
// cores: the gateway under test has core 0 for itself, everything else shares the last one.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Bar, Options } from '../heal/bench.ts';
import { makeFolder } from '../heal/processes.ts';
import { hasTaskset, which } from './peers.ts';

export interface GatewayOptions extends Options {
  readonly install: boolean;
  /** Of the row `faults`; none: all. */
  readonly faults: readonly string[];
}

export interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  /** Both in one file, as haproxy wants it. */
  readonly bothPath: string;
}

export interface GatewayBench {
  readonly options: GatewayOptions;
  readonly say: (text: string) => void;
  /** Why a peer takes no part; undefined: it does. */
  readonly missing: (peer: 'nginx' | 'haproxy') => string | undefined;
  readonly certificate: () => Certificate | undefined;
}

export const GATEWAY_CORE = 0;
export const OTHER_CORE = Math.max(0, Math.min(availableParallelism(), 64) - 1);

export function openBench(options: GatewayOptions, say: (text: string) => void): GatewayBench {
  // What the bench starts inherits it, unless it is told otherwise.
  if (hasTaskset) spawnSync('taskset', ['-a', '-p', '-c', String(OTHER_CORE), `${process.pid}`]);
  const problem = options.install && options.peers ? install(say) : undefined;
  let certificate: Certificate | undefined;
  return {
    options,
    say,
    missing: (peer) => {
      if (!options.peers) return 'left out by --no-peers';
      if (which(peer) !== undefined) return undefined;
      return `${peer} is not installed${problem === undefined ? '' : ` (${problem})`}`;
    },
    certificate: () => (certificate ??= makeCertificate()),
  };
}

/** Debian's packages, where we may. Answers why not. */
function install(say: (text: string) => void): string | undefined {
  const wanted = [
    ['nginx', 'nginx-light'],
    ['haproxy', 'haproxy'],
    ['wrk', 'wrk'],
  ] as const;
  const packages = wanted.filter(([name]) => which(name) === undefined).map(([, name]) => name);
  if (packages.length === 0) return undefined;
  if (process.getuid?.() !== 0) return 'installing it needs root';
  const apt = which('apt-get');
  if (apt === undefined) return 'no apt-get here';
  say(`installs ${packages.join(' ')}`);
  // The bench starts its own; the distribution's service would only be in the way.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const run = (args: readonly string[]): boolean =>
    spawnSync(apt, args, { env, stdio: 'ignore', timeout: 180_000 }).status === 0;
  if (!run(['update'])) return 'apt-get update failed';
  const isFine = run(['install', '-y', '--no-install-recommends', ...packages]);
  return isFine ? undefined : 'apt-get install failed';
}

/** P-256, for a month and for this machine's loopback alone. */
function makeCertificate(): Certificate | undefined {
  if (which('openssl') === undefined) return undefined;
  const folder = makeFolder();
  const certPath = join(folder, 'cert.pem');
  const keyPath = join(folder, 'key.pem');
  const bothPath = join(folder, 'both.pem');
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '30', '-subj', '/CN=localhost', '-keyout', keyPath, '-out', certPath],
    ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
  ]);
  if (made.status !== 0) return undefined;
  const text = readFileSync(certPath, 'utf8') + readFileSync(keyPath, 'utf8');
  writeFileSync(bothPath, text, { mode: 0o600 });
  return { certPath, keyPath, bothPath };
}

export function bar(what: string, wanted: string, got: string, isMet: boolean): Bar {
  return { what, wanted, got, state: isMet ? 'met' : 'missed' };
}

export function unmeasured(what: string, wanted: string, reason: string): Bar {
  return { what, wanted, got: reason, state: 'not measured' };
}

/** The default, unless `--quick` or `--rounds` say otherwise. */
export function roundsOf(options: Options, usual: number, quick: number): number {
  return options.rounds ?? (options.quick ? quick : usual);
}
