// Who did what to whose data? One shape for every access event, filled in from the request.
//
// A1. Tenant, subject and request id come from the verified request, never from the caller.
// A2. Details are redacted before they leave the process: an audit trail must not leak.
import { redact } from './log.ts';
import { currentContext } from './tenant.ts';

/** What a service says. */
export interface AuditEntry {
  /** Verb of the domain, `noun.verb`, e.g. `patient.read`. */
  readonly action: string;
  readonly outcome: 'allowed' | 'denied' | 'failed';
  /** What was touched, e.g. `{ type: "patient", id: "…" }`. */
  readonly resource?: { readonly type: string; readonly id: string };
  /** Anything that helps an auditor; never personal data. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** What is sent. */
export interface AuditEvent extends AuditEntry {
  readonly tenant: string | undefined;
  readonly subject: string | undefined;
  readonly region: string | undefined;
  readonly requestId: string | undefined;
  readonly traceparent: string | undefined;
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
}

export function completeAudit(entry: AuditEntry, atMs: number): AuditEvent {
  const context = currentContext();
  return {
    ...(redact(entry) as AuditEntry),
    tenant: context?.tenant?.tenant,
    subject: context?.tenant?.subject,
    region: context?.tenant?.region,
    requestId: context?.requestId,
    traceparent: context?.traceparent,
    atMs,
  };
}
