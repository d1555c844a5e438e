// What does each view look like as JSON Schema? One constant a type of `contract.ts`; the compiler
// holds the two together (see `schema.ts`). Source of `/openapi.json`.
import { hold } from './hold-routes.ts';
import type { Attempt, IncidentState } from '../model/incident.ts';
import type { Subject } from '../model/finding.ts';
import type { Approval, StepRecord, Verdict } from '../model/run.ts';
import type { CheckResult } from '../model/signal.ts';
import type * as C from './contract.ts';
import {
  anything,
  component,
  flag,
  list,
  maybe,
  number,
  object,
  oneOf,
  text,
  time,
  variants,
  word,
} from './schema.ts';

const subject = component(
  'Subject',
  variants<Subject>({
    replica: { replica: word(), service: word() },
    service: { service: word() },
    release: { release: word(), service: word() },
    dependency: { dependency: word() },
    'tenant-route': { tenant: word(), service: word(), method: text, route: text },
    probe: { service: word() },
    control: { check: word() },
    node: {},
    evidence: { part: text },
    unknown: { service: word() },
  }),
);

const incidentState = component(
  'IncidentState',
  variants<IncidentState>({
    open: {},
    waiting: { reason: word(), detail: text },
    acting: { plan: word() },
    verifying: { plan: word(), sinceMs: time },
    escalated: { reason: word(), detail: text, sinceMs: time },
    healed: { atMs: time, by: word() },
  }),
);

const attempt = object<Attempt>({
  plan: word(),
  playbook: text,
  endedAtMs: time,
  verdict: oneOf('healed', 'ineffective', 'harmful', 'inconclusive', 'failed'),
});

const checkResult = component(
  'CheckResult',
  variants<CheckResult>({
    satisfied: { population: number, detail: text },
    'not-satisfied': {
      population: number,
      violations: list(object({ subject: text, detail: text })),
    },
    'not-evaluated': { reason: text },
    error: { reason: text },
  }),
);

const verdict = object<Verdict>({
  run: word(),
  kind: oneOf('healed', 'ineffective', 'harmful', 'inconclusive'),
  reasons: list(text),
  tookMs: number,
});

const traffic = component(
  'TrafficSummary',
  object<C.TrafficSummary>({ requestsPerSecond: number, failedShare: number, p99Ms: number }),
);

const instance = object<C.InstanceSummary>({
  name: text,
  instance: text,
  pid: number,
  version: text,
  startedAtMs: time,
  mode: oneOf('observing', 'acting', 'standby'),
  production: flag,
  manifestPath: text,
  healing: oneOf('automatic', 'suggest', 'off'),
  limits: text,
  rssBytes: maybe(number),
  cpu: maybe(number),
});

const overall = variants<C.Overall>({
  starting: { waitingFor: list(text) },
  healthy: {},
  healing: { incidents: number },
  degraded: { reasons: list(text) },
  stopping: {},
});

const replica = component(
  'ReplicaSummary',
  object<C.ReplicaSummary>({
    id: text,
    service: text,
    release: text,
    role: oneOf('active', 'spare'),
    phase: oneOf('starting', 'ready', 'draining', 'gone'),
    weight: number,
    pid: maybe(number),
    port: maybe(number),
    region: text,
    sinceMs: time,
    available: flag,
    ejected: maybe(
      object({ reason: oneOf('unreachable', 'errors', 'slow', 'hung'), detail: text }),
    ),
    rssBytes: maybe(number),
    cpu: maybe(number),
    traffic,
  }),
);

const service = component(
  'ServiceSummary',
  object<C.ServiceSummary>({
    name: text,
    kind: oneOf('stateless', 'stateful'),
    wanted: number,
    ready: number,
    spares: number,
    release: text,
    previous: maybe(text),
    releasedAtMs: maybe(time),
    rollingOut: flag,
    paused: flag,
    blast: maybe(text),
    routes: list(text),
    dependsOn: list(text),
    budget: object<C.BudgetSummary>({ available: number, floor: number, mayLose: number }),
    traffic,
    replicas: list(replica),
  }),
);

const dependency = component(
  'DependencySummary',
  object<C.DependencySummary>({
    name: text,
    kind: oneOf('postgres', 'tcp'),
    service: maybe(text),
    state: oneOf('up', 'down', 'unknown'),
    detail: text,
    sinceMs: maybe(time),
  }),
);

export const control = component(
  'ControlSummary',
  object<C.ControlSummary>({
    id: text,
    kind: text,
    dependency: text,
    frameworks: list(text),
    heal: oneOf('automatic', 'ask', 'off'),
    intervalMs: number,
    verdict: oneOf('satisfied', 'not-satisfied', 'not-evaluated', 'error', 'stale'),
    result: maybe(checkResult),
    measuredAtMs: maybe(time),
  }),
);

const key = object<C.KeySummary>({
  id: text,
  createdAtMs: time,
  expiresAtMs: maybe(time),
  roles: maybe(list(text)),
});

export const tenant = component(
  'TenantSummary',
  object<C.TenantSummary>({
    id: text,
    plan: text,
    region: text,
    status: oneOf('active', 'suspended'),
    isolation: oneOf('pool', 'silo'),
    frameworks: list(text),
    keys: list(key),
    quarantined: list(text),
    hold: maybe(hold),
    traffic,
  }),
);

const gateway = object<C.GatewaySummary>({
  url: text,
  workersWanted: number,
  tableVersion: number,
  workers: list(object({ worker: text, pid: maybe(number), version: number })),
});

export const incident = component(
  'IncidentSummary',
  object<C.IncidentSummary>({
    id: text,
    title: text,
    subject,
    state: incidentState,
    now: text,
    diagnosis: text,
    confidence: number,
    openedAtMs: time,
    healedAtMs: maybe(time),
    attempts: list(attempt),
  }),
);

export const run = component(
  'RunSummary',
  object<C.RunSummary>({
    id: text,
    playbook: text,
    summary: text,
    target: text,
    service: maybe(text),
    incident: maybe(text),
    origin: text,
    state: oneOf('waiting', 'running', 'undoing', 'done', 'undone', 'refused', 'stuck'),
    failure: maybe(text),
    startedAtMs: time,
    endedAtMs: maybe(time),
    stepsDone: number,
    stepsTotal: number,
    step: maybe(text),
    verdict: maybe(verdict),
  }),
);

const stepRecord = object<StepRecord>({
  key: text,
  state: oneOf('intended', 'done', 'failed'),
  detail: text,
  atWallMs: time,
  tookMs: maybe(number),
});

export const runStory = component(
  'RunStory',
  object<C.RunStory>({
    run,
    steps: list(object<C.StepView>({ key: text, text, record: maybe(stepRecord) })),
    intentIndex: maybe(number),
  }),
);

export const storyEvent = component(
  'StoryEvent',
  object<C.StoryEvent>({
    seq: number,
    atMs: time,
    kind: text,
    incident: maybe(text),
    run: maybe(text),
    service: maybe(text),
    text,
    data: maybe(anything),
    ledgerIndex: maybe(number),
  }),
);

const decision = variants<C.DecisionView>({
  plan: { atMs: time, run: text, playbook: text, summary: text, disrupts: number },
  refusal: { atMs: time, reason: word(), detail: text, escalate: flag },
});

const finding = object<C.FindingView>({
  kind: word(),
  subject: text,
  sinceMs: time,
  confidence: number,
  evidence: list(text),
});

const hypothesis = object<C.HypothesisView>({
  kind: word(),
  subject: text,
  confidence: number,
  why: text,
});

export const incidentStory = component(
  'IncidentStory',
  object<C.IncidentStory>({
    incident,
    findings: list(finding),
    hypotheses: list(hypothesis),
    decisions: list(decision),
    runs: list(runStory),
    proofs: list(object<C.ProofView>({ index: number, kind: text, leafHash: maybe(text) })),
    events: list(storyEvent),
  }),
);

export const approval = component(
  'ApprovalSummary',
  object<C.ApprovalSummary>({
    id: text,
    run: text,
    summary: text,
    why: text,
    deadlineAtMs: time,
    state: variants<Approval['state']>({
      pending: {},
      approved: { by: text, atMs: time },
      denied: { by: text, atMs: time },
      expired: { atMs: time },
    }),
  }),
);

export const ledgerHead = component(
  'LedgerHead',
  object<C.LedgerHead>({ origin: text, size: number, root: text, checkpoint: text, vkey: text }),
);

export const status = component(
  'Status',
  object<C.Status>({
    atMs: time,
    instance,
    overall,
    services: list(service),
    dependencies: list(dependency),
    controls: list(control),
    tenants: list(tenant),
    gateway,
    incidents: list(incident),
    runs: list(run),
    approvals: list(approval),
    ledger: ledgerHead,
    storySeq: number,
  }),
);

export const problem = component(
  'Problem',
  object<C.Problem>({
    type: text,
    title: text,
    status: number,
    detail: text,
    code: word(),
    fix: text,
    requestId: text,
  }),
);
