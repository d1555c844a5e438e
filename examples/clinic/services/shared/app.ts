// How does one service of the clinic run? Probe → tenant → route → input → transaction →
// idempotency → handler → commit → audit → answer, the same for all three.
//
// P1. Every failure is one problem+json answer; an unknown one tells the caller nothing about us.
// P2. An access event is reported after the commit, for refusals and failures too.
// P3. Drill faults are not part of this code: it only offers two places where one may hook in,
//     and loads the module that does so if CLINIC_DRILLS=1 and not otherwise.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createService, readEnvironment, type Service } from '@kintsugi/sdk';
import { readBody, type Body } from './body.ts';
import { claimKey, readKey, storeAnswer, type KeyedRequest } from './idempotency.ts';
import { readInput } from './input.ts';
import { Problem, conflict, unprocessable } from './problem.ts';
import { createRouter, type Answer, type Exchange, type Match, type Route } from './router.ts';
import { codeOf, openTenantDatabase, type TenantDatabase } from './tenant-database.ts';

/** Where drills hook in. Returning true from `before` means: this request is taken care of. */
export interface Faults {
  wrap(listener: RequestListener): RequestListener;
  before(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<boolean>;
}

/** Parts of one running service. */
interface App {
  readonly name: string;
  readonly service: Service;
  readonly database: TenantDatabase;
  readonly router: ReturnType<typeof createRouter>;
  readonly faults: Faults | undefined;
}

/**
 * Not `import … from 'node:http'`: in Node 26 that evaluates every export, also the lazy ones that
 * load a whole HTTP client, and costs 20 ms of each start. A killed replica is back sooner.
 */
const { createServer } = process.getBuiltinModule('node:http');

const REQUEST_MS = 15_000;
const HEADERS_MS = 10_000;

export async function startApp(routes: readonly Route[]): Promise<void> {
  const trust = process.env['CLINIC_TRUST'] === 'headers' ? 'headers' : 'assertion';
  const environment = readEnvironment();
  const name = environment.identity.service;
  const url = process.env['DATABASE_URL'];
  const applicationName = environment.identity.replica;
  // Opened first, because the service starts to check its dependencies at once.
  const onLost = (): void => service.suspect('postgres');
  const database = openTenantDatabase({ url, applicationName, onLost });
  const service = createService({
    environment,
    trust,
    dependencies: { postgres: { check: () => database.ping() } },
    // Shorter than the time that Kintsugi leaves between SIGTERM and SIGKILL (5 s).
    drainDeadlineMs: 4_000,
    onStop: () => database.close(),
  });
  const drills = process.env['CLINIC_DRILLS'] === '1';
  const faults = drills ? (await import('../../drills/faults.ts')).createFaults() : undefined;
  const app: App = { name, service, database, router: createRouter(routes), faults };
  const listener = service.handle((request, response) => void serve(app, request, response));
  const server = createServer(faults === undefined ? listener : faults.wrap(listener));
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = HEADERS_MS;
  const { port } = await service.listen(server);
  service.log.info('listening', { port, drills, trust });
}

async function serve(app: App, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let match: Match | undefined;
  try {
    const target = new URL(request.url ?? '/', 'http://service.invalid');
    const body = await readBody(request);
    if (await app.faults?.before(request, response, body.value)) return;
    match = app.router(request.method ?? 'GET', target.pathname);
    const done = await perform(app, match, { request, target, body });
    audit(app.service, match.route, 'allowed', done.answer.resource, {});
    sendAnswer(response, done);
  } catch (error) {
    if (response.destroyed) return;
    const problem = problemOf(error);
    if (problem.status >= 500) app.service.log.error('request failed', { error });
    if (match !== undefined) {
      const outcome = problem.status >= 500 ? 'failed' : 'denied';
      audit(app.service, match.route, outcome, undefined, { status: problem.status });
    }
    sendProblem(request, response, problem);
  }
}

interface Incoming {
  readonly request: IncomingMessage;
  readonly target: URL;
  readonly body: Body;
}

interface Done {
  readonly answer: Answer;
  readonly replayed: boolean;
}

async function perform(app: App, match: Match, incoming: Incoming): Promise<Done> {
  const { request, target, body } = incoming;
  const { route, params } = match;
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const input = readInput(body.value ?? {});
  const exchange = { params, query: target.searchParams, input, header };
  if (route.method === 'GET') {
    return app.database.transaction('read', async (tx) => ({
      answer: await route.handle({ ...exchange, tx }),
      replayed: false,
    }));
  }
  const key = readKey(header('idempotency-key'), route.idempotency === 'required');
  return app.database.transaction('write', async (tx) => {
    const open: Exchange = { ...exchange, tx };
    if (key === undefined) return { answer: await route.handle(open), replayed: false };
    const { method } = route;
    const path = target.pathname;
    const keyed: KeyedRequest = { service: app.name, key, method, path, rawBody: body.raw };
    const stored = await claimKey(tx, keyed);
    if (stored !== undefined) return { answer: stored, replayed: true };
    const answer = await route.handle(open);
    await storeAnswer(tx, keyed, answer);
    return { answer, replayed: false };
  });
}

function audit(
  service: Service,
  route: Route,
  outcome: 'allowed' | 'denied' | 'failed',
  resource: Answer['resource'],
  detail: Readonly<Record<string, unknown>>,
): void {
  const touched = resource === undefined ? {} : { resource };
  service.audit({ action: route.action, outcome, ...touched, detail });
}

function sendAnswer(response: ServerResponse, { answer, replayed }: Done): void {
  const headers = {
    ...(answer.location === undefined ? {} : { location: answer.location }),
    ...(replayed ? { 'idempotency-replayed': 'true' } : {}),
  };
  if (answer.status === 204) response.writeHead(204, headers).end();
  else send(response, answer.status, 'application/json', answer.body, headers);
}

function sendProblem(request: IncomingMessage, response: ServerResponse, problem: Problem): void {
  if (response.headersSent) return void response.destroy();
  // A body that was not read to its end would be taken for the next request.
  const headers = request.complete ? problem.headers : { ...problem.headers, connection: 'close' };
  send(response, problem.status, 'application/problem+json', problem, headers);
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(text);
}

/** What a caller may know about an error. */
function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  switch (codeOf(error)) {
    case '23503':
      return unprocessable('It refers to something that does not exist.');
    case '23505':
      return conflict('It exists already.');
    case '23P01':
      return conflict('The practitioner has another appointment at that time.');
    case '40001':
    case '40P01':
      return conflict('Another change was faster. Try again.');
    default:
      return new Problem(500, 'Internal Server Error', 'The request could not be completed.');
  }
}
