// What is to blame? Findings are gathered under what they share, so that a dependency that is down
// is one incident, and not one for every replica that suffers from it (P3).
//
//   DI1. Pure. A finding of a fault lands in at most one group, differences of capacity in none; in
//        no group only while a dependency is between up and down.
//   DI2. A shared cause outranks its symptoms: dependency, release, probe, then single replicas.
//   DI3. `unknown` is an answer.
import type { Finding, FindingKind, Subject } from '../../model/finding.ts';
import { subjectText } from '../../model/finding.ts';
import { fingerprint } from '../../model/ids.ts';
import type { DependencyName, Fingerprint, ServiceName } from '../../model/ids.ts';
import type { Diagnosis, Hypothesis } from '../../model/incident.ts';
import type { DependencyView, Picture, ServiceView } from '../../model/picture.ts';
import { serviceReplicas } from '../../model/budget.ts';
import { backAtMs } from '../../model/picture.ts';

export interface Group {
  readonly fingerprint: Fingerprint;
  readonly title: string;
  readonly findings: readonly Finding[];
  readonly diagnosis: Diagnosis;
}

/** Differences that the loop closes without anything being at fault. */
const DIFFERENCES: ReadonlySet<FindingKind> = new Set([
  'under-capacity',
  'over-capacity',
  'spares-missing',
]);

/** What a missing dependency does to those that need it. */
const SYMPTOMS: ReadonlySet<FindingKind> = new Set([
  'replica-unready',
  'replica-erroring',
  'replica-slow',
  'replica-hung',
  'service-failing',
  'release-erroring',
  'probes-failing-together',
  'start-failed',
  'crash-loop',
]);

/** A dependency that came back this short ago still explains what its users show. */
const AFTERMATH_MS = 5_000;
/** A release this young is the first suspect for what its replicas do. */
const NEW_RELEASE_MS = 600_000;

export function diagnose(
  findings: readonly Finding[],
  picture: Picture,
  nowMs: number,
): readonly Group[] {
  const left = new Set(findings.filter((f) => !DIFFERENCES.has(f.kind)));
  const groups: Group[] = [
    ...groupDependencies(left, picture, nowMs),
    ...groupSingles(left, 'poison-request', 'a request crashes what serves it'),
    ...groupSingles(left, 'control-violated', 'a control is broken'),
    ...groupEvidence(left),
    ...groupReleases(left, picture, nowMs),
    ...groupProbes(left),
    ...groupServices(left),
    ...groupReplicas(left),
  ];
  return groups;
}

function take(left: Set<Finding>, wanted: (finding: Finding) => boolean): Finding[] {
  const taken = [...left].filter(wanted);
  for (const finding of taken) left.delete(finding);
  return taken;
}

function group(
  subject: Subject,
  title: string,
  findings: readonly Finding[],
  hypotheses: readonly [Hypothesis, ...Hypothesis[]],
): Group {
  const mark = fingerprint('incident', `${subject.kind}/${subjectText(subject)}`);
  return { fingerprint: mark, title, findings, diagnosis: { hypotheses } };
}

export function serviceOf(subject: Subject): ServiceName | undefined {
  return 'service' in subject ? subject.service : undefined;
}

function groupDependencies(left: Set<Finding>, picture: Picture, nowMs: number): Group[] {
  const groups: Group[] = [];
  for (const dependency of picture.dependencies.values()) {
    const { name, service } = dependency.spec;
    const users = usersOf(picture, name);
    const down = [...left].find(
      (f) => f.kind === 'dependency-down' && subjectText(f.subject) === name,
    );
    const providerGone =
      service === undefined
        ? []
        : [...left].filter((f) => serviceOf(f.subject) === service && f.subject.kind === 'replica');
    if (down === undefined && providerGone.length === 0) {
      // Not yet known to be down, or its users are still coming back: blaming them now would
      // restart them for nothing.
      if (isUnsure(dependency, picture, nowMs)) take(left, (f) => isSymptom(f, users));
      continue;
    }
    const subject = { kind: 'dependency', dependency: name } as const;
    const own = take(left, (f) => f === down || providerGone.includes(f));
    const symptoms = take(left, (f) => isSymptom(f, users));
    const why =
      symptoms.length === 0
        ? 'its own probe or process says so'
        : `its own probe or process says so, and ${symptoms.length} findings of ` +
          `${users.size} services that need it`;
    groups.push(
      group(
        subject,
        `${name} is down`,
        [...own, ...symptoms],
        [
          { subject, confidence: 0.95, why },
          { subject: { kind: 'node' }, confidence: 0.05, why: 'everything on it would suffer too' },
        ],
      ),
    );
  }
  return groups;
}

/** Is it between up and down: a probe failed, its process is starting, or it came back just now? */
function isUnsure(dependency: DependencyView, picture: Picture, nowMs: number): boolean {
  const { track, spec } = dependency;
  if (track.failures > 0 || track.okAtMs === undefined) return true;
  const back = backAtMs(dependency, picture);
  if (back !== undefined && nowMs - back < AFTERMATH_MS) return true;
  if (spec.service === undefined) return false;
  return !serviceReplicas(picture, spec.service).some(
    (r) => r.phase === 'ready' && r.exited === undefined,
  );
}

function isSymptom(finding: Finding, users: ReadonlySet<ServiceName>): boolean {
  const service = serviceOf(finding.subject);
  return service !== undefined && users.has(service) && SYMPTOMS.has(finding.kind);
}

function usersOf(picture: Picture, name: DependencyName): ReadonlySet<ServiceName> {
  const users = [...picture.services.values()].filter((s) => s.spec.dependsOn.includes(name));
  return new Set(users.map((s) => s.spec.name));
}

function groupSingles(left: Set<Finding>, kind: FindingKind, what: string): Group[] {
  return take(left, (f) => f.kind === kind).map((f) =>
    group(
      f.subject,
      `${subjectText(f.subject)}: ${what}`,
      [f],
      [{ subject: f.subject, confidence: f.confidence, why: f.evidence[0] ?? what }],
    ),
  );
}

/** Its title is what is wrong: nobody but a person can do anything about it. */
function groupEvidence(left: Set<Finding>): Group[] {
  return take(left, (f) => f.kind === 'evidence-gap').map((f) => {
    const why = f.evidence[0] ?? 'it has a gap';
    return group(
      f.subject,
      `evidence, ${subjectText(f.subject)}: ${why}`,
      [f],
      [{ subject: f.subject, confidence: f.confidence, why }],
    );
  });
}

function groupReleases(left: Set<Finding>, picture: Picture, nowMs: number): Group[] {
  const groups: Group[] = [];
  const heads = take(left, (f) => f.kind === 'release-erroring' || f.kind === 'crash-loop');
  for (const head of heads) {
    if (head.subject.kind !== 'release') continue;
    const { service, release } = head.subject;
    const symptoms = take(
      left,
      (f) =>
        serviceOf(f.subject) === service &&
        (f.kind === 'replica-exited' ||
          f.kind === 'replica-erroring' ||
          f.kind === 'service-failing' ||
          f.kind === 'start-failed' ||
          f.kind === 'replica-unready'),
    );
    const view = picture.services.get(service);
    const young = view !== undefined && isNew(view, nowMs);
    const name = `${service}@${release}`;
    const what = head.kind === 'crash-loop' ? 'crashes again and again' : 'fails its clients';
    const change: Hypothesis = {
      subject: head.subject,
      confidence: young ? 0.9 : 0.4,
      why: young ? 'it began with the change of release' : 'its replicas share it',
    };
    const other: Hypothesis = {
      subject: { kind: 'unknown', service },
      confidence: young ? 0.1 : 0.6,
      why: 'no change of ours is near in time',
    };
    const ranked: readonly [Hypothesis, Hypothesis] = young ? [change, other] : [other, change];
    groups.push(group(head.subject, `${name} ${what}`, [head, ...symptoms], ranked));
  }
  return groups;
}

export function isNew(service: ServiceView, nowMs: number): boolean {
  return (
    service.previous !== undefined &&
    service.releasedAtMs !== undefined &&
    nowMs - service.releasedAtMs < NEW_RELEASE_MS
  );
}

function groupProbes(left: Set<Finding>): Group[] {
  return take(left, (f) => f.kind === 'probes-failing-together').map((head) => {
    const service = serviceOf(head.subject);
    const symptoms = take(
      left,
      (f) =>
        serviceOf(f.subject) === service &&
        (f.kind === 'replica-unready' ||
          f.kind === 'replica-hung' ||
          f.kind === 'replica-erroring' ||
          f.kind === 'replica-slow'),
    );
    const fine = (head.measures['served'] ?? 0) > 0 && head.measures['failed'] === 0;
    const name = service ?? ('' as ServiceName);
    const unknown: Hypothesis = {
      subject: { kind: 'unknown', service: name },
      confidence: fine ? 0.1 : 0.6,
      why: 'something that all replicas share',
    };
    const probe: Hypothesis = {
      subject: head.subject,
      confidence: fine ? 0.9 : 0.4,
      why: fine ? 'clients are served well while every probe fails' : 'all fail at once',
    };
    return group(
      head.subject,
      `${name}: every probe fails at once`,
      [head, ...symptoms],
      fine ? [probe, unknown] : [unknown, probe],
    );
  });
}

function groupServices(left: Set<Finding>): Group[] {
  const heads = take(left, (f) => f.kind === 'service-failing' || f.kind === 'start-failed');
  return heads.map((head) => {
    const service = serviceOf(head.subject);
    const symptoms = take(
      left,
      (f) =>
        serviceOf(f.subject) === service &&
        (f.kind === 'replica-erroring' || f.kind === 'replica-slow'),
    );
    const what = head.kind === 'start-failed' ? 'does not start' : 'fails its clients';
    return group(
      head.subject,
      `${subjectText(head.subject)} ${what}`,
      [head, ...symptoms],
      [{ subject: head.subject, confidence: 0.6, why: head.evidence[0] ?? what }],
    );
  });
}

/** The strongest first: it names the incident and chooses the playbook. */
const RANK: readonly FindingKind[] = [
  'replica-exited',
  'replica-hung',
  'replica-erroring',
  'replica-slow',
  'memory-exhausting',
  'replica-unready',
];

const TITLES: Readonly<Partial<Record<FindingKind, string>>> = {
  'replica-exited': 'ended',
  'replica-hung': 'hangs',
  'replica-erroring': 'answers with errors',
  'replica-slow': 'is slow',
  'memory-exhausting': 'runs out of memory',
  'replica-unready': 'is not ready',
};

function groupReplicas(left: Set<Finding>): Group[] {
  const groups: Group[] = [];
  const names = new Set([...left].map((f) => subjectText(f.subject)));
  for (const name of names) {
    const mine = take(left, (f) => subjectText(f.subject) === name);
    mine.sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
    const [head] = mine;
    if (head === undefined) continue;
    const title = `${name} ${TITLES[head.kind] ?? head.kind}`;
    groups.push(
      group(head.subject, title, mine, [
        { subject: head.subject, confidence: head.confidence, why: head.evidence[0] ?? title },
      ]),
    );
  }
  return groups;
}
