// What is abnormal? One finding says which abnormality, of what, since when, how sure, and on which
// evidence. A finding is level-triggered: it is found again at every look for as long as it lasts.
import { fingerprint } from './ids.ts';
import type {
  CheckId,
  DependencyName,
  Fingerprint,
  ReleaseId,
  ReplicaId,
  ServiceName,
  TenantId,
} from './ids.ts';

export type Subject =
  | { readonly kind: 'replica'; readonly replica: ReplicaId; readonly service: ServiceName }
  | { readonly kind: 'service'; readonly service: ServiceName }
  | { readonly kind: 'release'; readonly release: ReleaseId; readonly service: ServiceName }
  | { readonly kind: 'dependency'; readonly dependency: DependencyName }
  | {
      readonly kind: 'tenant-route';
      readonly tenant: TenantId;
      readonly service: ServiceName;
      readonly method: string;
      readonly route: string;
    }
  | { readonly kind: 'probe'; readonly service: ServiceName }
  | { readonly kind: 'control'; readonly check: CheckId }
  | { readonly kind: 'node' }
  /** A part of the evidence: an intent, a witness, an anchor, the ledger itself. */
  | { readonly kind: 'evidence'; readonly part: string }
  | { readonly kind: 'unknown'; readonly service: ServiceName };

export type FindingKind =
  | 'replica-exited'
  | 'start-failed'
  | 'crash-loop'
  | 'replica-hung'
  | 'replica-unready'
  | 'replica-erroring'
  | 'replica-slow'
  | 'memory-exhausting'
  | 'probes-failing-together'
  | 'service-failing'
  | 'release-erroring'
  | 'dependency-down'
  | 'poison-request'
  | 'control-violated'
  | 'under-capacity'
  | 'over-capacity'
  | 'spares-missing'
  | 'clock-jumped'
  | 'gateway-missing'
  | 'evidence-gap';

export interface Finding {
  readonly fingerprint: Fingerprint;
  readonly kind: FindingKind;
  readonly subject: Subject;
  /** Monotonic ms. */
  readonly sinceMs: number;
  /** 0–1: how sure the detector is that this is abnormal. */
  readonly confidence: number;
  readonly evidence: readonly string[];
  /** Numbers that diagnosis reasons with, by name. */
  readonly measures: Readonly<Record<string, number>>;
}

export function subjectText(subject: Subject): string {
  switch (subject.kind) {
    case 'replica':
      return subject.replica;
    case 'service':
    case 'unknown':
      return subject.service;
    case 'release':
      return `${subject.service}@${subject.release}`;
    case 'dependency':
      return subject.dependency;
    case 'tenant-route':
      return `${subject.tenant} ${subject.method} ${subject.route}`;
    case 'probe':
      return `${subject.service} probes`;
    case 'control':
      return subject.check;
    case 'node':
      return 'this machine';
    case 'evidence':
      return subject.part;
  }
}

export function finding(
  kind: FindingKind,
  subject: Subject,
  sinceMs: number,
  confidence: number,
  evidence: readonly string[],
  measures: Readonly<Record<string, number>> = {},
): Finding {
  const mark = fingerprint(kind, `${subject.kind}/${subjectText(subject)}`);
  return { fingerprint: mark, kind, subject, sinceMs, confidence, evidence, measures };
}
