// Small whole values of the model for the store's contract: each made from a tag.
import { holdId } from '../../src/model/hold.ts';
import type { TenantHold } from '../../src/model/hold.ts';
import type { StoryEvent } from '../../src/model/entry.ts';
import type { ServiceBook } from '../../src/model/fleet.ts';
import * as ids from '../../src/model/ids.ts';
import type { Target } from '../../src/model/ids.ts';
import type { Incident } from '../../src/model/incident.ts';
import type { Plan, QuarantineRule } from '../../src/model/plan.ts';
import type { Release } from '../../src/model/release.ts';
import type { Replica } from '../../src/model/replica.ts';
import type { Approval, Run, StepRecord } from '../../src/model/run.ts';
import type { ApiKeyRow } from '../../src/world/store.ts';

/** Limits small enough to be reached in a test. */
export const KEEP_SOME = {
  story: 500,
  endedRuns: 3,
  healedIncidents: 5,
  decidedApprovals: 5,
  goneReplicas: 3,
} as const;

const records = ids.serviceName('records');

function plan(tag: string, target: string): Plan {
  const service = records;
  const replica = ids.replicaId(service, 2);
  return {
    id: ids.planId(`plan_${tag}`),
    playbook: 'replace',
    target: target as Target,
    origin: { kind: 'heal', incident: ids.incidentId('inc_x') },
    summary: `replace ${tag} — “now”`,
    steps: [
      {
        step: { kind: 'set-release', service, release: ids.releaseId('r1'), previous: undefined },
        undo: [],
      },
      { step: { kind: 'stop', replica, termMs: 0 }, undo: [] },
    ],
    service: undefined,
    disrupts: 1,
    approval: { kind: 'none' },
    verification: { symptoms: [], stableMs: 1000, deadlineMs: 5000 },
    deadlineMs: 60_000,
  };
}

export function run(tag: string, target = `replica:${tag}`): Run {
  return {
    id: ids.runId(`run_${tag}`),
    plan: plan(tag, target),
    planDigest: 'ab'.repeat(32),
    state: 'running',
    incident: undefined,
    intentIndex: undefined,
    startedAtWallMs: 1_795_000_000_000.25,
    endedAtWallMs: undefined,
    steps: tag === 'roundtrip' ? [step('do:0', 'done'), step('do:1', 'intended')] : [],
    failure: undefined,
  };
}

export function step(key: string, state: StepRecord['state']): StepRecord {
  return { key, state, detail: `${state} "it"`, atWallMs: 5.125, tookMs: undefined };
}

export function incident(tag: string): Incident {
  return {
    id: ids.incidentId(`inc_${tag}`),
    fingerprint: ids.fingerprint('replica-hung', tag),
    title: `replica ${tag} hangs`,
    findings: [],
    diagnosis: {
      hypotheses: [{ subject: { kind: 'node' }, confidence: 0.75, why: 'it says so' }],
    },
    state: { kind: 'open' },
    openedAtMs: 1.5,
    openedAtWallMs: 2,
    attempts: [],
    seenAtMs: 3,
  };
}

export function approval(tag: string): Approval {
  return {
    id: ids.approvalId(`app_${tag}`),
    run: ids.runId(`run_${tag}`),
    summary: 'may it?',
    why: 'because',
    deadlineAtMs: 99,
    state: { kind: 'pending' },
  };
}

export function book(name: string): ServiceBook {
  return {
    name: ids.serviceName(name),
    replicas: 3,
    release: ids.releaseId('r1'),
    previous: undefined,
    releasedAtMs: undefined,
    nextOrdinal: 4,
    paused: false,
  };
}

export function replica(service: string, ordinal: number): Replica {
  const name = ids.serviceName(service);
  return {
    id: ids.replicaId(name, ordinal),
    service: name,
    release: ids.releaseId('r1'),
    role: 'active',
    phase: 'ready',
    weight: 100,
    region: 'eu',
    endpoint: ordinal === 1 ? undefined : { host: '127.0.0.1', port: 5000 },
    createdAtMs: 7,
  };
}

export function release(id: string): Release {
  return {
    id: ids.releaseId(id),
    service: records,
    digest: `sha256:${'0'.repeat(64)}`,
    dir: '/srv/r1',
    command: ['node', 'main.js'],
    cwd: '.',
    env: { TOKEN: '${secret:db}' },
    createdAtMs: 8,
    schema: undefined,
    verdict: { kind: 'new' },
  };
}

export function rule(tag: string): QuarantineRule {
  return {
    id: ids.fingerprint('poison-request', tag),
    tenant: ids.tenantId('northside'),
    service: records,
    method: 'POST',
    route: '/records/:id',
    reason: 'two deaths',
  };
}

export function hold(tenant: string): TenantHold {
  const id = ids.tenantId(tenant);
  return {
    id: holdId(id),
    tenant: id,
    mode: { kind: 'throttle', ratePerSecond: 2.5 },
    reason: 'crawls',
    actor: 'operator',
    sinceMs: 1.5,
    untilMs: undefined,
  };
}

export function event(text: string): Omit<StoryEvent, 'seq'> {
  return {
    atMs: 1.5,
    kind: 'plan.intent',
    incident: undefined,
    run: undefined,
    service: 'records',
    text,
    data: { n: 1 },
    ledgerIndex: undefined,
  };
}

export function key(id: string): ApiKeyRow {
  return { id, tenant: 'northside', mac: 'bWFj', createdAtMs: 1, expiresAtMs: undefined };
}
