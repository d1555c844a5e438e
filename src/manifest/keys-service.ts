// Which keys may a service, and what it depends on, have? The longest branch of the table in
// keys.ts, in a file of its own; the rules there hold here (K1).
import {
  choice,
  command,
  either,
  flag,
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
  HOUR,
  duration,
  name,
  path,
  url,
  urlPath,
  value,
  variable,
} from './keys-words.ts';

const probeTimes = {
  interval: standard(duration(50, HOUR), '500ms', 'Time between two probes.', {
    plain: 'intervalMs',
    slips: ['period', 'every', 'periodSeconds'],
  }),
  timeout: standard(duration(10, 300_000), '500ms', 'A probe without an answer by then failed.', {
    plain: 'timeoutMs',
    slips: ['timeoutSeconds'],
  }),
  failures: standard(whole(1, 20), 2, 'Failures in a row until the probe counts as failed.', {
    slips: ['retries', 'failureThreshold', 'threshold'],
  }),
};

const probe = object({
  http: optional(urlPath, 'a TCP probe', 'Ask `GET` on this path; 200–399 passes.', {
    slips: ['path', 'httpGet', 'url'],
  }),
  tcp: optional(flag(), 'true when `http` is left out', 'Only open a connection.', {
    slips: ['tcpSocket'],
  }),
  ...probeTimes,
});

const resources = object({
  memory: optional(
    quantity('size', 1024 ** 2, 4096 * GIB),
    'no limit',
    'Resident memory of one replica. It is recycled before it gets there, and ended at it.',
    { plain: 'memoryBytes', slips: ['mem', 'ram'] },
  ),
  cpu: optional(quantity('cores', 0.05, 64), 'no limit', 'Processor cores of one replica.', {
    plain: 'cpuCores',
    slips: ['cpus', 'cores'],
  }),
  logs: standard(
    quantity('size', 64 * 1024, 16 * GIB),
    '16MiB',
    'Log kept for one replica, all rotated files together.',
    { plain: 'logBytes', slips: ['log'] },
  ),
});

const replicas = object({
  min: optional(
    whole(1, 500),
    '2; 1 for a stateful service or one with a fixed port',
    'Replicas that always run.',
    { slips: ['minimum'] },
  ),
  max: optional(whole(1, 500), 'the same as `min`', 'Most replicas that scaling may start.', {
    slips: ['maximum'],
  }),
  spares: standard(
    whole(0, 20),
    0,
    'Replicas kept ready without traffic: one is promoted in milliseconds in place of a cold ' +
      'start.',
    { slips: ['warm', 'standby'] },
  ),
});

const route = object({
  prefix: required(
    urlPath,
    'Requests whose path starts with these segments go to the service; the longest prefix wins.',
    { slips: ['path'] },
  ),
  timeout: standard(duration(10, HOUR), '30s', 'A request may take this long.', {
    plain: 'timeoutMs',
  }),
  retry: standard(
    flag(),
    true,
    'May an idempotent request be repeated on another replica when its replica fails?',
    { slips: ['retries'] },
  ),
  tenants: optional(
    list(name, 1000, 1),
    'all tenants',
    'Tenants that the route is for; to others it is a path that does not exist.',
    { slips: ['tenant', 'onlyFor'] },
  ),
  dependencies: optional(
    list(name, 50, 1),
    'none has a breaker here',
    'Names from `dependencies` that this route cannot do without: while one fails, requests are ' +
      'refused at once.',
    { slips: ['dependsOn', 'needs'] },
  ),
  tenantSegment: optional(
    whole(1, 12),
    'the path names no tenant',
    'Segment of the path, counted from 1, that must be the tenant of the credential: `2` lets ' +
      'acme use `/t/acme/…` and nobody else.',
  ),
});

const slo = object({
  availability: standard(quantity('share', 0.5, 0.999999), '99.9%', 'Share of good answers.'),
  latency: standard(duration(1, 600_000), '500ms', 'An answer within this time is fast.', {
    plain: 'latencyMs',
  }),
  latencyTarget: standard(quantity('share', 0.5, 0.999999), '99%', 'Share of fast answers.'),
});

const rollout = object({
  canary: standard(
    quantity('percent', 1, 50),
    '5%',
    "Weight of the first new replica, as a share of the service's traffic.",
    { plain: 'canaryPercent' },
  ),
  bake: standard(
    duration(0, DAY),
    '10s',
    'How long the canary, and then the whole release, is watched.',
    { plain: 'bakeMs' },
  ),
  minRequests: standard(
    whole(0, 1_000_000),
    0,
    'Answers that the canary must have given before it can be judged good; 0 asks for none, so ' +
      'that a service without traffic can be deployed.',
  ),
});

export const service = object({
  kind: standard(
    choice('stateless', 'stateful'),
    'stateless',
    '`stateful` runs exactly one replica, which is restarted in place and never doubled.',
    { slips: ['type'] },
  ),
  command: required(
    command(),
    'Program and arguments. A text is split into words as a shell would, but no shell runs. ' +
      '`${port}` is the port of the replica (also in the variable `PORT`). Never a secret.',
    { slips: ['cmd', 'exec', 'run', 'start', 'script', 'entrypoint'] },
  ),
  source: standard(path, '.', 'Folder that is copied to make a release.', {
    slips: ['src', 'dir', 'folder'],
  }),
  cwd: standard(path, '.', 'Working folder, inside the release.', {
    slips: ['workdir', 'workingDir', 'working_directory'],
  }),
  env: standard(
    map(value, 200, 'variable'),
    {},
    'Variables of the environment. `${env:NAME:-default}`, `${secret:name}`, `${port:service}`, ' +
      '`${state}`, `${service}` and `${name}` are put in at the start; `$${` is a plain `${`.',
    { slips: ['environment', 'envs', 'variables'] },
  ),
  unlessEnv: optional(
    variable,
    'always run',
    'Leave the service out when this variable is set where `kintsugi up` runs.',
  ),
  port: standard(whole(0, 65_535), 0, 'A fixed port, or 0 for one that Kintsugi picks.', {
    slips: ['ports', 'listen'],
  }),
  replicas: optional(
    either(whole(1, 500), replicas),
    '2; 1 for a stateful service or one with a fixed port',
    'How many replicas run: a number, or `min`, `max` and `spares`.',
    { slips: ['instances', 'scale', 'count'] },
  ),
  readiness: standard(probe, {}, 'Does a replica take traffic?', {
    slips: ['ready', 'readinessProbe', 'health'],
  }),
  liveness: standard(probe, {}, 'Is a replica alive at all?', {
    slips: ['live', 'livenessProbe', 'healthcheck'],
  }),
  startup: standard(
    duration(100, HOUR),
    '30s',
    'A replica that is not ready by then failed to start.',
    { plain: 'startupMs', slips: ['startupTimeout', 'startTimeout'] },
  ),
  drain: standard(
    duration(0, HOUR),
    '10s',
    'Time for requests inside a replica to end before it is stopped.',
    { plain: 'drainMs', slips: ['drainTimeout', 'gracePeriod'] },
  ),
  term: standard(duration(0, 600_000), '5s', 'Time between SIGTERM and SIGKILL.', {
    plain: 'termMs',
    slips: ['stopTimeout', 'killTimeout'],
  }),
  resources: standard(resources, {}, 'Limits of one replica.', { slips: ['limits'] }),
  dependsOn: standard(
    list(name, 50),
    [],
    'Names from `dependencies` without which it cannot work.',
    {
      slips: ['depends_on', 'needs', 'requires'],
    },
  ),
  regions: standard(list(name, 50, 1), ['any'], 'Regions whose tenants it may serve; `any`: all.', {
    slips: ['region'],
  }),
  shard: optional(
    whole(1, 100),
    'all of them',
    'Replicas that each tenant is spread over: what breaks one tenant’s breaks few others’.',
    { slips: ['shardSize', 'shuffleShard', 'isolation'] },
  ),
  concurrency: optional(
    whole(1, 1_000_000),
    'what its replicas bear, found by measuring',
    'Most requests inside all of its replicas together.',
    { slips: ['maxConcurrency', 'inFlight'] },
  ),
  routes: optional(
    list(route, 100),
    '`/` when it is the only stateless service, otherwise `/` and its name; none when stateful',
    'Which requests go to it. `[]` makes it internal.',
    { slips: ['route', 'paths', 'ingress'] },
  ),
  slo: standard(slo, {}, 'What its users may expect.', { slips: ['objectives'] }),
  rollout: standard(rollout, {}, 'How a new release is tried.', { slips: ['deploy', 'canary'] }),
});

export const dependency = object({
  kind: required(choice('postgres', 'tcp'), 'How it is probed: a query, or a connection.', {
    slips: ['type'],
  }),
  service: optional(name, 'run by others', 'The service of this manifest that provides it.'),
  url: optional(
    url,
    'for `tcp` with a `service`: the port of that service; otherwise required',
    "Where it is, as the application's role.",
    { slips: ['uri', 'dsn', 'connection'] },
  ),
  adminUrl: optional(
    url,
    'controls can be checked and not healed',
    'Where it is, as the owner of the tables: only used to heal controls.',
  ),
  ...probeTimes,
});

export type DraftService = Read<typeof service>;
export type DraftProbe = Read<typeof probe>;
export type DraftDependency = Read<typeof dependency>;
