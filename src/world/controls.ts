// How are compliance controls measured and put right? `measure` is an act of observation, `enforce`
// is a side effect and takes a receipt, `prove` tries what must be impossible as the application.
import type { CheckId } from '../model/ids.ts';
import type { CheckResult } from '../model/signal.ts';
import type { Receipt } from '../model/receipt.ts';

export type EnforceAnswer =
  | { readonly kind: 'enforced'; readonly detail: string }
  | { readonly kind: 'failed'; readonly retryable: boolean; readonly detail: string };

export interface Controls {
  measure(check: CheckId): Promise<CheckResult>;
  /** Idempotent. `subjects`: those violations that the plan names, and no others. */
  enforce(check: CheckId, subjects: readonly string[], receipt: Receipt): Promise<EnforceAnswer>;
  /** Active proof as the application's role; `satisfied` only with a population > 0. */
  prove(check: CheckId): Promise<CheckResult>;
}
