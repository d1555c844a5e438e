// How is one replica replaced? A dead or hung one at once, because it serves nobody; a sick one only
// after another took its place and its requests are done. The warm spare comes first, if any.
//
//   RP1. The replacement is ready before anything that still serves is taken away.
//   RP3. What it may share with its siblings, or have from what it needs, is no reason (P3).
//   RP2. A slow replica is shed first (its gateway ejects it) and never killed while it completes
//        requests: it is drained (P3).
import type { Finding } from '../../../model/finding.ts';
import type { Incident } from '../../../model/incident.ts';
import type { ReplicaId } from '../../../model/ids.ts';
import type { PlannedStep } from '../../../model/plan.ts';
import { firstBadMs, isAvailable } from '../../../model/picture.ts';
import type { ReplicaView, ServiceView } from '../../../model/picture.ts';
import type { DecideContext } from '../context.ts';
import { sharedTrouble, unconfirmedNeed } from '../correlate.ts';
import { refuse } from '../guards.ts';
import { bring, drainAndStop, plain, swap } from '../steps.ts';
import { no, steps } from './playbook.ts';
import type { Proposal } from './playbook.ts';

/** How long a symptom must last before a living replica is replaced for it. */
const GRACE_MS: Readonly<Partial<Record<Finding['kind'], number>>> = {
  'replica-erroring': 1_000,
  'replica-slow': 2_000,
  'replica-unready': 8_000,
};

/** Errors of this span are one trouble. */
const LATELY_MS = 5_000;

export function replaceReplica(
  incident: Incident, id: ReplicaId, context: DecideContext,
): Proposal {
  const replica = context.picture.replicas.get(id);
  const service = replica === undefined
    ? undefined : context.picture.services.get(replica.service);
  const head = incident.findings[0];
  if (replica === undefined || service === undefined || head === undefined) {
    return no(refuse(incident, 'no-playbook', `${id} is no longer here`, context.nowMs + 1_000));
  }
  const graceMs = GRACE_MS[head.kind] ?? 0;
  const lastedMs = context.nowMs - head.sinceMs;
  if (lastedMs < graceMs) {
    return no(refuse(
      incident, 'evidence-too-thin', `since ${lastedMs} ms, acting after ${graceMs} ms`,
      head.sinceMs + graceMs,
    ));
  }
  if (service.rollingOut) {
    return no(refuse(
      incident, 'target-busy', `${service.spec.name} is being rolled out`, context.nowMs + 500,
    ));
  }
  const doubt = replica.exited === undefined
    ? doubtOf(head, replica, service, context) : undefined;
  if (doubt !== undefined) {
    return no(refuse(incident, 'shared-cause', doubt, context.nowMs + 1_000));
  }
  if (replica.role === 'spare') return steps(retireSpare(incident, replica, service));
  return swapIn(incident, replica, service, head, context);
}

/** Is it alone with it? Asked of a living replica only. */
function doubtOf(
  head: Finding, replica: ReplicaView, service: ServiceView, context: DecideContext,
): string | undefined {
  switch (head.kind) {
    case 'replica-hung':
    case 'replica-unready':
      return sharedTrouble(replica, service, context.picture, context.nowMs);
    case 'replica-erroring': {
      const latestMs = firstBadMs(replica.windows, context.nowMs, LATELY_MS) ?? 0;
      const sinceMs = Math.max(head.sinceMs, latestMs);
      const need = unconfirmedNeed(service, context.picture, sinceMs);
      return need === undefined ? undefined : `${need} has not answered since it began`;
    }
    default:
      return undefined;
  }
}

function swapIn(
  incident: Incident, replica: ReplicaView, service: ServiceView, head: Finding,
  context: DecideContext,
): Proposal {
  const newcomer = bring(service, service.release, context);
  if (newcomer === undefined) {
    return no(refuse(incident, 'no-playbook', 'no release to start', context.nowMs + 5_000, true));
  }
  const dead = replica.exited !== undefined;
  const hung = head.kind === 'replica-hung';
  const out: readonly PlannedStep[] = dead || hung
    ? [plain({ kind: 'stop', replica: replica.id, termMs: 0 })]
    : drainAndStop(replica.id, service);
  const all = [...newcomer.prepare, swap(newcomer.id, replica), ...out];
  const [first, ...rest] = all;
  if (first === undefined) throw new Error('unreachable: a swap has steps');
  const how = newcomer.promoted ? `promote the warm spare ${newcomer.id}` : `start ${newcomer.id}`;
  const end = dead ? 'forget' : hung ? 'end' : 'drain and stop';
  return steps({
    playbook: newcomer.promoted ? 'promote' : dead || hung ? 'replace' : 'recycle',
    fallback: 'automatic',
    targetKind: 'replica',
    targetName: replica.id,
    service: service.spec.name,
    summary: `${incident.title}: ${how}, then ${end} ${replica.id}`,
    steps: [first, ...rest],
    disrupts: isAvailable(replica) ? 1 : 0,
    stableMs: 1_000,
  });
}

function retireSpare(
  incident: Incident, replica: ReplicaView, service: ServiceView,
): Extract<Proposal, { kind: 'steps' }>['draft'] {
  return {
    playbook: 'replace', fallback: 'automatic', targetKind: 'replica', targetName: replica.id,
    service: service.spec.name,
    summary: `${incident.title}: it is a spare and serves nobody; stop it, another is started`,
    steps: [plain({ kind: 'stop', replica: replica.id, termMs: 0 })],
    disrupts: 0, stableMs: 500,
  };
}
