// A control plane of values: fixed views for golden texts, and a port that writes down every call.
import { KinError } from '../../src/model/errors.ts';
import {
  checkId,
  dependencyName,
  incidentId,
  planId,
  releaseId,
  runId,
  serviceName,
  asReplicaId,
} from '../../src/model/ids.ts';
import type {
  ApprovalSummary,
  AuditReport,
  ControlSummary,
  IncidentStory,
  IncidentSummary,
  LedgerHead,
  ReleaseList,
  ReleaseSummary,
  ReplicaSummary,
  RunStory,
  RunSummary,
  ServiceSummary,
  Status,
  StoryEvent,
  TenantSummary,
} from '../../src/api/contract.ts';
import type { Actor, ControlPort } from '../../src/api/port.ts';

/** 2026-11-20T10:00:00Z. */
export const T0 = 1_795_168_800_000;
const QUIET = { requestsPerSecond: 0, failedShare: 0, p99Ms: 0 };

export function replica(change: Partial<ReplicaSummary> = {}): ReplicaSummary {
  return {
    id: 'records-1',
    service: 'records',
    release: 'r1-4f2a9c',
    role: 'active',
    phase: 'ready',
    weight: 100,
    pid: 4101,
    port: 41001,
    region: 'eu',
    sinceMs: T0 - 3_600_000,
    available: true,
    ejected: undefined,
    rssBytes: 73_400_320,
    cpu: 0.042,
    traffic: { requestsPerSecond: 12.5, failedShare: 0, p99Ms: 16 },
    ...change,
  };
}

export function service(change: Partial<ServiceSummary> = {}): ServiceSummary {
  return {
    name: 'records',
    kind: 'stateless',
    wanted: 2,
    ready: 2,
    spares: 1,
    release: 'r1-4f2a9c',
    previous: undefined,
    releasedAtMs: T0 - 3_600_000,
    rollingOut: false,
    paused: false,
    routes: ['/records'],
    dependsOn: ['postgres'],
    budget: { available: 1, floor: 1, mayLose: 0 },
    traffic: { requestsPerSecond: 25, failedShare: 0.004, p99Ms: 16 },
    replicas: [
      replica(),
      replica({
        id: 'records-2',
        pid: 4102,
        port: 41002,
        region: 'us',
        available: false,
        ejected: { reason: 'hung', detail: 'no answer for 1.0 s' },
        traffic: QUIET,
      }),
      replica({
        id: 'records-3',
        role: 'spare',
        weight: 0,
        pid: 4103,
        port: 41003,
        traffic: QUIET,
      }),
    ],
    ...change,
  };
}

export const CONTROL: ControlSummary = {
  id: 'rls-records',
  kind: 'rls-enforced',
  dependency: 'postgres',
  frameworks: ['hipaa', 'soc2'],
  heal: 'automatic',
  intervalMs: 15_000,
  verdict: 'satisfied',
  result: { kind: 'satisfied', population: 6, detail: 'row-level security on 6 of 6 tables' },
  measuredAtMs: T0 - 4_000,
};

export const INCIDENT: IncidentSummary = {
  id: 'inc-01',
  title: 'records-2 is hung',
  subject: { kind: 'replica', replica: asReplicaId('records-2'), service: serviceName('records') },
  state: { kind: 'acting', plan: planId('plan-01') },
  now: 'replacing records-2 with records-4',
  diagnosis: 'records-2 alone stopped answering; its siblings are well',
  confidence: 0.97,
  openedAtMs: T0 - 2_400,
  healedAtMs: undefined,
  attempts: [],
};

export const RUN: RunSummary = {
  id: 'run-01',
  playbook: 'replace-replica',
  summary: 'Replace records-2 with records-4.',
  target: 'replica:records-2',
  service: 'records',
  incident: 'inc-01',
  origin: 'heal',
  state: 'running',
  failure: undefined,
  startedAtMs: T0 - 2_000,
  endedAtMs: undefined,
  stepsDone: 1,
  stepsTotal: 3,
  step: 'await records-4 ready',
  verdict: undefined,
};

export const APPROVAL: ApprovalSummary = {
  id: 'apr-01',
  run: 'run-02',
  summary: 'Enable row-level security on billing.invoices.',
  why: 'the manifest says heal: ask for rls-billing',
  deadlineAtMs: T0 + 600_000,
  state: { kind: 'pending' },
};

export const TENANT: TenantSummary = {
  id: 'north-clinic',
  plan: 'standard',
  region: 'eu',
  status: 'active',
  isolation: 'pool',
  frameworks: ['hipaa'],
  keys: [{ id: 'k1', createdAtMs: T0 - 86_400_000, expiresAtMs: undefined, roles: undefined }],
  quarantined: ['POST /import'],
  traffic: { requestsPerSecond: 8, failedShare: 0, p99Ms: 8 },
};

export const LEDGER: LedgerHead = {
  origin: 'kintsugi/clinic',
  size: 42,
  root: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  checkpoint: 'kintsugi/clinic\n42\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n',
  vkey: 'kintsugi/clinic+00000000+AQ==',
};

export function status(change: Partial<Status> = {}): Status {
  return {
    atMs: T0,
    instance: {
      name: 'clinic',
      instance: 'ctl-01',
      pid: 4001,
      version: '0.1.0',
      startedAtMs: T0 - 3_700_000,
      mode: 'acting',
      production: false,
      manifestPath: '/srv/clinic/kintsugi.yaml',
      healing: 'automatic',
      limits: 'cgroup-v2',
      rssBytes: 94_371_840,
      cpu: 0.011,
    },
    overall: { kind: 'healing', incidents: 1 },
    services: [service()],
    dependencies: [
      {
        name: 'postgres',
        kind: 'postgres',
        service: 'postgres',
        state: 'up',
        detail: 'answered in 2 ms',
        sinceMs: T0 - 3_600_000,
      },
    ],
    controls: [CONTROL],
    tenants: [TENANT],
    gateway: {
      url: 'http://127.0.0.1:8080',
      workersWanted: 1,
      tableVersion: 7,
      workers: [{ worker: 'gw-1', pid: 4050, version: 7 }],
    },
    incidents: [INCIDENT],
    runs: [RUN],
    approvals: [APPROVAL],
    ledger: LEDGER,
    storySeq: 3,
    ...change,
  };
}

export function storyEvent(seq: number, text = `event ${seq}`): StoryEvent {
  return {
    seq,
    atMs: T0 + seq,
    kind: 'test',
    incident: undefined,
    run: undefined,
    service: 'records',
    text,
    data: undefined,
    ledgerIndex: undefined,
  };
}

export const RUN_STORY: RunStory = {
  run: {
    ...RUN,
    state: 'done',
    endedAtMs: T0 - 800,
    stepsDone: 3,
    step: undefined,
    verdict: {
      run: runId('run-01'),
      kind: 'healed',
      reasons: ['replica-hung:records-2 is gone for 1.5 s', 'no other indicator got worse'],
      tookMs: 3_100,
    },
  },
  steps: [
    {
      key: 'do:0',
      text: 'start records-4 on r1-4f2a9c',
      record: {
        key: 'do:0',
        state: 'done',
        detail: 'pid 4110 on port 41010',
        atWallMs: T0 - 2_000,
        tookMs: 12,
      },
    },
    {
      key: 'do:1',
      text: 'wait until records-4 is ready',
      record: { key: 'do:1', state: 'done', detail: '', atWallMs: T0 - 1_980, tookMs: 240 },
    },
    {
      key: 'do:2',
      text: 'stop records-2',
      record: {
        key: 'do:2',
        state: 'done',
        detail: 'ended by SIGKILL',
        atWallMs: T0 - 1_700,
        tookMs: 31,
      },
    },
  ],
  intentIndex: 39,
};

export const STORY: IncidentStory = {
  incident: {
    ...INCIDENT,
    state: { kind: 'healed', atMs: T0 + 700, by: planId('plan-01') },
    now: 'healed by replace-replica in 3.1 s',
    healedAtMs: T0 + 700,
  },
  findings: [
    {
      kind: 'replica-hung',
      subject: 'records-2',
      sinceMs: T0 - 2_400,
      confidence: 0.97,
      evidence: ['2 requests inside for 1.0 s', 'no heartbeat for 900 ms', 'process state T'],
    },
  ],
  hypotheses: [
    {
      kind: 'replica',
      subject: 'records-2',
      confidence: 0.97,
      why: 'it alone stopped answering; its siblings are well',
    },
    {
      kind: 'dependency',
      subject: 'postgres',
      confidence: 0.02,
      why: 'it answers in 2 ms',
    },
  ],
  decisions: [
    {
      kind: 'refusal',
      atMs: T0 - 2_300,
      reason: 'evidence-too-thin',
      detail: 'one missed heartbeat is not a hang',
      escalate: false,
    },
    {
      kind: 'plan',
      atMs: T0 - 2_000,
      run: 'run-01',
      playbook: 'replace-replica',
      summary: 'Replace records-2 with records-4.',
      disrupts: 0,
    },
  ],
  runs: [RUN_STORY],
  proofs: [
    { index: 38, kind: 'incident.opened', leafHash: undefined },
    { index: 39, kind: 'plan.intent', leafHash: 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=' },
    { index: 40, kind: 'plan.outcome', leafHash: undefined },
    { index: 41, kind: 'plan.verdict', leafHash: undefined },
  ],
  events: [storyEvent(1, 'records-2 is hung')],
};

export const RELEASE: ReleaseSummary = {
  id: 'r1-4f2a9c',
  service: 'records',
  digest: `sha256:${'4f2a9c00'.repeat(8)}`,
  createdAtMs: T0 - 3_600_000,
  verdict: { kind: 'proved', atMs: T0 - 3_500_000 },
  current: true,
};

export const RELEASES: ReleaseList = {
  service: 'records',
  releases: [RELEASE],
  rollback: { kind: 'ineligible', reason: 'no-previous-release' },
  afterDeploy: { kind: 'eligible', release: releaseId('r1-4f2a9c') },
};

export const AUDIT: AuditReport = {
  atMs: T0,
  verdict: 'satisfied',
  controls: [CONTROL],
  ledger: LEDGER,
};

export interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly actor: Actor | undefined;
}

export interface FakeControl extends ControlPort {
  readonly calls: Call[];
  readonly events: StoryEvent[];
  current: Status;
  /** Thrown by the next call that changes something. */
  failWith: unknown;
  tell(event: StoryEvent): void;
  listeners(): number;
}

export function fakeControl(change: Partial<ControlPort> = {}): FakeControl {
  const listeners = new Set<(event: StoryEvent) => void>();
  const calls: Call[] = [];
  const events: StoryEvent[] = [];
  const state: { current: Status; failWith: unknown } = { current: status(), failWith: undefined };
  const did = (name: string, actor: Actor | undefined, ...args: readonly unknown[]): void => {
    calls.push({ name, actor, args });
    const error = state.failWith;
    state.failWith = undefined;
    if (error !== undefined) throw error as Error;
  };
  return {
    calls,
    events,
    get current() {
      return state.current;
    },
    set current(value: Status) {
      state.current = value;
    },
    get failWith() {
      return state.failWith;
    },
    set failWith(value: unknown) {
      state.failWith = value;
    },
    tell: (event) => {
      events.push(event);
      for (const listener of listeners) listener(event);
    },
    listeners: () => listeners.size,
    ...watching(state, events, listeners),
    ...acting(did),
    ...change,
  };
}

function watching(
  state: { readonly current: Status },
  events: readonly StoryEvent[],
  listeners: Set<(event: StoryEvent) => void>,
) {
  return {
    status: () => state.current,
    edgeMetrics: () => [],
    incidents: async () => [INCIDENT],
    explain: async (id: string) => (id === incidentId('inc-01') ? STORY : undefined),
    runs: async () => [RUN],
    run: async (id: string) => (id === 'run-01' ? RUN_STORY : undefined),
    approvals: async () => [APPROVAL],
    releases: async () => RELEASES,
    story: async (after: number, limit: number) =>
      events.filter((event) => event.seq > after).slice(0, limit),
    subscribe: (listener: (event: StoryEvent) => void) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    ledgerHead: () => LEDGER,
    ledgerProve: async (index: number) => {
      if (index >= LEDGER.size) throw new KinError('KIN_LEDGER_RANGE', 'no such entry', 'Less.');
      return { index, entry: 'e30=', proof: 'c2sp.org/tlog-proof@v1\n', vkey: LEDGER.vkey };
    },
    ledgerEntries: async () => [{ index: 0, atMs: T0, kind: 'controller.started', body: {} }],
    tenants: async () => [TENANT],
    logs: async (target: string) => [{ source: target, text: 'hello\n' }],
    drills: () => [
      {
        name: 'kill',
        does: 'SIGKILL to a replica',
        targets: 'replica' as const,
        example: 'kintsugi drill kill records-1',
        expect: 'replaced, and no request fails',
      },
    ],
  };
}

function acting(
  did: (name: string, actor: Actor | undefined, ...args: readonly unknown[]) => void,
): Omit<ControlPort, keyof ReturnType<typeof watching>> {
  return {
    decideApproval: async (id, decision, actor) => {
      did('decideApproval', actor, id, decision);
      return { ...APPROVAL, id, state: { kind: 'approved', by: actor.name, atMs: T0 } };
    },
    deploy: async (name, path, actor) => {
      did('deploy', actor, name, path);
      const rollback = { kind: 'eligible', release: releaseId('r1-4f2a9c') } as const;
      return { release: { ...RELEASE, id: 'r2-aaaaaa', current: false }, run: 'run-01', rollback };
    },
    rollback: async (name, actor) => {
      did('rollback', actor, name);
      return { run: 'run-01' };
    },
    scale: async (name, replicas, actor) => {
      did('scale', actor, name, replicas);
      return { service: name, from: 2, to: replicas, run: 'run-01' };
    },
    pause: async (name, actor) => {
      did('pause', actor, name);
      return { changed: [name ?? 'records'] };
    },
    resume: async (name, actor) => {
      did('resume', actor, name);
      return { changed: [name ?? 'records'] };
    },
    audit: async (actor) => {
      did('audit', actor);
      return AUDIT;
    },
    createKey: async (tenant, actor) => {
      did('createKey', actor, tenant);
      return { tenant, id: 'k2', key: `kin_${tenant}_k2_secret` };
    },
    revokeKey: async (id, actor) => did('revokeKey', actor, id),
    liftQuarantine: async (tenant, route, actor) => {
      did('liftQuarantine', actor, tenant, route);
      return { lifted: ['POST /records'] };
    },
    holdTenant: async (tenant, order, actor) => {
      did('holdTenant', actor, tenant, order);
      const { mode, reason, forMs } = order;
      const untilMs = forMs === undefined ? undefined : T0 + forMs;
      const hold = { mode, text: mode, reason, actor: actor.name, sinceMs: T0, untilMs };
      return { tenant, run: 'run-09', hold };
    },
    releaseTenant: async (tenant, actor) => {
      did('releaseTenant', actor, tenant);
      return { tenant, run: 'run-10', hold: undefined };
    },
    applyManifest: async (source, dryRun, actor) => {
      did('applyManifest', actor, source, dryRun);
      const changes = [
        { kind: 'change', what: 'service', name: 'records', detail: 'replicas 2 → 3' },
      ];
      return {
        dryRun,
        changes: changes as { kind: 'change'; what: string; name: string; detail: string }[],
      };
    },
    drill: async (name, target, actor) => {
      did('drill', actor, name, target);
      return { name, target, atMs: T0, did: `sent SIGKILL to ${target}` };
    },
    shutdown: async (mode, actor) => did('shutdown', actor, mode),
  };
}

export const SUBJECTS = { check: checkId('rls-records'), dependency: dependencyName('postgres') };
