// Did a replica end that nobody asked to end? A fact, not a judgement: certain, and found for as
// long as the dead replica stands in the book (its replacement takes it out).
//
//   DX1. A replica that a plan of ours ended is no finding.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { Picture } from '../../model/picture.ts';
import { exitText } from '../../model/replica.ts';

export function detectExited(picture: Picture): Finding[] {
  const found: Finding[] = [];
  for (const replica of picture.replicas.values()) {
    if (replica.exited === undefined || replica.phase !== 'ready') continue;
    const { atMs, exit } = replica.exited;
    const subject = { kind: 'replica', replica: replica.id, service: replica.service } as const;
    found.push(finding('replica-exited', subject, atMs, 1, [exitText(exit)]));
  }
  return found;
}
