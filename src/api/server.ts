// How does the control plane answer over HTTP? Loopback only, JSON, a token for everything, an
// OpenAPI 3.1 document of all of it. Requests become calls of the ports; nothing is decided here.
//
//   SV1. Everything is refused until `guard.ts` and `gate.ts` let it in, before a body is read.
//   SV2. Every failure is a problem document with a code, a fix and the request's id; a bug tells
//        nothing of itself.
//   SV3. What a caller sends is checked strictly: unknown fields are refused, not dropped.
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import swagger from '@fastify/swagger';
import { Ajv } from 'ajv';
import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import { KinError, messageOf } from '../model/errors.ts';
import { lateAccess } from '../tenancy/access.ts';
import { openNotes } from '../tenancy/notes.ts';
import type { AccessNotes, RecordPort } from '../tenancy/notes.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { Clock, Ids, Log } from '../world/clock.ts';
import { inside } from './caller.ts';
import type { Caller } from './caller.ts';
import { EventHub } from './events.ts';
import type { EventLimits } from './events.ts';
import { EVIDENCE_ROUTES } from './evidence-routes.ts';
import { asKinError, problemOf, toldOutside } from './failure.ts';
import { openGate } from './gate.ts';
import type { Gate, TenantOfKey } from './gate.ts';
import { actorOf, PUBLIC_PATHS, refusalOf } from './guard.ts';
import { callLimits, TooManyCalls } from './limits.ts';
import type { CallLimitOptions } from './limits.ts';
import { metricsText } from './metrics.ts';
import { openApiOptions, operationSchema } from './openapi.ts';
import type { ControlPort } from './port.ts';
import type { EvidenceParts, RawAnswer, Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { components } from './schema.ts';

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);
const BODY_BYTES = 1_310_720;

/** The depth of the ledger, and who else than the operator may look into it. */
export interface EvidenceApi extends EvidenceParts {
  readonly tenantOfKey: TenantOfKey;
  readonly nowMs: () => number;
  /** Durable when it resolves. Without it no private field is shown. */
  readonly record?: RecordPort;
}

export interface ControlApiOptions {
  readonly control: ControlPort;
  /** Without it there are no operations on it, and no principal but the operator. */
  readonly evidence?: EvidenceApi;
  /** From `ensureOperatorToken(stateDir)`. */
  readonly token: string;
  /** Loopback only. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly version: string;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly ids: Pick<Ids, 'next'>;
  readonly log: Log;
  readonly eventLimits?: EventLimits;
  /** Of each tenant and auditor. */
  readonly callLimits?: CallLimitOptions;
}

export interface ControlApi {
  readonly url: string;
  readonly port: number;
  /** Ends the streams and waits for the answers that are under way. */
  close(): Promise<void>;
}

export async function startControlApi(options: ControlApiOptions): Promise<ControlApi> {
  assertLoopback(options.host);
  const hub = new EventHub(options.control, options.clock, options.log, options.eventLimits);
  const address: { port: number } = { port: options.port };
  const { notes, gate } = gateOf(options);
  const callers = new WeakMap<FastifyRequest, Caller>();
  const letIn = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.header('x-request-id', request.id).header('cache-control', 'no-store');
    reply.header('x-content-type-options', 'nosniff');
    const refusal = refusalOf(request.headers, address.port);
    if (refusal !== undefined) throw refusal;
    const path = request.raw.url?.split('?', 1)[0] ?? '';
    if (PUBLIC_PATHS.has(path)) return;
    const { operation } = request.routeOptions.config as { readonly operation?: Route };
    const { principal, leave } = await gate.enter(request.headers, operation);
    callers.set(request, inside(principal, reply.raw, leave));
  };
  const problem = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendProblem(error, {
      request,
      reply,
      log: options.log,
      caller: callers.get(request)?.principal,
    });
  // SV1, SV2 for what is refused before there is a route, and so before the hooks.
  const unrouted = async (
    cause: unknown,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> => {
    try {
      await letIn(request, reply);
      problem(badPath(cause), request, reply);
    } catch (refusal) {
      problem(refusal, request, reply);
    }
  };
  const app = newApp(options, (cause, request, reply) => {
    void unrouted(cause, request, reply);
  });
  app.addHook('onRequest', letIn);
  app.setErrorHandler(problem);
  app.setNotFoundHandler((request) => {
    throw routeUnknown(request);
  });
  await app.register(swagger, openApiOptions(options.version));
  for (const schema of components()) app.addSchema(schema);
  const serve = { ...options, gate, callerOf: (request: FastifyRequest) => callers.get(request) };
  for (const route of routesOf(options)) addRoute(app, route, serve);
  addPlainRoutes(app, options.control, hub);
  await listen(app, options);
  address.port = (app.server.address() as AddressInfo).port;
  const host = options.host === '::1' ? '[::1]' : options.host;
  return {
    url: `http://${host}:${address.port}`,
    port: address.port,
    close: async () => {
      hub.close();
      await app.close();
      notes.end();
    },
  };
}

function newApp(
  options: ControlApiOptions,
  unrouted: NonNullable<FastifyServerOptions['frameworkErrors']>,
): FastifyInstance {
  const app = fastify({
    bodyLimit: BODY_BYTES,
    genReqId: () => options.ids.next('req'),
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    return503OnClosing: true,
    requestTimeout: 60_000,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: unrouted,
  });
  // A POST without a body needs no content type; anything but JSON is refused.
  app.removeContentTypeParser('text/plain');
  // SV3. Text of paths and queries is turned into numbers; a body must have the right types
  // already.
  const strict = new Ajv({ useDefaults: true, strict: false });
  const lenient = new Ajv({ useDefaults: true, coerceTypes: true, strict: false });
  app.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? strict : lenient).compile(schema as object),
  );
  // The schemas of answers are documentation, held to the types by the compiler and the tests.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  return app;
}

export const routesOf = ({ evidence }: Pick<ControlApiOptions, 'evidence'>): readonly Route[] =>
  evidence === undefined ? ROUTES : [...ROUTES, ...EVIDENCE_ROUTES];

const NOTES_FLUSH_MS = 15_000;

function gateOf({ evidence, token, callLimits: most }: ControlApiOptions): {
  readonly gate: Gate;
  readonly notes: AccessNotes & { end(): void };
} {
  const nowMs = evidence?.nowMs ?? (() => 0);
  const notes = openNotes(evidence?.note ?? (() => undefined), nowMs, evidence?.record);
  const timer = setInterval(() => notes.flush(false), NOTES_FLUSH_MS).unref();
  const end = (): void => {
    clearInterval(timer);
    notes.flush(true);
  };
  const gate = openGate({
    operatorToken: token,
    access: lateAccess(),
    notes,
    auditors: evidence?.auditors,
    tenantOfKey: evidence?.tenantOfKey,
    limits: callLimits(nowMs, most),
  });
  return { gate, notes: { ...notes, end } };
}

interface Serving extends ControlApiOptions {
  readonly gate: Gate;
  readonly callerOf: (request: FastifyRequest) => Caller | undefined;
}

function addRoute(app: FastifyInstance, route: Route, serving: Serving): void {
  const { control, gate } = serving;
  const evidence = (): EvidenceParts => {
    if (serving.evidence !== undefined) return serving.evidence;
    throw new Error('assertion failed: operations on evidence are served only where there is some');
  };
  app.route({
    method: route.method,
    url: route.url,
    schema: operationSchema(route),
    config: { operation: route },
    handler: async (request, reply) => {
      const caller = serving.callerOf(request);
      if (caller === undefined) throw new Error('assertion failed: nobody let this in');
      const { principal } = caller;
      const { params, query, body } = request;
      const granted = gate.decide(principal, route, { params, query, body });
      const actor = actorOf(request.headers, request.id, principal);
      const reveal = (): Promise<void> => gate.revealing(actor.name, granted);
      const input = { params, query, body, control, evidence, actor, principal };
      const answer = await caller.whileWorking(async () => {
        const made = await route.run(input);
        if (route.answers === 'raw') return withBody(made as RawAnswer, reveal);
        await reveal();
        return made;
      });
      if (route.answers === 'json') {
        gate.answered(principal, actor.name, granted);
        return answer;
      }
      const { status, headers, sent } = answer as Awaited<ReturnType<typeof withBody>>;
      if (status === 200) gate.answered(principal, actor.name, granted);
      return reply
        .code(status)
        .headers(headers)
        .serializer((value: unknown) => value as string)
        .send(sent);
    },
  });
}

const withBody = async (raw: RawAnswer, before: () => Promise<void>) => ({
  status: raw.status,
  headers: raw.headers,
  sent: await rawBody(raw, before),
});

/** `before`: what has to be done before anything leaves, and may refuse it. */
async function rawBody(
  { body }: RawAnswer,
  before: () => Promise<void>,
): Promise<Buffer | Readable> {
  if (body instanceof Uint8Array) {
    await before();
    return Buffer.from(body.buffer, body.byteOffset, body.length);
  }
  const pieces = body[Symbol.asyncIterator]();
  // What is refused is refused with the first piece: then it is still a problem document.
  const first = await pieces.next();
  try {
    await before();
  } catch (error) {
    await pieces.return?.();
    throw error;
  }
  return Readable.from(
    (async function* all() {
      if (first.done !== true) yield first.value;
      yield* { [Symbol.asyncIterator]: () => pieces };
    })(),
  );
}

function addPlainRoutes(app: FastifyInstance, control: ControlPort, hub: EventHub): void {
  const hide = { schema: { hide: true } };
  app.get('/healthz', hide, () => ({ status: 'ok' }));
  app.get('/openapi.json', hide, () => app.swagger());
  app.get('/metrics', hide, (_request, reply) =>
    reply
      .type('text/plain; version=0.0.4; charset=utf-8')
      .serializer((text: string) => text)
      .send(metricsText(control.status(), control.edgeMetrics())),
  );
  app.get('/v1/events', hide, async (request, reply) => {
    const after = resumePoint(request);
    hub.assertRoom();
    reply.hijack();
    reply.raw.setHeader('x-request-id', request.id);
    await hub.open(reply.raw, after);
  });
}

function resumePoint(request: FastifyRequest): number | undefined {
  const query = new URL(request.raw.url ?? '/', 'http://localhost').searchParams.get('after');
  const header = request.headers['last-event-id'];
  const text = typeof header === 'string' && header !== '' ? header : query;
  if (text === null) return undefined;
  const after = Number(text);
  if (/^\d{1,16}$/u.test(text) && Number.isSafeInteger(after)) return after;
  throw badRequest('Last-Event-ID (or ?after=) is not the number of an event');
}

async function listen(app: FastifyInstance, options: ControlApiOptions): Promise<void> {
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    if (!taken) throw error;
    throw new KinError(
      'KIN_PORT_TAKEN',
      `port ${options.port} for the control API is in use on ${options.host}`,
      'Use another one with --control-port, or stop the program that has it.',
      { cause: error },
    );
  }
}

function assertLoopback(host: string): void {
  if (LOOPBACK.has(host)) return;
  throw new KinError(
    'KIN_MANIFEST_CONTROL_HOST',
    `the control API listens on loopback only, not on ${host}`,
    'Set control.host to 127.0.0.1, and reach it from elsewhere through an SSH tunnel.',
  );
}

interface Failing {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly log: Log;
  /** Undefined: it is not known yet who asks. */
  readonly caller: Principal | undefined;
}

function sendProblem(error: unknown, { request, reply, log, caller }: Failing): FastifyReply {
  const known = asKinError(error) ?? frameworkError(error);
  const told = known === undefined || caller?.kind === 'operator' ? known : toldOutside(known);
  const fields = {
    requestId: request.id,
    method: request.method,
    route: request.routeOptions.url ?? '',
    error: messageOf(error),
  };
  if (known === undefined) {
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    log.error('the control API met a bug', { ...fields, stack });
  } else if (told !== known) {
    log.warn('a failure was told without its reason', { ...fields, code: known.code });
  }
  const problem = problemOf(told ?? error, request.id);
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer realm="kintsugi"');
  if (error instanceof TooManyCalls) {
    reply.header('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)));
  }
  return reply
    .code(problem.status)
    .type('application/problem+json; charset=utf-8')
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem);
}

/** What Fastify itself refuses: a body that is too big, is not JSON, or breaks the schema. */
function frameworkError(error: unknown): KinError | undefined {
  if (!(error instanceof Error)) return undefined;
  const status = 'statusCode' in error ? error.statusCode : undefined;
  if ('validation' in error && error.validation !== undefined) return badRequest(error.message);
  if (status === 413) return tooLarge();
  if (status === 415) return mediaType();
  if (typeof status === 'number' && status >= 400 && status < 500) return badRequest(error.message);
  return undefined;
}

const REFERENCE = 'See /openapi.json for what this operation takes.';
const badRequest = (message: string): KinError =>
  new KinError('KIN_API_BAD_REQUEST', message, REFERENCE);
/** Its message would repeat the path. */
const badPath = (error: unknown): KinError =>
  error instanceof Error && 'code' in error && error.code === 'FST_ERR_MAX_PARAM_LENGTH'
    ? badRequest('a part of the path has more than 200 characters')
    : badRequest('the path is not well-formed');
const tooLarge = (): KinError =>
  new KinError('KIN_API_TOO_LARGE', `the body has more than ${BODY_BYTES} bytes`, REFERENCE);
const mediaType = (): KinError =>
  new KinError('KIN_API_MEDIA_TYPE', 'the body is not application/json', REFERENCE);
const routeUnknown = (request: FastifyRequest): KinError =>
  new KinError(
    'KIN_API_ROUTE_UNKNOWN',
    `there is no ${request.method} ${request.url.split('?', 1)[0]?.slice(0, 200) ?? ''}`,
    'See /openapi.json for the operations that there are.',
  );
