// What is written down for ever? The kinds of ledger entries and what each carries.
// Persisted: a change of meaning needs a new `v` (see docs/reference/ledger-entries.md).

export type EntryKind =
  | 'controller.started'
  | 'controller.stopped'
  | 'manifest.applied'
  | 'incident.opened'
  | 'incident.closed'
  | 'decision.refused'
  | 'plan.intent'
  | 'plan.outcome'
  | 'plan.verdict'
  | 'approval.decided'
  | 'control.result'
  | 'gateway.ejected'
  | 'gateway.returned'
  | 'gateway.held'
  | 'gateway.crossed'
  | 'release.created'
  | 'tenant.key-created'
  | 'service.audit'
  | 'operator.access'
  | 'evidence.read'
  | 'evidence.denied'
  | 'evidence.act'
  | 'evidence.outage'
  | 'auditor.added'
  | 'auditor.removed'
  | 'clock.jumped';

/** What the live view and `explain` show: one line of the story, in order. */
export interface StoryEvent {
  readonly seq: number;
  /** Wall ms. */
  readonly atMs: number;
  readonly kind: string;
  readonly incident: string | undefined;
  readonly run: string | undefined;
  readonly service: string | undefined;
  readonly text: string;
  readonly data: unknown;
  /** Ledger index where the same fact is written, when it is. */
  readonly ledgerIndex: number | undefined;
}
