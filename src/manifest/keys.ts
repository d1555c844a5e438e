// Which keys may a manifest have? The one table: each key with its shape, its default and one
// sentence. The reader, `kintsugi.schema.json` and docs/reference/manifest.md are made from it.
//
//   K1. A key, its limits and its default are written here and nowhere else.
import {
  choice,
  list,
  map,
  object,
  optional,
  quantity,
  required,
  standard,
  whole,
} from './shape.ts';
import type { Read } from './shape.ts';
import {
  DAY,
  GIB,
  PLAYBOOKS,
  certificate,
  choiceOfPlaybook,
  duration,
  host,
  instant,
  name,
  ownHost,
  path,
  variable,
  word,
} from './keys-words.ts';
import { ledger } from './keys-ledger.ts';
import { accessLog, gatewayMetrics, serverTiming, tracing } from './keys-observe.ts';
import { dependency, service } from './keys-service.ts';
import { proxyProtocol, tls } from './keys-tls.ts';

export { PLAYBOOKS } from './keys-words.ts';

export const API_VERSION = 'kintsugi/v1';

/** Frameworks that Kintsugi knows controls for; others are allowed and get a warning. */
export const FRAMEWORKS = ['hipaa', 'gdpr', 'soc2', 'pci-dss', 'iso-27001'] as const;

export const tenant = object({
  plan: standard(word, 'standard', 'Name of the plan; for people and for metrics.'),
  region: standard(name, 'any', 'Region in which its requests must be served.'),
  status: standard(choice('active', 'suspended'), 'active', '`suspended` refuses its requests.'),
  frameworks: standard(list(name, 20), [], 'Compliance frameworks that bind its data.'),
  quotas: standard(
    object({
      rate: standard(
        quantity('rate', 1 / 3600, 1_000_000),
        '100/s',
        'Requests let in, sustained.',
        {
          plain: 'ratePerSecond',
          slips: ['rps', 'requests'],
        },
      ),
      burst: optional(
        whole(1, 2_000_000),
        'twice the rate of a second, at least 1',
        'Requests let in at once.',
      ),
      concurrency: standard(whole(1, 100_000), 50, 'Requests inside at one time.', {
        slips: ['concurrent', 'parallel'],
      }),
      body: standard(quantity('size', 0, 4 * GIB), '1MiB', 'Largest request body.', {
        plain: 'bodyBytes',
        slips: ['bodySize', 'maxBody'],
      }),
    }),
    {},
    'Limits at the gateway.',
    { slips: ['quota', 'limits'] },
  ),
  isolation: standard(
    choice('pool', 'silo'),
    'pool',
    'Shares replicas with others, or has its own.',
  ),
  priority: optional(
    whole(0, 9),
    '5',
    'Under overload, requests of tenants with a lower one are shed first.',
    { slips: ['rank'] },
  ),
  hosts: optional(
    list(ownHost, 100, 1),
    'no host is its own',
    'Host names by which only this tenant comes in: credentials of others are refused there.',
    { slips: ['host', 'domains', 'domain', 'hostnames'] },
  ),
  certificates: optional(
    list(certificate, 100, 1),
    'no certificate is its own',
    'Client certificates that are credentials of this tenant.',
    { slips: ['certificate', 'certs', 'mtls'] },
  ),
});

const healing = object({
  mode: standard(
    choice('automatic', 'suggest', 'off'),
    'automatic',
    '`suggest` plans and asks a person each time; `off` only watches.',
  ),
  budget: standard(
    object({
      maxUnavailable: standard(
        whole(0, 100),
        1,
        'Replicas of one service that may be out at once, by anybody’s doing; one always stays.',
      ),
      maxConcurrent: standard(whole(1, 100), 2, 'Disruptive runs at one time, all services.'),
      maxPerHour: standard(whole(1, 10_000), 30, 'Disruptive runs of one service in any hour.'),
    }),
    {},
    'The one disruption budget of heals, rollouts and people.',
  ),
  freezeWindows: standard(
    list(
      object({
        reason: required(word, 'Why; shown with each refusal.'),
        from: required(instant, 'Start.', { slips: ['start', 'begin'] }),
        to: required(instant, 'End.', { slips: ['end', 'until'] }),
      }),
      100,
    ),
    [],
    'Times in which nothing disruptive starts by itself.',
    { slips: ['freeze', 'freezes'] },
  ),
  playbooks: standard(
    map(choiceOfPlaybook, 50, 'playbook'),
    {},
    'How each playbook may run: `automatic`, `ask` or `off`. Playbooks: ' +
      `${PLAYBOOKS.map((playbook) => `\`${playbook}\``).join(', ')}.`,
  ),
  approvalDeadline: standard(
    duration(1000, 7 * DAY),
    '15m',
    'An approval that nobody gave by then counts as no.',
    { plain: 'approvalDeadlineMs' },
  ),
  ineffectiveMax: standard(
    whole(1, 20),
    3,
    'Attempts of the same kind on the same fault until a person is asked.',
  ),
});

const check = object({
  id: required(name, 'Name of the check.', { slips: ['name'] }),
  kind: required(choice('rls-enforced'), '`rls-enforced`: row-level security is on and forced.', {
    slips: ['type'],
  }),
  dependency: required(name, 'The PostgreSQL dependency that it looks at.', {
    slips: ['database'],
  }),
  schema: standard(word, 'public', 'Database schema.'),
  tables: standard(list(word, 1000), [], 'Tables; empty: each that has the tenant column.', {
    slips: ['table'],
  }),
  tenantColumn: standard(word, 'tenant_id', 'Column that names the tenant.'),
  setting: standard(word, 'app.tenant', 'Setting that policies read the tenant from.'),
  interval: standard(duration(1000, DAY), '5s', 'Time between two measurements.', {
    plain: 'intervalMs',
    slips: ['every'],
  }),
  heal: standard(choiceOfPlaybook, 'ask', 'May drift be put right without asking?'),
  frameworks: standard(list(name, 20), [], 'Frameworks whose evidence this is.'),
});

export const MANIFEST = object({
  apiVersion: standard(choice(API_VERSION), API_VERSION, 'Version of this format.', {
    slips: ['version'],
  }),
  name: required(name, 'Name of the installation.'),
  gateway: standard(
    object({
      host: standard(host, '127.0.0.1', 'Address to listen on.', { slips: ['address', 'bind'] }),
      port: standard(whole(0, 65_535), 8080, 'Port to listen on; 0 picks one.'),
      workers: standard(whole(1, 64), 2, 'Gateway processes that share the port.'),
      tls: optional(tls, 'plain HTTP/1.1', 'TLS in front, with HTTP/2 and HTTP/1.1.', {
        slips: ['https', 'ssl'],
      }),
      proxyProtocol: optional(
        proxyProtocol,
        'nobody speaks for others',
        'PROXY protocol, version 2: the client’s address comes from a load balancer.',
        { slips: ['proxy'] },
      ),
      retryBudget: standard(
        quantity('share', 0, 1),
        '20%',
        'Retries of idempotent requests, as a share of all requests.',
      ),
      jwt: standard(
        list(
          object({
            issuer: required(word, 'The `iss` claim that is accepted.'),
            audience: required(word, 'The `aud` claim that is accepted.'),
            jwks: required(path, 'Keys: a JWKS file, or an `https:` (loopback: `http:`) URL.'),
            tenantClaim: standard(word, 'tenant', 'Claim that names the tenant.'),
            rolesClaim: standard(
              word,
              'roles',
              'Claim that lists roles: a list, or a text with spaces; dots lead into claims.',
            ),
          }),
          20,
        ),
        [],
        'Token issuers whose JWTs name a tenant, beside API keys.',
      ),
      policy: optional(
        path,
        'each tenant may use every route',
        'File of Cedar policies: which roles may use which methods of which routes. With it, ' +
          'what no policy permits is refused.',
        { slips: ['policies', 'authorization', 'authorisation', 'cedar'] },
      ),
      accessLog: standard(accessLog, {}, 'What is written down about each request.', {
        slips: ['log', 'logs', 'accesslog'],
      }),
      tracing: standard(tracing, {}, 'W3C trace context, and where spans go.', {
        slips: ['trace', 'traces', 'otel', 'opentelemetry'],
      }),
      serverTiming: standard(
        serverTiming,
        'on-demand',
        'Who gets `Server-Timing`: whoever sends `x-kintsugi-timing: 1` and is known, all, nobody.',
      ),
      metrics: standard(gatewayMetrics, {}, 'How fine its metrics are.'),
    }),
    {},
    'The data plane: where requests come in.',
  ),
  control: standard(
    object({
      host: standard(host, '127.0.0.1', 'Address to listen on.', { slips: ['address', 'bind'] }),
      port: standard(whole(0, 65_535), 8081, 'Port to listen on; 0 picks one.'),
    }),
    {},
    'The control API and console.',
    { slips: ['api', 'controlPlane'] },
  ),
  secrets: standard(
    map(
      object({
        generate: optional(
          whole(16, 1024),
          'not generated',
          'Random bytes, made once, kept in the state folder (0600), given as base64url.',
        ),
        file: optional(path, 'no file', 'Read from this file, without the line end at its end.'),
        env: optional(variable, 'no variable', 'Read from this variable of `kintsugi up`.'),
      }),
      500,
    ),
    {},
    'Secrets by name; each has exactly one source. Used as `${secret:name}`.',
  ),
  services: required(map(service, 200, 'name', 1), 'The processes that are run, by name.', {
    slips: ['service', 'apps', 'processes'],
  }),
  dependencies: standard(map(dependency, 200), {}, 'What services cannot work without, by name.'),
  tenants: optional(
    map(tenant, 100_000),
    'one tenant, `default`',
    'Who may send requests, by name. `{}` lets nobody in.',
    { slips: ['customers', 'organisations'] },
  ),
  healing: standard(healing, {}, 'What may be done without a person, and how much of it at once.', {
    slips: ['heal', 'selfHealing'],
  }),
  compliance: standard(
    object({
      frameworks: optional(
        list(name, 20),
        'all that tenants and checks name',
        'Compliance frameworks that are reported on.',
      ),
      checks: standard(list(check, 500), [], 'Controls that are measured all the time.', {
        slips: ['controls'],
      }),
    }),
    {},
    'Controls that are measured, healed and reported like any other health.',
  ),
  ledger: standard(ledger, {}, 'How the record of everything is published, witnessed and kept.', {
    slips: ['log', 'audit', 'transparency'],
  }),
});

export type Draft = Read<typeof MANIFEST>;
export type DraftTenant = Read<typeof tenant>;
