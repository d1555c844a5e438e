// Which operations does the API offer? The whole list, in the order of the reference page. Each is
// one call of the port; nothing is decided here.
import { KinError } from '../model/errors.ts';
import {
  applyAnswer,
  auditReport,
  deployAnswer,
  drillAnswer,
  drillSpec,
  keyAnswer,
  ledgerEntry,
  ledgerProof,
  logPart,
  pauseAnswer,
  releaseList,
  runAnswer,
  scaleAnswer,
} from './answer-schemas.ts';
import { holdRoutes } from './hold-routes.ts';
import { pageOf } from './pages.ts';
import type { Route } from './route.ts';
import { get, post, remove } from './route.ts';
import { flag, integer, list, object, oneOf, string, withDefault } from './schema.ts';
import {
  approval,
  incident,
  incidentStory,
  ledgerHead,
  run,
  runStory,
  status,
  storyEvent,
  tenant,
} from './schemas.ts';

const NAME = string(1, 60);
const id = object<{ id: string }>({ id: string(1, 200) });
const service = object<{ service: string }>({ service: NAME });
const limit = withDefault(integer(1, 500), 50);
const limitQuery = object<{ limit: number }>({ limit });
const MANIFEST_CHARS = 1_000_000;

function found<T>(what: string, name: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new KinError(
    'KIN_API_NOT_FOUND',
    `there is no ${what} ${JSON.stringify(name)}`,
    `Use an id as "kintsugi ${what}s" lists it.`,
  );
}

const watching: readonly Route[] = [
  get({
    id: 'getStatus',
    url: '/v1/status',
    tag: 'watch',
    summary: 'Everything that the live view shows',
    answer: status,
    run: ({ control }) => control.status(),
  }),
  get({
    id: 'listIncidents',
    url: '/v1/incidents',
    tag: 'watch',
    summary: 'Incidents, newest first, healed ones too',
    query: limitQuery,
    answer: list(incident),
    run: ({ control, query }) => control.incidents(query.limit),
  }),
  get({
    id: 'explainIncident',
    url: '/v1/incidents/:id',
    tag: 'watch',
    summary: 'The whole story of one incident, with its proofs',
    params: id,
    answer: incidentStory,
    run: async ({ control, params }) =>
      found('incident', params.id, await control.explain(params.id)),
  }),
  get({
    id: 'listRuns',
    url: '/v1/runs',
    tag: 'watch',
    summary: 'Runs, newest first',
    query: limitQuery,
    answer: list(run),
    run: ({ control, query }) => control.runs(query.limit),
  }),
  get({
    id: 'getRun',
    url: '/v1/runs/:id',
    tag: 'watch',
    summary: 'One run with its steps',
    params: id,
    answer: runStory,
    run: async ({ control, params }) => found('run', params.id, await control.run(params.id)),
  }),
  get({
    id: 'listStory',
    url: '/v1/story',
    tag: 'watch',
    summary: 'Story events after a sequence number, oldest first',
    query: object<{ after: number; limit: number }>({
      after: withDefault(integer(0, Number.MAX_SAFE_INTEGER), 0),
      limit,
    }),
    answer: list(storyEvent),
    run: ({ control, query }) => control.story(query.after, query.limit),
  }),
  get({
    id: 'getLogs',
    url: '/v1/logs/:target',
    tag: 'watch',
    summary: 'The end of the log of a replica, a service, the controller, init or the gateway',
    params: object<{ target: string }>({ target: string(1, 200) }),
    query: object<{ bytes: number }>({
      bytes: withDefault(integer(1, 1_048_576), 16_384),
    }),
    answer: list(logPart),
    run: ({ control, params, query }) => control.logs(params.target, query.bytes),
  }),
];

const acting: readonly Route[] = [
  get({
    id: 'listReleases',
    url: '/v1/services/:service/releases',
    tag: 'act',
    summary: 'Releases of a service, and whether it could go back',
    params: service,
    answer: releaseList,
    run: ({ control, params }) => control.releases(params.service),
  }),
  post({
    id: 'deploy',
    url: '/v1/services/:service/deploy',
    tag: 'act',
    summary: 'Make a release of a folder and roll it out; answers once the run is durable',
    params: service,
    body: object<{ path: string }>({ path: string(1, 4096) }),
    answer: deployAnswer,
    run: ({ control, params, body, actor }) => control.deploy(params.service, body.path, actor),
  }),
  post({
    id: 'rollback',
    url: '/v1/services/:service/rollback',
    tag: 'act',
    summary: 'Go back to the previous release',
    params: service,
    answer: runAnswer,
    run: ({ control, params, actor }) => control.rollback(params.service, actor),
  }),
  post({
    id: 'scale',
    url: '/v1/services/:service/scale',
    tag: 'act',
    summary: 'Set the number of replicas, within the bounds of the manifest',
    params: service,
    body: object<{ replicas: number }>({ replicas: integer(1, 1000) }),
    answer: scaleAnswer,
    run: ({ control, params, body, actor }) => control.scale(params.service, body.replicas, actor),
  }),
  post({
    id: 'pauseService',
    url: '/v1/services/:service/pause',
    tag: 'act',
    summary: 'No automatic act on this service until it is resumed',
    params: service,
    answer: pauseAnswer,
    run: ({ control, params, actor }) => control.pause(params.service, actor),
  }),
  post({
    id: 'resumeService',
    url: '/v1/services/:service/resume',
    tag: 'act',
    summary: 'Automatic acts on this service again',
    params: service,
    answer: pauseAnswer,
    run: ({ control, params, actor }) => control.resume(params.service, actor),
  }),
  post({
    id: 'pauseAll',
    url: '/v1/pause',
    tag: 'act',
    summary: 'No automatic act at all until it is resumed',
    answer: pauseAnswer,
    run: ({ control, actor }) => control.pause(undefined, actor),
  }),
  post({
    id: 'resumeAll',
    url: '/v1/resume',
    tag: 'act',
    summary: 'Automatic acts again',
    answer: pauseAnswer,
    run: ({ control, actor }) => control.resume(undefined, actor),
  }),
  get({
    id: 'listApprovals',
    url: '/v1/approvals',
    tag: 'act',
    summary: 'Approvals, pending ones unless all are asked for',
    query: object<{ limit: number; all: boolean }>({
      limit,
      all: withDefault(flag, false),
    }),
    answer: list(approval),
    run: ({ control, query }) => control.approvals(query.limit, !query.all),
  }),
  post({
    id: 'decideApproval',
    url: '/v1/approvals/:id',
    tag: 'act',
    summary: 'Approve or deny a run that waits for a person',
    params: id,
    body: object<{ decision: 'approve' | 'deny' }>({ decision: oneOf('approve', 'deny') }),
    answer: approval,
    run: ({ control, params, body, actor }) =>
      control.decideApproval(params.id, body.decision, actor),
  }),
];

const READ = [{ action: 'ReadLog', resource: { kind: 'system' } }] as const;
const PROVE = [{ action: 'Prove', resource: { kind: 'system' } }] as const;

const evidence: readonly Route[] = [
  post({
    id: 'audit',
    url: '/v1/audit',
    tag: 'evidence',
    summary: 'Run every check now',
    answer: auditReport,
    run: ({ control, actor }) => control.audit(actor),
  }),
  get({
    id: 'getLedgerHead',
    url: '/v1/ledger/head',
    tag: 'evidence',
    summary: 'Size, root and signed checkpoint of the ledger',
    answer: ledgerHead,
    admits: ['auditor'],
    asks: () => READ,
    run: ({ control }) => control.ledgerHead(),
  }),
  get({
    id: 'listLedgerEntries',
    url: '/v1/ledger/entries',
    tag: 'evidence',
    summary: 'Entries of the ledger from an index on, 4 MiB a page',
    query: object<{ from: number; limit: number }>({
      from: withDefault(integer(0, Number.MAX_SAFE_INTEGER), 0),
      limit,
    }),
    answer: list(ledgerEntry),
    admits: ['auditor'],
    asks: () => READ,
    run: ({ control, query }) =>
      pageOf(query, (piece) => control.ledgerEntries(piece.from, piece.limit)),
  }),
  get({
    id: 'proveLedgerEntry',
    url: '/v1/ledger/proofs/:index',
    tag: 'evidence',
    summary: 'An inclusion proof that anybody can verify offline',
    params: object<{ index: number }>({ index: integer(0, Number.MAX_SAFE_INTEGER) }),
    answer: ledgerProof,
    admits: ['auditor'],
    asks: () => PROVE,
    run: ({ control, params }) => control.ledgerProve(params.index),
  }),
];

const administration: readonly Route[] = [
  get({
    id: 'listTenants',
    url: '/v1/tenants',
    tag: 'administer',
    summary: 'Tenants with their keys (never the secrets) and what is held back',
    answer: list(tenant),
    run: ({ control }) => control.tenants(),
  }),
  post({
    id: 'createKey',
    url: '/v1/tenants/:tenant/keys',
    tag: 'administer',
    summary: 'A new API key of a tenant; the answer is the only place where it appears',
    params: object<{ tenant: string }>({ tenant: NAME }),
    query: object<{ roles: string }>({ roles: withDefault(string(0, 4_200), '') }),
    answer: keyAnswer,
    run: ({ control, params, query, actor }) => {
      const roles = query.roles === '' ? [] : query.roles.split(',');
      return control.createKey(params.tenant, actor, roles);
    },
  }),
  remove({
    id: 'revokeKey',
    url: '/v1/keys/:id',
    tag: 'administer',
    summary: 'An API key stops working',
    params: id,
    answer: object<{ revoked: string }>({ revoked: string(1, 200) }),
    run: async ({ control, params, actor }) => {
      await control.revokeKey(params.id, actor);
      return { revoked: params.id };
    },
  }),
  post({
    id: 'liftQuarantine',
    url: '/v1/tenants/:tenant/lift',
    tag: 'administer',
    summary: 'Let a route of a tenant through again that was held back; without one, all of them',
    params: object<{ tenant: string }>({ tenant: NAME }),
    body: object<{ route: string }>({ route: string(0, 2_000) }),
    answer: object<{ lifted: readonly string[] }>({ lifted: list(string(1, 2_100)) }),
    run: ({ control, params, body, actor }) =>
      control.liftQuarantine(params.tenant, body.route === '' ? undefined : body.route, actor),
  }),
  ...holdRoutes,
  post({
    id: 'applyManifest',
    url: '/v1/manifest',
    tag: 'administer',
    summary: 'Apply a manifest to the running system, or only say what would change',
    body: object<{ path: string; text: string; dryRun: boolean }>({
      path: string(1, 4096),
      text: string(1, MANIFEST_CHARS),
      dryRun: flag,
    }),
    answer: applyAnswer,
    run: ({ control, body, actor }) =>
      control.applyManifest({ path: body.path, text: body.text }, body.dryRun, actor),
  }),
  get({
    id: 'listDrills',
    url: '/v1/drills',
    tag: 'administer',
    summary: 'Which faults can be injected here; none in production',
    answer: list(drillSpec),
    run: ({ control }) => control.drills(),
  }),
  post({
    id: 'drill',
    url: '/v1/drills',
    tag: 'administer',
    summary: 'Inject a fault into something that Kintsugi runs',
    body: object<{ name: string; target: string }>({ name: NAME, target: string(1, 200) }),
    answer: drillAnswer,
    run: ({ control, body, actor }) => control.drill(body.name, body.target, actor),
  }),
  post({
    id: 'shutdown',
    url: '/v1/shutdown',
    tag: 'administer',
    summary: 'End everything in order, or the controller alone',
    body: object<{ mode: 'everything' | 'controller' }>({
      mode: oneOf('everything', 'controller'),
    }),
    answer: object<{ mode: 'everything' | 'controller' }>({
      mode: oneOf('everything', 'controller'),
    }),
    run: async ({ control, body, actor }) => {
      await control.shutdown(body.mode, actor);
      return { mode: body.mode };
    },
  }),
];

export const ROUTES: readonly Route[] = [...watching, ...acting, ...evidence, ...administration];
