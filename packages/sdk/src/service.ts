// How does a plain HTTP server become a good citizen under Kintsugi? Wrap its request listener.
//
// V1. Probes are answered here, before the tenant check, and never reach the application.
// V2. Without a verified tenant the application is not called (401), unless it has no tenants.
// V3. Draining: no new keep-alive, everything inside finishes or hits the deadline, then exit 0.
// V4. While there is still work inside, a draining replica answers probes: it says "draining".
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import nodeModule from 'node:module';
import type { AddressInfo } from 'node:net';
import { completeAudit, type AuditEntry } from './audit.ts';
import { readEnvironment, type Environment, type Identity } from './environment.ts';
import { SdkError } from './errors.ts';
import { startHeartbeat, type Heartbeat } from './heartbeat.ts';
import { createInFlight, type InFlight } from './in-flight.ts';
import { createLogger, type Logger } from './log.ts';
import { createReadiness, type DependencyOptions, type Readiness } from './readiness.ts';
import { header, rememberTenant, tenantFromRequest, withContext } from './tenant.ts';
import type { Tenant, Trust } from './tenant.ts';

export interface ServiceOptions {
  /** What must work before this service can; default nothing. */
  readonly dependencies?: Readonly<Record<string, DependencyOptions>>;
  /**
   * `assertion` (default): only signed tenants. `headers`: plain headers are believed, for
   * development by hand. `none`: the service knows no tenants.
   */
  readonly trust?: Trust['kind'];
  /** How long a drain may take before open requests are cut, milliseconds; default 10 000. */
  readonly drainDeadlineMs?: number;
  /**
   * How long a drain goes on at least, milliseconds; default 0. Kintsugi stops the traffic before
   * it drains; behind a balancer that only watches /readyz, give it time to look.
   */
  readonly drainMinMs?: number;
  /** Runs after the last request of a drain: close pools, flush buffers. */
  readonly onStop?: () => Promise<void> | void;
  /** Default: the variables of this process. */
  readonly environment?: Environment;
  readonly logger?: Logger;
}

export interface Service {
  readonly identity: Identity;
  readonly log: Logger;
  /** Wraps the request listener of any framework. */
  handle(listener: RequestListener): RequestListener;
  /** Listens on HOST:PORT, installs SIGTERM and SIGINT, and becomes ready. */
  listen(server: Server): Promise<AddressInfo>;
  /** Drains and resolves; it does not exit the process (the signal handlers do). */
  drain(): Promise<DrainReport>;
  audit(entry: AuditEntry): 'queued' | 'dropped' | 'logged';
  /**
   * Call it when a dependency failed under a request: it is checked at once. With the response of
   * that request, before its head is sent, the gateway learns that a 5xx is not its fault.
   */
  suspect(dependency: string, response?: ServerResponse): void;
  readonly readiness: Pick<Readiness, 'status' | 'dependencies' | 'onChange'>;
}

export interface DrainReport {
  /** Requests that were cut at the deadline; 0 = all finished. */
  readonly cut: number;
}

/** Longer than any client keeps an idle connection, so that the client is the one to close it. */
const KEEP_ALIVE_MS = 75_000;
const FLUSH_MS = 500;

/** What the parts of one running service share. */
interface Parts {
  readonly environment: Environment;
  readonly trust: Trust;
  readonly log: Logger;
  readonly inFlight: InFlight;
  readonly readiness: Readiness;
  readonly heartbeat: Heartbeat | undefined;
}

export function createService(options: ServiceOptions = {}): Service {
  const environment = options.environment ?? readEnvironment();
  const { identity, socketPath } = environment;
  const trust = chooseTrust(options.trust ?? 'assertion', environment);
  const inFlight = createInFlight();
  const replica = identity.replica;
  const heartbeat =
    socketPath === undefined ? undefined : startHeartbeat({ socketPath, replica, inFlight });
  const readiness = createReadiness(options.dependencies ?? {});
  const log = options.logger ?? createLogger({ identity });
  const parts: Parts = { environment, trust, log, inFlight, readiness, heartbeat };
  readiness.onChange((status) => {
    heartbeat?.ready(status === 'ready');
    log.info(`readiness: ${status}`, { dependencies: readiness.dependencies() });
  });
  let server: Server | undefined;
  let draining: Promise<DrainReport> | undefined;
  const drain = (): Promise<DrainReport> => (draining ??= drainNow(parts, server, options));
  return {
    identity,
    log,
    readiness,
    handle: (listener) => (request, response) => serve(parts, listener, request, response),
    async listen(given) {
      server = given;
      const address = await listen(given, environment);
      exitAfterDrain(drain);
      readiness.started();
      keepCompiledCode();
      return address;
    },
    drain,
    audit(entry) {
      const event = completeAudit(entry, Date.now());
      const result = heartbeat?.audit(event) ?? 'logged';
      if (result !== 'queued') log.audit(entry.action, { event });
      return result;
    },
    suspect(dependency, response) {
      readiness.suspect(dependency);
      if (response !== undefined) blame(dependency, response);
    },
  };
}

/** Read by the gateway, which does not pass it on. */
const DEPENDENCY_FAILED = 'x-kintsugi-dependency-failed';

/** A name that is none, or an answer that has begun, says nothing rather than to break it. */
function blame(dependency: string, response: ServerResponse): void {
  const isName = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/u.test(dependency);
  if (isName && !response.headersSent) response.setHeader(DEPENDENCY_FAILED, dependency);
}

function chooseTrust(kind: Trust['kind'], environment: Environment): Trust {
  if (kind !== 'assertion') return { kind };
  const key = environment.assertionKey;
  if (key !== undefined) return { kind, key, service: environment.identity.service };
  throw new SdkError(
    'KIN_SDK_NO_KEY',
    'KINTSUGI_ASSERTION_KEY is not set, so no tenant can be verified. Start the service with ' +
      'Kintsugi, or choose trust: "headers" for development by hand.',
  );
}

function serve(
  parts: Parts,
  listener: RequestListener,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (answerProbe(parts, request, response)) return;
  let tenant: Tenant | undefined;
  if (parts.trust.kind !== 'none') {
    const verdict = tenantFromRequest(request, parts.trust, Date.now());
    if (verdict.kind === 'refused') {
      parts.log.warn('request refused', { reason: verdict.reason });
      return answer(response, 401, {
        type: 'about:blank',
        title: 'Unauthorized',
        status: 401,
        detail: 'The request carries no valid tenant assertion.',
        reason: verdict.reason,
      });
    }
    tenant = verdict.tenant;
    rememberTenant(request, tenant);
  }
  parts.inFlight.enter(response);
  if (parts.readiness.status() === 'draining') response.shouldKeepAlive = false;
  const requestId = tenant?.requestId ?? header(request, 'x-request-id');
  const traceparent = header(request, 'traceparent');
  withContext({ tenant, requestId, traceparent }, () => listener(request, response));
}

/** Returns whether it was a probe. Cached values only (R1), so that probing is free. */
function answerProbe(parts: Parts, request: IncomingMessage, response: ServerResponse): boolean {
  const url = request.url ?? '/';
  if (!url.startsWith('/healthz') && !url.startsWith('/readyz')) return false;
  const path = url.split('?', 1)[0];
  if (path === '/healthz') {
    answer(response, 200, { status: 'ok' });
    return true;
  }
  if (path !== '/readyz') return false;
  const status = parts.readiness.status();
  const dependencies = parts.readiness.dependencies();
  const inFlight = parts.inFlight.count();
  answer(response, status === 'ready' ? 200 : 503, { status, dependencies, inFlight });
  return true;
}

function answer(response: ServerResponse, status: number, body: object): void {
  const type = status === 401 ? 'application/problem+json' : 'application/json';
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}

async function listen(server: Server, environment: Environment): Promise<AddressInfo> {
  const { port, host } = environment;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen({ port, host }, () => listening.resolve());
  try {
    await listening.promise;
  } catch (cause) {
    throw new SdkError('KIN_SDK_LISTEN', `Cannot listen on ${host}:${port}.`, { cause });
  }
  server.off('error', listening.reject);
  return server.address() as AddressInfo;
}

/**
 * Node writes its compile cache at a clean exit only, so a replica that is always killed would
 * start cold for ever. Later, because right now the first requests matter more.
 */
function keepCompiledCode(): void {
  // The method is younger than the oldest Node that the SDK supports.
  setTimeout(() => nodeModule.flushCompileCache?.(), 2_000).unref();
}

function exitAfterDrain(drain: () => Promise<DrainReport>): void {
  const stop = async (): Promise<void> => {
    await drain();
    process.exit(0);
  };
  process.once('SIGTERM', () => void stop());
  process.once('SIGINT', () => void stop());
}

async function drainNow(
  parts: Parts,
  server: Server | undefined,
  options: ServiceOptions,
): Promise<DrainReport> {
  const { drainDeadlineMs = 10_000, drainMinMs = 0 } = options;
  parts.readiness.draining();
  for (const response of parts.inFlight.responses()) response.shouldKeepAlive = false;
  const deadline = Promise.withResolvers<void>();
  const timer = setTimeout(deadline.resolve, drainDeadlineMs);
  const quiet = Promise.all([pause(drainMinMs), empty(parts.inFlight)]);
  await Promise.race([quiet, deadline.promise]);
  clearTimeout(timer);
  const cut = parts.inFlight.count();
  server?.close();
  server?.closeAllConnections();
  if (cut > 0) parts.log.warn('drain deadline reached', { cut });
  parts.readiness.stop();
  await options.onStop?.();
  await parts.heartbeat?.flush(FLUSH_MS);
  await parts.heartbeat?.stop();
  return { cut };
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, delayMs));
}

function empty(inFlight: InFlight): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (inFlight.count() === 0) resolve();
    };
    inFlight.onChange(look);
    look();
  });
}
