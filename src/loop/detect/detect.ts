// What is abnormal right now? All detectors over one picture, in a fixed order.
//
//   D1. Pure: the same picture and time give the same findings.
//   D2. No fingerprint appears twice: the first finding of a fingerprint stands.
import type { Finding } from '../../model/finding.ts';
import type { Picture } from '../../model/picture.ts';
import { detectCapacity } from './capacity.ts';
import { detectControls } from './control.ts';
import { detectCrashLoop } from './crashloop.ts';
import { detectDependencies } from './dependency.ts';
import { detectEvidence } from './evidence.ts';
import { detectExited } from './exited.ts';
import { detectFailing } from './failing.ts';
import { detectHung } from './hung.ts';
import { detectMemory } from './memory.ts';
import { detectOutliers } from './outlier.ts';
import { detectPoison } from './poison.ts';
import { detectTogether } from './together.ts';
import { detectUnready } from './unready.ts';

type Detector = (picture: Picture, nowMs: number) => Finding[];

export const DETECTORS: readonly Detector[] = [
  detectExited,
  detectHung,
  detectUnready,
  detectTogether,
  detectDependencies,
  detectPoison,
  detectCrashLoop,
  detectFailing,
  detectOutliers,
  detectMemory,
  detectControls,
  detectEvidence,
  detectCapacity,
];

export function detect(picture: Picture, nowMs: number): readonly Finding[] {
  const seen = new Set<string>();
  const found: Finding[] = [];
  for (const detector of DETECTORS) {
    for (const finding of detector(picture, nowMs)) {
      if (seen.has(finding.fingerprint)) continue;
      seen.add(finding.fingerprint);
      found.push(finding);
    }
  }
  return found;
}
