// What stands in front of the proxy in this worker? The listening port with or without TLS, the
// plain port that redirects to it, and the certificates, which are watched and reported.
//
//   FR1. With TLS set there is no plain way in: what cannot be served secured is not served.
//   FR2. How each certificate stands is told to the controller, and what is wrong is logged too.
import { KinError } from '../model/errors.ts';
import type { GatewayEvent } from '../model/signal.ts';
import type { Hooks } from './http/hooks.ts';
import { openHttpServer } from './http/server.ts';
import type { HttpServer } from './http/server.ts';
import { listenFault } from './listen.ts';
import { trustPeers } from './proxy-protocol.ts';
import type { TrustedPeers } from './proxy-protocol.ts';
import { Certificates } from './tls/certificates.ts';
import type { CertificateState } from './tls/certificates.ts';
import { redirectHooks } from './tls/redirect.ts';
import type { TlsSettings } from './tls/settings.ts';
import { openTickets } from './tls/tickets.ts';

const CONNECTIONS_MAX = 20_000;
const REDIRECT_CONNECTIONS_MAX = 2_000;
const TELL_MS = 60_000;

export interface FrontSettings {
  readonly host: string;
  readonly port: number;
  readonly stateFolder: string;
  readonly worker: string;
  readonly tls?: TlsSettings | undefined;
  readonly proxyFrom?: readonly string[];
}

export interface FrontDeps {
  readonly emit: (event: GatewayEvent) => void;
  readonly warn: (text: string) => void;
}

export interface GatewayFront {
  readonly port: number;
  /** 0: there is none. */
  readonly redirectPort: number;
  readonly connections: number;
  /** After it the controller listens: how each certificate stands is told from here on. */
  begin(): void;
  stop(deadlineMs: number): Promise<void>;
}

export async function openFront(
  settings: FrontSettings,
  hooks: Hooks,
  deps: FrontDeps,
): Promise<GatewayFront> {
  const { tls } = settings;
  const trusted = trustedOf(settings.proxyFrom ?? []);
  const servers: HttpServer[] = [];
  const certificates = tls === undefined ? undefined : openCertificates(settings, tls, deps);
  certificates?.onRenewed((renewed) => servers[0]?.renew(renewed));
  const refusals = new Refusals(deps.warn);
  const main = await listen(settings, settings.port, (at) =>
    openHttpServer(
      {
        ...at,
        connectionsMax: CONNECTIONS_MAX,
        ...(certificates === undefined || tls === undefined
          ? {}
          : { tls: { certificates: certificates.store, clientAuth: tls.clientAuth } }),
        ...(trusted === undefined ? {} : { trusted }),
        onArrivalRefused: (_address, fault) => refusals.add(fault),
      },
      hooks,
    ),
  );
  servers.push(main);
  try {
    if (tls !== undefined && tls.redirectPort !== 0) {
      servers.push(await openRedirect(settings, tls.redirectPort, main.port, trusted, deps));
    }
  } catch (error) {
    await main.stop(0);
    throw error;
  }
  return {
    port: main.port,
    redirectPort: servers[1]?.port ?? 0,
    get connections() {
      return main.connections;
    },
    begin: () => certificates?.store.start(),
    async stop(deadlineMs) {
      certificates?.store.close();
      refusals.close();
      await Promise.all(servers.map((server) => server.stop(deadlineMs)));
    },
  };
}

function openRedirect(
  settings: FrontSettings,
  port: number,
  to: number,
  trusted: TrustedPeers | undefined,
  { warn }: FrontDeps,
): Promise<HttpServer> {
  const onBug = (): void => warn('bug in the redirect to https');
  return listen(settings, port, (at) =>
    openHttpServer(
      {
        ...at,
        connectionsMax: REDIRECT_CONNECTIONS_MAX,
        ...(trusted === undefined ? {} : { trusted }),
      },
      redirectHooks(() => to, onBug),
    ),
  );
}

interface Held {
  readonly store: Certificates;
  onRenewed(act: (store: Certificates) => void): void;
}

function openCertificates(
  settings: FrontSettings,
  tls: TlsSettings,
  { emit, warn }: FrontDeps,
): Held {
  const { worker } = settings;
  let act: (store: Certificates) => void = () => undefined;
  const store: Certificates = new Certificates(tls, {
    nowMs: () => Date.now(),
    tickets: openTickets(settings.stateFolder, warn),
    tell: (state) => {
      emit(eventOf(worker, state));
      if (state.trouble !== undefined) warn(state.trouble);
      else if (state.daysLeft < 30) warn(`${state.file} ends in ${state.daysLeft} days`);
    },
    renewed: () => act(store),
  });
  return {
    store,
    onRenewed: (then) => {
      act = then;
    },
  };
}

function eventOf(worker: string, state: CertificateState): GatewayEvent {
  const { file, hosts, notAfterMs, daysLeft, trouble } = state;
  const event = { kind: 'certificate', worker, file, hosts, notAfterMs, daysLeft } as const;
  return trouble === undefined ? event : { ...event, trouble };
}

function trustedOf(networks: readonly string[]): TrustedPeers | undefined {
  if (networks.length === 0) return undefined;
  const trust = trustPeers(networks);
  if (trust.kind === 'peers') return trust.peers;
  throw new KinError(
    'KIN_GATEWAY_SETTING',
    `KINTSUGI_GATEWAY_PROXY_FROM has no network ${JSON.stringify(trust.cidr)}`,
    'Start the gateway with `kintsugi up`, which sets it.',
  );
}

async function listen(
  { host }: FrontSettings,
  port: number,
  open: (at: { host: string; port: number; reusePort: boolean }) => Promise<HttpServer>,
): Promise<HttpServer> {
  try {
    return await open({ host, port, reusePort: true });
  } catch (error) {
    throw listenFault(error, host, port);
  }
}

/** Connections that never became one, by why; told in one line a minute. */
class Refusals {
  readonly #warn: (text: string) => void;
  readonly #counts = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  add(fault: string): void {
    // A client that goes away by itself is no news.
    if (fault === 'closed') return;
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    this.#timer ??= setTimeout(() => this.#tell(), TELL_MS).unref();
  }

  #tell(): void {
    this.#timer = undefined;
    const counts = [...this.#counts].map(([fault, count]) => `${fault} ${count}`).join(', ');
    this.#counts.clear();
    if (counts !== '') this.#warn(`connections refused in the last minute: ${counts}`);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#tell();
  }
}
