// Does a service die again and again? Three unwanted exits of one release within a minute are no
// accident: what they share (the release, the configuration) is to blame, not the next replica.
//
//   CL1. Exits that plans of ours caused do not count.
//   CL2. Exits of another release do not count: a new release starts with a clean sheet.
//   CL3. Exits with a poison request inside are explained by it and do not count.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import type { ExitRecord, Picture, ServiceView } from '../../model/picture.ts';
import { exitText } from '../../model/replica.ts';

const CRASHES = { max: 3, windowMs: 60_000 } as const;

export function detectCrashLoop(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const service of picture.services.values()) {
    const crashes = recentCrashes(service, nowMs);
    const first = crashes[0];
    if (crashes.length < CRASHES.max || first === undefined) continue;
    const failedStarts = crashes.filter((c) => !c.wasReady).length;
    const subject = {
      kind: 'release',
      release: first.release,
      service: service.spec.name,
    } as const;
    found.push(
      finding('crash-loop', subject, first.atMs, 0.95, [
        `${crashes.length} exits within ${CRASHES.windowMs / 1000} s, ` +
          `${failedStarts} before becoming ready`,
        ...crashes.slice(-3).map((c) => `${c.replica}: ${exitText(c.exit)}`),
      ]),
    );
  }
  return found;
}

export function recentCrashes(service: ServiceView, nowMs: number): readonly ExitRecord[] {
  const explained = new Set(
    service.deaths.filter((d) => d.suspects.length > 0).map((d) => d.replica),
  );
  return service.exits.filter(
    (exit) =>
      !exit.wanted &&
      exit.release === service.release &&
      exit.atMs > nowMs - CRASHES.windowMs &&
      // Killed from outside (SIGKILL) is not the release's own doing.
      !(exit.exit.kind === 'signal' && exit.exit.signal === 'SIGKILL') &&
      !explained.has(exit.replica),
  );
}
