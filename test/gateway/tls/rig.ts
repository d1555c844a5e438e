// A TLS front on real sockets with certificates of its own authority. No key is kept: all of it
// lives in one temporary folder for the time of the test.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { openHttpServer, openUpstreams } from '../../../src/gateway/http/server.ts';
import type { HttpServer, HttpServerSetup } from '../../../src/gateway/http/server.ts';
import type {
  Decision,
  ExchangeEnd,
  ExchangeView,
  Hooks,
  Outcome,
} from '../../../src/gateway/http/hooks.ts';
import type { Refusal } from '../../../src/gateway/http/refusal.ts';
import type { UpstreamPool } from '../../../src/gateway/http/upstream-pool.ts';
import { trustPeers } from '../../../src/gateway/proxy-protocol.ts';
import { Certificates } from '../../../src/gateway/tls/certificates.ts';
import type { CertificateState } from '../../../src/gateway/tls/certificates.ts';
import type { CertificateFiles, TlsSettings } from '../../../src/gateway/tls/settings.ts';
import { openTickets } from '../../../src/gateway/tls/tickets.ts';
import { issue } from './x509.ts';
import type { AltName } from './x509.ts';

export interface Authority {
  readonly folder: string;
  readonly ca: string;
  issue(name: string, options?: IssueOptions): CertificateFiles;
  close(): void;
}

export interface IssueOptions {
  readonly alt?: readonly AltName[];
  /** Days from now; may be negative. */
  readonly days?: number;
  readonly fromDays?: number;
}

const DAY_MS = 86_400_000;
export const dns = (value: string): AltName => ({ kind: 'dns', value });

/** A root of its own in a temporary folder. */
export function openAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'kin-tls-'));
  const nowMs = Date.now();
  const times = { fromMs: nowMs - 400 * DAY_MS, untilMs: nowMs + 400 * DAY_MS };
  const root = issue({ name: 'root', alt: [], isCa: true, ...times });
  const ca = join(folder, 'ca.pem');
  writeFileSync(ca, root.pem);
  return {
    folder,
    ca,
    issue(name, { alt = [dns('api.example')], days = 90, fromDays } = {}) {
      const untilMs = nowMs + days * DAY_MS;
      const fromMs = fromDays === undefined ? times.fromMs : nowMs + fromDays * DAY_MS;
      const made = issue({ name, alt, isCa: false, fromMs, untilMs }, root);
      const files = { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
      writeFileSync(files.cert, made.pem);
      writeFileSync(files.key, made.keyPem, { mode: 0o600 });
      // One that was there keeps its mode.
      chmodSync(files.key, 0o600);
      return { ...files, hosts: [] };
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export interface FrontOptions extends Partial<TlsSettings> {
  readonly setup?: Partial<HttpServerSetup>;
  readonly proxyFrom?: readonly string[];
  readonly plain?: boolean;
  readonly nowMs?: () => number;
  onRequestHead?(exchange: ExchangeView, front: TestFront): Decision | Promise<Decision>;
}

export interface TestFront {
  readonly port: number;
  readonly server: HttpServer;
  readonly certificates: Certificates | undefined;
  readonly told: CertificateState[];
  readonly views: ExchangeView[];
  readonly refusals: Refusal[];
  readonly arrivals: string[];
  readonly ends: ExchangeEnd[];
  readonly outcomes: Outcome[];
  readonly bugs: unknown[];
  pool(port: number): UpstreamPool;
  close(): Promise<void>;
}

export const ANSWER: Decision = {
  kind: 'answer',
  status: 200,
  headers: 'content-type: text/plain\r\n',
  body: 'hello',
};

export async function openFront(
  authority: Authority,
  certificates: readonly [CertificateFiles, ...CertificateFiles[]],
  options: FrontOptions = {},
): Promise<TestFront> {
  const told: CertificateState[] = [];
  const views: ExchangeView[] = [];
  const refusals: Refusal[] = [];
  const arrivals: string[] = [];
  const ends: ExchangeEnd[] = [];
  const outcomes: Outcome[] = [];
  const bugs: unknown[] = [];
  const { clientCa, clientAuth = 'none', minVersion = '1.2', setup, proxyFrom } = options;
  const settings = { certificates, clientCa, clientAuth, minVersion, redirectPort: 0 };
  const upstreams = openUpstreams(10);
  const pools = new Map<number, UpstreamPool>();
  const hooks: Hooks = {
    onRequestHead: (exchange) => {
      views.push(exchange);
      return options.onRequestHead?.(exchange, front) ?? ANSWER;
    },
    onAttemptEnd: (_exchange, outcome) => {
      outcomes.push({ ...outcome });
      return undefined;
    },
    onExchangeEnd: (_exchange, end) => void ends.push({ ...end }),
    onRefused: (refusal) => void refusals.push(refusal),
    onBug: (error) => void bugs.push(error),
  };
  const store =
    options.plain === true
      ? undefined
      : new Certificates(settings, {
          nowMs: options.nowMs ?? Date.now,
          tickets: openTickets(join(authority.folder, 'state'), (text) => bugs.push(text)),
          tell: (state) => void told.push(state),
          renewed: () => {
            if (store !== undefined) server.renew(store);
          },
          lookMs: 1_000_000,
        });
  const trust = trustPeers(proxyFrom ?? []);
  const server = await openHttpServer(
    {
      host: '127.0.0.1',
      port: 0,
      reusePort: false,
      connectionsMax: 100,
      tickMs: 10,
      ...(store === undefined ? {} : { tls: { certificates: store, clientAuth } }),
      ...(proxyFrom === undefined || trust.kind === 'refused' ? {} : { trusted: trust.peers }),
      onArrivalRefused: (address, fault, detail) => {
        arrivals.push(`${address} ${fault} ${detail}`.trim());
      },
      ...setup,
    },
    hooks,
  );
  const front: TestFront = {
    port: server.port,
    server,
    certificates: store,
    told,
    views,
    refusals,
    arrivals,
    ends,
    outcomes,
    bugs,
    pool(port) {
      const known = pools.get(port) ?? upstreams.pool('127.0.0.1', port);
      pools.set(port, known);
      return known;
    },
    async close() {
      store?.close();
      await server.stop(0);
      for (const pool of pools.values()) pool.close();
    },
  };
  store?.start();
  return front;
}

export interface SecureClient {
  readonly socket: TLSSocket;
  text: string;
  closed: boolean;
  error: string;
  session: Buffer | undefined;
  until(pattern: RegExp): Promise<string>;
  untilClosed(): Promise<void>;
}

/** Resolves once the handshake is done; rejects when it fails. */
export async function openClient(
  port: number,
  authority: Authority,
  options: ConnectionOptions = {},
): Promise<SecureClient> {
  const ca = readFileSync(authority.ca);
  const servername = 'api.example';
  const socket = connectTls({ host: '127.0.0.1', port, ca, servername, ...options });
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const client: SecureClient = {
    socket,
    text: '',
    closed: false,
    error: '',
    session: undefined,
    async until(pattern) {
      while (!pattern.test(client.text)) {
        if (client.closed) throw new Error(`closed (${client.error}) with ${client.text}`);
        await changed.promise;
      }
      return client.text;
    },
    async untilClosed() {
      while (!client.closed) await changed.promise;
    },
  };
  socket.on('data', (chunk: Buffer) => {
    client.text += chunk.toString('latin1');
    wake();
  });
  socket.on('session', (session: Buffer) => {
    client.session = session;
    wake();
  });
  socket.on('error', (error) => {
    client.error = 'code' in error ? String(error.code) : error.message;
    wake();
  });
  socket.once('close', () => {
    client.closed = true;
    wake();
  });
  let secured = false;
  socket.once('secureConnect', () => {
    secured = true;
    wake();
  });
  while (!secured && !client.closed) await changed.promise;
  if (client.closed) throw new Error(`no handshake: ${client.error}`);
  return client;
}

export const GET = 'GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n';
