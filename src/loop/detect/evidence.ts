// Is the evidence itself whole? An intent whose outcome never came, a witness that saw another
// history, an anchor that was refused: each is an incident of its own (P1, P10).
//
//   EG1. What was wrong once and is no longer is no finding: these are levels, and the ledger keeps
//        the story.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { Picture } from '../../model/picture.ts';

export function detectEvidence(picture: Picture): Finding[] {
  return [...picture.evidence].map(([part, { detail, sinceMs }]) =>
    finding('evidence-gap', { kind: 'evidence', part }, sinceMs, 1, [detail]),
  );
}
