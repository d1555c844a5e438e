// Which operations does the API offer on the depth of the ledger? Logs and proofs of tenants,
// publishing, private fields, auditors. Each says what it asks of whose log; `gate.ts` decides.
import { KinError } from '../model/errors.ts';
import type { Action, Asked } from '../tenancy/principal.ts';
import {
  addedAuditor,
  anchor,
  auditor,
  erasure,
  mark,
  marks,
  published,
  publishState,
  recordedAt,
  tenantEntry,
  tenantHead,
  tenantLogPage,
  tenantProof,
} from './evidence-schemas.ts';
import type { EraseRequest, HoldRequest, LogScope, RestrictRequest } from './evidence-port.ts';
import type { LegalBasis, SubjectExportRequest, TileAnswer } from './evidence-port.ts';
import { asKinError } from './failure.ts';
import { pageLimit, pageOf } from './pages.ts';
import type { RawAnswer, Route } from './route.ts';
import { get, post, raw, remove } from './route.ts';
import { flag, integer, list, maybe, object, string, tenantId, withDefault } from './schema.ts';

const INDEX_MAX = Number.MAX_SAFE_INTEGER;
const DAY_MS = 86_400_000;
const inTenant = object<{ tenant: string }>({ tenant: tenantId });
const index = integer(0, INDEX_MAX);

const ofSystem = (action: Action): readonly Asked[] => [{ action, resource: { kind: 'system' } }];
const ofTenant =
  (...actions: readonly Action[]) =>
  ({ params }: { readonly params: { readonly tenant: string } }): readonly Asked[] =>
    actions.map((action) => ({ action, resource: { kind: 'tenant', tenant: params.tenant } }));
const ofNamed =
  (action: Action) =>
  ({ body }: { readonly body: { readonly tenant: string } }): readonly Asked[] => [
    { action, resource: { kind: 'tenant', tenant: body.tenant } },
  ];

/** Nothing but what tlog-tiles spells gets to the port, so no path leads anywhere else. */
const TILE_PATH =
  /^(?:checkpoint|tile\/(?:entries|[0-9]{1,2})\/(?:x?[0-9]{3}\/?){1,5}(?:\.p\/[0-9]{1,3})?)$/u;

function tilePath(path: string): string {
  if (TILE_PATH.test(path)) return path;
  throw new KinError(
    'KIN_API_NOT_FOUND',
    'there is no such tile',
    'See c2sp.org/tlog-tiles for the paths: checkpoint, tile/0/000, tile/entries/000.p/7 …',
  );
}

async function tiles(scope: LogScope, answer: Promise<TileAnswer>): Promise<RawAnswer> {
  const { status, headers, body } = await answer;
  // A tenant's log is one reader's alone: no shared cache keeps it.
  const own = scope.kind === 'tenant' ? { 'cache-control': 'private, no-store' } : {};
  return { status, headers: { ...headers, ...own }, body };
}

const logs: readonly Route[] = [
  raw<{ '*': string }>('GET', {
    id: 'getLogTile',
    url: '/v1/ledger/log/*',
    tag: 'evidence',
    summary: 'The system log as tlog-tiles: checkpoint, tiles, entry bundles',
    params: object<{ '*': string }>({ '*': string(1, 100) }),
    admits: ['auditor'],
    asks: () => ofSystem('ReadLog'),
    run: ({ evidence, params, actor }) => {
      const scope = { kind: 'system' } as const;
      return tiles(scope, evidence().port.tiles(scope, tilePath(params['*']), actor));
    },
  }),
  raw<{ tenant: string; '*': string }>('GET', {
    id: 'getTenantLogTile',
    url: '/v1/tenants/:tenant/log/*',
    tag: 'evidence',
    summary: "One tenant's log as tlog-tiles",
    params: object<{ tenant: string; '*': string }>({ tenant: tenantId, '*': string(1, 100) }),
    admits: ['auditor', 'tenant'],
    asks: ofTenant('ReadTenantLog'),
    run: ({ evidence, params, actor }) => {
      const scope = { kind: 'tenant', tenant: params.tenant } as const;
      return tiles(scope, evidence().port.tiles(scope, tilePath(params['*']), actor));
    },
  }),
  get({
    id: 'listTenantLogs',
    url: '/v1/ledger/tenants',
    tag: 'evidence',
    summary: 'Tenants that have a log, in the order of their first entries',
    query: object<{ after: string | undefined; limit: number }>({
      after: maybe(tenantId),
      limit: withDefault(integer(1, 1_000), 100),
    }),
    answer: tenantLogPage,
    admits: ['auditor'],
    asks: () => ofSystem('ReadLog'),
    run: ({ evidence, query, actor }) => evidence().port.tenantLogs(query, actor),
  }),
];

const tenantLedger: readonly Route[] = [
  get({
    id: 'getTenantHead',
    url: '/v1/tenants/:tenant/ledger/head',
    tag: 'evidence',
    summary: "Size, root and position of a tenant's log",
    params: inTenant,
    answer: tenantHead,
    admits: ['auditor', 'tenant'],
    asks: ofTenant('ReadTenantLog'),
    run: ({ evidence, params, actor }) => evidence().port.tenantHead(params.tenant, actor),
  }),
  get({
    id: 'listTenantEntries',
    url: '/v1/tenants/:tenant/ledger/entries',
    tag: 'evidence',
    summary:
      "Entries of a tenant's log, 4 MiB a page; private fields stay sealed unless `reveal` asks",
    params: inTenant,
    query: object<{ from: number; limit: number; reveal: boolean }>({
      from: withDefault(index, 0),
      limit: withDefault(integer(1, 1_000), 50),
      reveal: withDefault(flag, false),
    }),
    answer: list(tenantEntry),
    admits: ['auditor', 'tenant'],
    asks: ({ params, query }) =>
      ofTenant('ReadTenantLog', ...(query.reveal ? (['RevealPrivate'] as const) : []))({ params }),
    run: ({ evidence, params: { tenant }, query: { from, limit, reveal }, actor, principal }) =>
      pageOf({ from, limit: pageLimit(principal, limit, reveal) }, (piece) =>
        evidence().port.tenantEntries({ tenant, ...piece, reveal }, actor),
      ),
  }),
  get({
    id: 'proveTenantHead',
    url: '/v1/tenants/:tenant/ledger/proofs/head',
    tag: 'evidence',
    summary: "Evidence for a tenant's whole log, verifiable offline",
    params: inTenant,
    answer: tenantProof,
    admits: ['auditor', 'tenant'],
    asks: ofTenant('Prove'),
    run: ({ evidence, params, actor }) =>
      evidence().port.tenantProof(params.tenant, { kind: 'head' }, actor),
  }),
  ...(['entry', 'after'] as const).map((kind) =>
    get({
      id: kind === 'entry' ? 'proveTenantEntry' : 'proveTenantLogAfter',
      url: `/v1/tenants/:tenant/ledger/proofs/${kind === 'entry' ? 'entries' : 'after'}/:index`,
      tag: 'evidence',
      summary:
        kind === 'entry'
          ? "Evidence for one entry of a tenant's log"
          : "Evidence for a tenant's log from an entry on, after retention",
      params: object<{ tenant: string; index: number }>({ tenant: tenantId, index }),
      answer: tenantProof,
      admits: ['auditor', 'tenant'],
      asks: ofTenant('Prove'),
      run: ({ evidence, params: { tenant, index: of }, actor }) =>
        evidence()
          .port.tenantProof(tenant, { kind, index: of }, actor)
          .catch(async (error: unknown) => {
            if (asKinError(error)?.code !== 'KIN_LEDGER_NO_PROOF') throw error;
            const { size } = await evidence().port.tenantHead(tenant, actor);
            throw of < size ? error : beyond(of, size);
          }),
    }),
  ),
];

/** Waiting for the next epoch would not help. */
function beyond(wanted: number, size: number): KinError {
  return new KinError(
    'KIN_LEDGER_RANGE',
    `there is no entry ${wanted} in a log of ${size}`,
    `Ask for an entry below ${size}.`,
  );
}

const publishing: readonly Route[] = [
  get({
    id: 'getWitnesses',
    url: '/v1/ledger/witnesses',
    tag: 'evidence',
    summary: 'How far the log is published and witnessed, and who is missing',
    answer: publishState,
    admits: ['auditor'],
    asks: () => ofSystem('ReadLog'),
    run: ({ evidence, actor }) => evidence().port.witnesses(actor),
  }),
  get({
    id: 'listAnchors',
    url: '/v1/ledger/anchors',
    tag: 'evidence',
    summary: 'Where heads of the log stand outside, with the newest receipts',
    answer: list(anchor),
    admits: ['auditor'],
    asks: () => ofSystem('ReadLog'),
    run: ({ evidence, actor }) => evidence().port.anchors(actor),
  }),
  post({
    id: 'publishLedger',
    url: '/v1/ledger/publish',
    tag: 'evidence',
    summary: 'Publish a checkpoint now',
    answer: published,
    asks: () => ofSystem('Publish'),
    run: ({ evidence, actor }) => evidence().port.publishNow(actor),
  }),
];

const SUBJECT = string(1, 512);
const REFERENCE = string(1, 96);
const basis = object<LegalBasis>({ code: string(1, 40), ref: REFERENCE });
const lift = object<{ ref: string }>({ ref: REFERENCE });
const markId = object<{ id: string }>({ id: string(1, 64) });

const privacy: readonly Route[] = [
  post({
    id: 'eraseSubject',
    url: '/v1/privacy/erasures',
    tag: 'evidence',
    summary: "Destroy a person's private fields for good; every proof stays valid",
    body: object<EraseRequest>({ tenant: tenantId, subject: SUBJECT, basis }),
    answer: erasure,
    asks: ofNamed('Erase'),
    run: ({ evidence, body, actor }) => evidence().port.erase(body, actor),
  }),
  get({
    id: 'listHolds',
    url: '/v1/privacy/holds',
    tag: 'evidence',
    summary: 'Legal holds and restrictions in force',
    query: object<{ tenant: string | undefined }>({ tenant: maybe(tenantId) }),
    answer: marks,
    admits: ['auditor'],
    asks: () => ofSystem('ReadLog'),
    run: ({ evidence, query, actor }) => evidence().port.holds(query.tenant, actor),
  }),
  post({
    id: 'placeHold',
    url: '/v1/privacy/holds',
    tag: 'evidence',
    summary: 'Keep what is stored about a person, or about a whole tenant, whatever is asked',
    body: object<HoldRequest>({ tenant: tenantId, subject: maybe(SUBJECT), basis }),
    answer: mark,
    asks: ofNamed('Hold'),
    run: ({ evidence, body, actor }) => evidence().port.hold(body, actor),
  }),
  post({
    id: 'releaseHold',
    url: '/v1/privacy/holds/:id/release',
    tag: 'evidence',
    summary: 'End a legal hold',
    params: markId,
    body: lift,
    answer: recordedAt,
    asks: () => ofSystem('Hold'),
    run: ({ evidence, params, body, actor }) => evidence().port.release(params.id, body.ref, actor),
  }),
  post({
    id: 'restrictSubject',
    url: '/v1/privacy/restrictions',
    tag: 'evidence',
    summary: "Keep a person's private fields and show them to nobody",
    body: object<RestrictRequest>({ tenant: tenantId, subject: SUBJECT, basis }),
    answer: mark,
    asks: ofNamed('Hold'),
    run: ({ evidence, body, actor }) => evidence().port.restrict(body, actor),
  }),
  post({
    id: 'liftRestriction',
    url: '/v1/privacy/restrictions/:id/lift',
    tag: 'evidence',
    summary: 'End a restriction',
    params: markId,
    body: lift,
    answer: recordedAt,
    asks: () => ofSystem('Hold'),
    run: ({ evidence, params, body, actor }) =>
      evidence().port.unrestrict(params.id, body.ref, actor),
  }),
  raw<Readonly<Record<string, never>>, Readonly<Record<string, never>>, SubjectExportRequest>(
    'POST',
    {
      id: 'exportSubject',
      url: '/v1/privacy/exports',
      tag: 'evidence',
      summary: 'Everything that is stored about one person, with proofs, as one JSON document',
      body: object<SubjectExportRequest>({ tenant: tenantId, subject: SUBJECT, ref: REFERENCE }),
      admits: ['tenant'],
      asks: ofNamed('RevealPrivate'),
      run: ({ evidence, body, actor }) => ({
        status: 200,
        headers: { 'content-type': 'application/json; charset=utf-8' },
        body: evidence().port.subjectExport(body, actor),
      }),
    },
  ),
];

const auditors: readonly Route[] = [
  get({
    id: 'listAuditors',
    url: '/v1/auditors',
    tag: 'administer',
    summary: 'Who may read the whole ledger, and until when',
    answer: list(auditor),
    run: ({ evidence }) => evidence().auditors.list(),
  }),
  post({
    id: 'addAuditor',
    url: '/v1/auditors',
    tag: 'administer',
    summary: 'A token that reads the ledger and nothing else; the answer is where it appears once',
    body: object<{ name: string; lifetimeMs: number }>({
      name: string(1, 64),
      lifetimeMs: integer(1, 366 * DAY_MS),
    }),
    answer: addedAuditor,
    run: async ({ evidence, body, actor }) => {
      const { auditors: book, note } = evidence();
      const added = await book.add(body.name, body.lifetimeMs);
      const { name, expiresAtMs } = added;
      note('auditor.added', undefined, { actor: actor.name, auditor: name, expiresAtMs });
      return added;
    },
  }),
  remove({
    id: 'removeAuditor',
    url: '/v1/auditors/:name',
    tag: 'administer',
    summary: 'The token of an auditor stops working at once',
    params: object<{ name: string }>({ name: string(1, 64) }),
    answer: object<{ removed: string }>({ removed: string(1, 64) }),
    run: async ({ evidence, params, actor }) => {
      const { auditors: book, note } = evidence();
      await book.remove(params.name);
      note('auditor.removed', undefined, { actor: actor.name, auditor: params.name });
      return { removed: params.name };
    },
  }),
];

export const EVIDENCE_ROUTES: readonly Route[] = [
  ...logs,
  ...tenantLedger,
  ...publishing,
  ...privacy,
  ...auditors,
];
