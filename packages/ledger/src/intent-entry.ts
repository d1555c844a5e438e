// What does an intent say? The caller's wish as the entry that is written before anything is done.

import type { IntentInput } from './api.ts';
import type { IntentEntry } from './entry.ts';
import { canonicalJson } from './json.ts';
import type { JsonValue } from './json.ts';

export function intentEntry(input: IntentInput, nowMs: number): IntentEntry {
  // Parsed back so that what is remembered is what was written, not the caller's live object.
  const detail: JsonValue = JSON.parse(canonicalJson(input.detail ?? null));
  const { kind: action, subject, plan, deadlineMs } = input;
  return {
    v: 1,
    kind: 'intent',
    at: new Date(nowMs).toISOString(),
    action,
    subject,
    detail,
    ...(plan === undefined ? {} : { plan }),
    ...(deadlineMs === undefined ? {} : { deadlineAt: new Date(nowMs + deadlineMs).toISOString() }),
  };
}
