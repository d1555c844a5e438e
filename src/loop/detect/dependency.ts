// Does something that services need not answer? Its own probe says so, as the application's role.
//
//   DE1. Only after the dependency's own number of consecutive failures.
//   DE2. A dependency that never answered since the start is "not up yet" until its service's
//        start-up time has passed: first starts are no incident.
import { finding } from '../../model/finding.ts';
import type { Finding } from '../../model/finding.ts';
import { isDown } from '../../model/picture.ts';
import type { DependencyView, Picture } from '../../model/picture.ts';

export function detectDependencies(picture: Picture, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const dependency of picture.dependencies.values()) {
    if (!isDown(dependency)) continue;
    const { track, spec } = dependency;
    if (track.okAtMs === undefined && nowMs - picture.since < startupMs(picture, dependency)) {
      continue;
    }
    const last = track.last;
    const detail =
      last === undefined || last.kind === 'ok'
        ? 'no answer'
        : last.kind === 'timeout'
          ? `no answer within ${last.afterMs} ms`
          : `${last.kind}: ${last.detail}`;
    found.push(
      finding(
        'dependency-down',
        { kind: 'dependency', dependency: spec.name },
        track.failingSinceMs ?? nowMs,
        0.95,
        [`${track.failures} probes in a row: ${detail}`],
      ),
    );
  }
  return found;
}

function startupMs(picture: Picture, dependency: DependencyView): number {
  const { service } = dependency.spec;
  if (service === undefined) return 5_000;
  return (picture.services.get(service)?.spec.startupMs ?? 5_000) + 2_000;
}
