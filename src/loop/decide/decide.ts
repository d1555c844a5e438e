// What shall be done about an incident? A plan, or a refusal with its reason. Guards come first,
// then the playbook that fits what is to blame, then the budget.
//
//   DC1. Pure. Exactly one answer for each open incident.
//   DC2. An incident with a live run, or being verified, is not decided on.
//   DC3. Every subject has an answer, and `no-playbook` is one.
import type { Incident } from '../../model/incident.ts';
import type { Decision, Refusal } from '../../model/plan.ts';
import type { Subject } from '../../model/finding.ts';
import type { ServiceName } from '../../model/ids.ts';
import { never } from '../../model/errors.ts';
import type { DecideContext } from './context.ts';
import { choiceOf, guardIncident, guardPlan, refuse } from './guards.ts';
import {
  enforceControl,
  quarantineRoute,
  restartDependency,
  sharedCause,
} from './playbooks/others.ts';
import { no, planFor } from './playbooks/playbook.ts';
import type { Proposal } from './playbooks/playbook.ts';
import { healRelease } from './playbooks/release.ts';
import { replaceReplica } from './playbooks/replica.ts';

export function decide(incident: Incident, context: DecideContext): Decision {
  const { subject } = incident.diagnosis.hypotheses[0];
  const service = concerned(subject, context);
  const objection = guardIncident(incident, service, context);
  if (objection !== undefined) return refused(objection);
  const proposal = propose(incident, subject, context);
  if (proposal.kind === 'refuse') return refused(proposal.refusal);
  const { draft } = proposal;
  const choice = choiceOf(draft.playbook, draft.fallback, context);
  if (choice === 'off') {
    return refused(
      refuse(
        incident,
        'playbook-off',
        `playbook ${draft.playbook} is off`,
        context.nowMs + 5_000,
        true,
      ),
    );
  }
  const plan = planFor(draft, incident, choice, context);
  const late = guardPlan(incident, plan, context);
  return late === undefined ? { kind: 'plan', plan } : refused(late);
}

function refused(refusal: Refusal): Decision {
  return { kind: 'refuse', refusal };
}

/** The service whose pause, backoff and budget count. */
function concerned(subject: Subject, context: DecideContext): ServiceName | undefined {
  if ('service' in subject) return subject.service;
  if (subject.kind !== 'dependency') return undefined;
  return context.picture.dependencies.get(subject.dependency)?.spec.service;
}

function propose(incident: Incident, subject: Subject, context: DecideContext): Proposal {
  // What the incident was opened for chooses the ladder; the best hypothesis may lift the blame.
  const origin = incident.findings[0]?.subject ?? subject;
  switch (subject.kind) {
    case 'replica':
      return replaceReplica(incident, subject.replica, context);
    case 'release':
      return healRelease(incident, subject.service, context);
    case 'dependency':
      return restartDependency(incident, subject.dependency, context);
    case 'tenant-route':
      return quarantineRoute(incident, subject);
    case 'control':
      return enforceControl(incident, subject.check, context);
    case 'probe':
      return sharedCause(incident, subject.service, context);
    case 'unknown':
      return origin.kind === 'release'
        ? healRelease(incident, subject.service, context)
        : sharedCause(incident, subject.service, context);
    case 'service':
      return no(
        refuse(
          incident,
          'parked',
          `${incident.title}: a trial start runs every minute, a person is asked`,
          context.nowMs + 5_000,
          true,
        ),
      );
    case 'evidence':
      return no(
        refuse(
          incident,
          'no-playbook',
          `${incident.findings[0]?.evidence[0] ?? 'it has a gap'}; nothing may mend the evidence`,
          context.nowMs + 5_000,
          true,
        ),
      );
    case 'node':
      return no(
        refuse(
          incident,
          'no-playbook',
          'nothing can be done about the machine',
          context.nowMs + 5_000,
          true,
        ),
      );
    default:
      return never(subject);
  }
}
