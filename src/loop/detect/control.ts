// Is a compliance control broken? The check's own verdict, with its violations as evidence.
//
//   CO1. Only `not-satisfied` is a finding; not evaluated, stale or error is never green, and is
//        shown as what it is (P11), but nothing is healed on it.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { Picture } from '../../model/picture.ts';

export function detectControls(picture: Picture): Finding[] {
  const found: Finding[] = [];
  for (const control of picture.controls.values()) {
    if (control.result?.kind !== 'not-satisfied') continue;
    found.push(
      finding(
        'control-violated',
        { kind: 'control', check: control.id },
        control.atMs,
        1,
        control.result.violations.slice(0, 50).map((v) => `${v.subject}: ${v.detail}`),
      ),
    );
  }
  return found;
}
