// How is one replica replaced? A dead or hung one at once, since it serves nobody; a sick one only
// after another took its place and its requests are done. The warm spare comes first, if any.
//
//   RP1. The replacement is ready before anything that still serves is taken away.
//   RP2. A slow replica is shed first (its gateway ejects it) and never killed while it completes
//        requests: it is drained (P3).
//   RP3. What it may share with its siblings, or have from what it needs, is no reason; neither is
//        a probe that fails while clients are served well (P3).
import type { Finding } from '../../../model/finding.ts';
import type { Incident } from '../../../model/incident.ts';
import type { ReplicaId } from '../../../model/ids.ts';
import type { PlannedStep, RefusalReason } from '../../../model/plan.ts';
import { firstBadMs, isAvailable, sumWindows } from '../../../model/picture.ts';
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
  incident: Incident,
  id: ReplicaId,
  context: DecideContext,
): Proposal {
  const replica = context.picture.replicas.get(id);
  const service = replica === undefined ? undefined : context.picture.services.get(replica.service);
  const head = incident.findings[0];
  if (replica === undefined || service === undefined || head === undefined) {
    return no(refuse(incident, 'no-playbook', `${id} is no longer here`, context.nowMs + 1_000));
  }
  const graceMs = GRACE_MS[head.kind] ?? 0;
  const lastedMs = context.nowMs - head.sinceMs;
  if (lastedMs < graceMs) {
    return no(
      refuse(
        incident,
        'evidence-too-thin',
        `since ${Math.round(lastedMs)} ms, acting after ${graceMs} ms`,
        head.sinceMs + graceMs,
      ),
    );
  }
  if (service.rollingOut) {
    return no(
      refuse(
        incident,
        'target-busy',
        `${service.spec.name} is being rolled out`,
        context.nowMs + 500,
      ),
    );
  }
  const doubt = replica.exited === undefined ? doubtOf(head, replica, service, context) : undefined;
  if (doubt !== undefined) {
    const { reason, detail, escalate } = doubt;
    return no(refuse(incident, reason, detail, context.nowMs + 1_000, escalate));
  }
  if (replica.role === 'spare') return steps(retireSpare(incident, replica, service));
  return swapIn(incident, replica, service, head, context);
}

/** Is it alone with it? Asked of a living replica only. */
function doubtOf(
  head: Finding,
  replica: ReplicaView,
  service: ServiceView,
  context: DecideContext,
): Doubt | undefined {
  const { nowMs, picture } = context;
  switch (head.kind) {
    case 'replica-hung':
    case 'replica-unready': {
      if (head.kind === 'replica-unready' && servesWell(replica, nowMs)) {
        const detail = 'its probe fails while its clients are served well';
        return { reason: 'still-serving', detail, escalate: true };
      }
      const detail = sharedTrouble(replica, service, picture, nowMs);
      return detail === undefined ? undefined : { reason: 'shared-cause', detail, escalate: false };
    }
    case 'replica-erroring': {
      const latestMs = firstBadMs(replica.windows, nowMs, LATELY_MS) ?? 0;
      const need = unconfirmedNeed(service, picture, Math.max(head.sinceMs, latestMs), nowMs);
      if (need === undefined) return undefined;
      const detail = `${need} has not answered since it began`;
      return { reason: 'evidence-too-thin', detail, escalate: false };
    }
    default:
      return undefined;
  }
}

interface Doubt {
  readonly reason: RefusalReason;
  readonly detail: string;
  readonly escalate: boolean;
}

function servesWell(replica: ReplicaView, nowMs: number): boolean {
  const sum = sumWindows(replica.windows, nowMs, LATELY_MS);
  return sum.requests > 0 && sum.errors + sum.broken + sum.timeouts === 0;
}

function swapIn(
  incident: Incident,
  replica: ReplicaView,
  service: ServiceView,
  head: Finding,
  context: DecideContext,
): Proposal {
  const newcomer = bring(service, service.release, context);
  if (newcomer === undefined) {
    return no(refuse(incident, 'no-playbook', 'no release to start', context.nowMs + 5_000, true));
  }
  const dead = replica.exited !== undefined;
  const hung = head.kind === 'replica-hung';
  const out: readonly PlannedStep[] =
    dead || hung
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
  incident: Incident,
  replica: ReplicaView,
  service: ServiceView,
): Extract<Proposal, { kind: 'steps' }>['draft'] {
  return {
    playbook: 'replace',
    fallback: 'automatic',
    targetKind: 'replica',
    targetName: replica.id,
    service: service.spec.name,
    summary: `${incident.title}: it is a spare and serves nobody; stop it, another is started`,
    steps: [plain({ kind: 'stop', replica: replica.id, termMs: 0 })],
    disrupts: 0,
    stableMs: 500,
  };
}
