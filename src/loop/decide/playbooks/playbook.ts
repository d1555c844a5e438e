// What is a playbook? A pure function from an incident to concrete steps, or to the reason why it
// does not apply. Which playbook fits which incident stands in `decide.ts`.
import { planId, target } from '../../../model/ids.ts';
import type { ServiceName } from '../../../model/ids.ts';
import type { Incident } from '../../../model/incident.ts';
import type { PlaybookChoice } from '../../../model/manifest.ts';
import type { Plan, PlannedStep, Refusal } from '../../../model/plan.ts';
import type { DecideContext } from '../context.ts';
import { deadlineOf } from '../steps.ts';

export type Proposal =
  | { readonly kind: 'steps'; readonly draft: Draft }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

export interface Draft {
  readonly playbook: string;
  /** How it runs when the manifest does not say. */
  readonly fallback: PlaybookChoice;
  readonly targetKind: string;
  readonly targetName: string;
  readonly service: ServiceName | undefined;
  readonly summary: string;
  readonly steps: readonly [PlannedStep, ...PlannedStep[]];
  readonly disrupts: number;
  /** How long the symptom must stay away. */
  readonly stableMs: number;
}

export const steps = (draft: Draft): Proposal => ({ kind: 'steps', draft });
export const no = (refusal: Refusal): Proposal => ({ kind: 'refuse', refusal });

const VERIFY_DEADLINE_MS = 30_000;

export function planFor(
  draft: Draft,
  incident: Incident,
  choice: PlaybookChoice,
  context: DecideContext,
): Plan {
  return {
    id: planId(`${incident.id}.${incident.attempts.length + 1}`),
    playbook: draft.playbook,
    target: target(draft.targetKind, draft.targetName),
    origin: { kind: 'heal', incident: incident.id },
    summary: draft.summary,
    steps: draft.steps,
    service: draft.service,
    disrupts: draft.disrupts,
    approval:
      choice === 'ask'
        ? {
            kind: 'needed',
            why: `playbook ${draft.playbook} asks first`,
            deadlineMs: context.manifest.healing.approvalDeadlineMs,
          }
        : { kind: 'none' },
    verification: {
      symptoms: incident.findings.map((f) => f.fingerprint),
      stableMs: draft.stableMs,
      deadlineMs: VERIFY_DEADLINE_MS,
    },
    deadlineMs: deadlineOf(draft.steps),
  };
}
