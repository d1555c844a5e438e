// How does a program speak with the control plane? Typed calls over fetch, one a route of
// `routes.ts`, and the event stream that resumes by itself.
//
//   CL1. A problem document becomes the KinError that it was; no connection is
//        KIN_API_UNREACHABLE.
//   CL2. The token goes to loopback only, and never into an error.
//   CL3. `events` goes on after a cut from the last event that it gave out, none twice.
import { KinError, messageOf } from '../model/errors.ts';
import type {
  ApplyAnswer,
  ApprovalSummary,
  AuditReport,
  DeployAnswer,
  DrillAnswer,
  DrillSpec,
  IncidentStory,
  IncidentSummary,
  KeyAnswer,
  LedgerEntry,
  LedgerHead,
  LedgerProof,
  LogPart,
  PauseAnswer,
  ReleaseList,
  RunAnswer,
  RunStory,
  RunSummary,
  ScaleAnswer,
  Status,
  StoryEvent,
  TenantSummary,
} from './contract.ts';
import type { HoldAnswer, HoldOrder } from './hold-contract.ts';
import { evidenceClient } from './evidence-client.ts';
import type { EvidenceClient } from './evidence-client.ts';
import { isCode } from './failure.ts';
import type { ManifestSource, ShutdownMode } from './port.ts';
import { sseMessages } from './sse.ts';

export interface ClientOptions {
  readonly url: string;
  readonly token: string;
  /** Name that the caller gives itself, for the record. */
  readonly actor?: string;
  readonly timeoutMs?: number;
}

export type StreamItem =
  | { readonly kind: 'story'; readonly event: StoryEvent }
  | { readonly kind: 'status'; readonly status: Status }
  | { readonly kind: 'closed'; readonly reason: string };

export interface ControlClient {
  readonly evidence: EvidenceClient;
  readonly status: () => Promise<Status>;
  readonly incidents: (limit: number) => Promise<readonly IncidentSummary[]>;
  readonly explain: (id: string) => Promise<IncidentStory>;
  readonly runs: (limit: number) => Promise<readonly RunSummary[]>;
  readonly run: (id: string) => Promise<RunStory>;
  readonly approvals: (all: boolean) => Promise<readonly ApprovalSummary[]>;
  readonly decide: (id: string, decision: 'approve' | 'deny') => Promise<ApprovalSummary>;
  readonly releases: (service: string) => Promise<ReleaseList>;
  readonly deploy: (service: string, path: string) => Promise<DeployAnswer>;
  readonly rollback: (service: string) => Promise<RunAnswer>;
  readonly scale: (service: string, replicas: number) => Promise<ScaleAnswer>;
  readonly pause: (service: string | undefined) => Promise<PauseAnswer>;
  readonly resume: (service: string | undefined) => Promise<PauseAnswer>;
  readonly audit: () => Promise<AuditReport>;
  readonly story: (after: number, limit: number) => Promise<readonly StoryEvent[]>;
  readonly ledgerHead: () => Promise<LedgerHead>;
  readonly ledgerEntries: (from: number, limit: number) => Promise<readonly LedgerEntry[]>;
  readonly ledgerProve: (index: number) => Promise<LedgerProof>;
  readonly tenants: () => Promise<readonly TenantSummary[]>;
  readonly createKey: (tenant: string, roles?: readonly string[]) => Promise<KeyAnswer>;
  readonly revokeKey: (id: string) => Promise<{ readonly revoked: string }>;
  readonly liftQuarantine: (
    tenant: string,
    route: string,
  ) => Promise<{ readonly lifted: readonly string[] }>;
  readonly holdTenant: (tenant: string, order: HoldOrder) => Promise<HoldAnswer>;
  readonly releaseTenant: (tenant: string) => Promise<HoldAnswer>;
  readonly applyManifest: (source: ManifestSource, dryRun: boolean) => Promise<ApplyAnswer>;
  readonly logs: (target: string, bytes: number) => Promise<readonly LogPart[]>;
  readonly drills: () => Promise<readonly DrillSpec[]>;
  readonly drill: (name: string, target: string) => Promise<DrillAnswer>;
  readonly shutdown: (mode: ShutdownMode) => Promise<{ readonly mode: ShutdownMode }>;
  /**
   * One connection; ends when the server or the signal ends it. `after`: resume behind this seq.
   */
  readonly stream: (
    after: number | undefined,
    signal: AbortSignal,
  ) => AsyncGenerator<StreamItem, void, undefined>;
}

export function controlClient(options: ClientOptions): ControlClient {
  assertLoopback(options.url);
  const get = <T>(path: string): Promise<T> => call<T>(options, 'GET', path);
  const post = <T>(path: string, body: unknown = {}): Promise<T> =>
    call<T>(options, 'POST', path, body);
  const of = (service: string): string => `/v1/services/${encodeURIComponent(service)}`;
  const maybeOf = (service: string | undefined, act: string): string =>
    service === undefined ? `/v1/${act}` : `${of(service)}/${act}`;
  return {
    evidence: evidenceClient({
      get,
      post,
      remove: (path) => call(options, 'DELETE', path),
      pieces: (path, body) => pieces(options, path, body),
    }),
    status: () => get('/v1/status'),
    incidents: (limit) => get(`/v1/incidents?limit=${limit}`),
    explain: (id) => get(`/v1/incidents/${encodeURIComponent(id)}`),
    runs: (limit) => get(`/v1/runs?limit=${limit}`),
    run: (id) => get(`/v1/runs/${encodeURIComponent(id)}`),
    approvals: (all) => get(`/v1/approvals?all=${all}`),
    decide: (id, decision) => post(`/v1/approvals/${encodeURIComponent(id)}`, { decision }),
    releases: (service) => get(`${of(service)}/releases`),
    deploy: (service, path) => post(`${of(service)}/deploy`, { path }),
    rollback: (service) => post(`${of(service)}/rollback`),
    scale: (service, replicas) => post(`${of(service)}/scale`, { replicas }),
    pause: (service) => post(maybeOf(service, 'pause')),
    resume: (service) => post(maybeOf(service, 'resume')),
    audit: () => post('/v1/audit'),
    story: (after, limit) => get(`/v1/story?after=${after}&limit=${limit}`),
    ledgerHead: () => get('/v1/ledger/head'),
    ledgerEntries: (from, limit) => get(`/v1/ledger/entries?from=${from}&limit=${limit}`),
    ledgerProve: (index) => get(`/v1/ledger/proofs/${index}`),
    tenants: () => get('/v1/tenants'),
    createKey: (tenant, roles = []) => {
      const query = roles.length === 0 ? '' : `?roles=${encodeURIComponent(roles.join(','))}`;
      return post(`/v1/tenants/${encodeURIComponent(tenant)}/keys${query}`);
    },
    revokeKey: (id) => call(options, 'DELETE', `/v1/keys/${encodeURIComponent(id)}`),
    liftQuarantine: (tenant, route) =>
      post(`/v1/tenants/${encodeURIComponent(tenant)}/lift`, { route }),
    holdTenant: (tenant, order) =>
      post(`/v1/tenants/${encodeURIComponent(tenant)}/quarantine`, order),
    releaseTenant: (tenant) =>
      call(options, 'DELETE', `/v1/tenants/${encodeURIComponent(tenant)}/quarantine`),
    applyManifest: (source, dryRun) => post('/v1/manifest', { ...source, dryRun }),
    logs: (target, bytes) => get(`/v1/logs/${encodeURIComponent(target)}?bytes=${bytes}`),
    drills: () => get('/v1/drills'),
    drill: (name, target) => post('/v1/drills', { name, target }),
    shutdown: (mode) => post('/v1/shutdown', { mode }),
    stream: (after, signal) => stream(options, after, signal),
  };
}

/** The answer's shape is the server's promise: it is held to the contract by its own tests. */
async function call<T>(
  options: ClientOptions,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  const init: RequestInit = {
    method,
    headers: { ...headersOf(options), ...(body === undefined ? {} : JSON_TYPE) },
    redirect: 'error',
    signal: AbortSignal.timeout(options.timeoutMs ?? 30_000),
  };
  const answer = await send(options, path, body === undefined ? init : withBody(init, body));
  const text = await answer.text().catch((error: unknown) => {
    throw unreachable(options.url, error);
  });
  if (!answer.ok) throw problemError(answer.status, text);
  return JSON.parse(text) as T;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const withBody = (init: RequestInit, body: unknown): RequestInit => ({
  ...init,
  body: JSON.stringify(body),
});

/** An answer that may be long, piece by piece. */
async function* pieces(
  options: ClientOptions,
  path: string,
  body: unknown,
): AsyncGenerator<string, void, undefined> {
  const headers = { ...headersOf(options), ...JSON_TYPE };
  const init = withBody({ method: 'POST', headers, redirect: 'error' }, body);
  const answer = await send(options, path, init);
  if (!answer.ok) throw problemError(answer.status, await answer.text());
  const decoder = new TextDecoder();
  try {
    for await (const part of answer.body ?? []) yield decoder.decode(part, { stream: true });
  } catch (error) {
    throw unreachable(options.url, error);
  }
}

async function* stream(
  options: ClientOptions,
  after: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<StreamItem, void, undefined> {
  const resume = after === undefined ? {} : { 'last-event-id': String(after) };
  const answer = await send(options, '/v1/events', {
    headers: { ...headersOf(options), accept: 'text/event-stream', ...resume },
    redirect: 'error',
    signal,
  });
  if (!answer.ok) throw problemError(answer.status, await answer.text());
  if (answer.body === null) return;
  try {
    for await (const { event, data } of sseMessages(answer.body)) {
      const value: unknown = JSON.parse(data);
      if (event === 'story') yield { kind: 'story', event: value as StoryEvent };
      else if (event === 'status') yield { kind: 'status', status: value as Status };
      else if (event === 'closed') {
        yield { kind: 'closed', reason: (value as { reason: string }).reason };
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw unreachable(options.url, error);
  }
}

export interface FollowOptions {
  readonly after: number | undefined;
  readonly signal: AbortSignal;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Told when the connection is lost, before it is tried again. */
  readonly onLost: (error: KinError | undefined) => void;
}

/** CL3. Goes on until the signal; waits between tries 250 ms, doubling up to 4 s. */
export async function* followEvents(
  client: Pick<ControlClient, 'stream'>,
  options: FollowOptions,
): AsyncGenerator<StreamItem, void, undefined> {
  let last = options.after;
  let waitMs = 250;
  while (!options.signal.aborted) {
    let lost: KinError | undefined;
    try {
      for await (const item of client.stream(last, options.signal)) {
        waitMs = 250;
        if (item.kind === 'story') last = Math.max(last ?? 0, item.event.seq);
        yield item;
      }
    } catch (error) {
      if (!(error instanceof KinError) || error.code !== 'KIN_API_UNREACHABLE') throw error;
      lost = error;
    }
    if (options.signal.aborted) return;
    options.onLost(lost);
    await options.sleep(waitMs, options.signal).catch(() => undefined);
    waitMs = Math.min(4_000, waitMs * 2);
  }
}

function headersOf(options: ClientOptions): Record<string, string> {
  const actor = options.actor === undefined ? {} : { 'kintsugi-actor': options.actor };
  return { authorization: `Bearer ${options.token}`, ...actor };
}

async function send(options: ClientOptions, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(new URL(path, options.url), init);
  } catch (error) {
    throw unreachable(options.url, error);
  }
}

/** CL2. A run.json that was tampered with must not send the token elsewhere. */
function assertLoopback(url: string): void {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) return;
  throw new KinError(
    'KIN_STATE_FILE_INVALID',
    `the control API is said to be at ${url}, which is not on this machine's loopback`,
    'Stop Kintsugi, delete run.json in the state folder and start it again.',
  );
}

/** CL1. */
function problemError(status: number, text: string): KinError {
  try {
    const problem = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const { code, detail, fix } = problem as Readonly<Record<'code' | 'detail' | 'fix', unknown>>;
    if (typeof code === 'string' && isCode(code)) {
      return new KinError(code, String(detail), String(fix));
    }
  } catch {
    // Not our problem document: told below.
  }
  return new KinError(
    'KIN_API_UNREACHABLE',
    `something that is not the control API answered ${status}`,
    'Check that the control port belongs to Kintsugi (kintsugi status shows it).',
  );
}

function unreachable(url: string, error: unknown): KinError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return new KinError(
    'KIN_API_UNREACHABLE',
    `the control API at ${url} does not answer: ${messageOf(cause)}`,
    'If it was just killed, init restarts it within seconds: try again. Else see "kintsugi logs ' +
      'controller".',
    { cause: error },
  );
}
