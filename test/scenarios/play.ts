// How is a scenario played? Moments in the order of time; an expectation is looked at until it
// holds or its window ends, and one that must ALWAYS hold is looked at for the whole window.
//
//   PY1. Each expectation is judged exactly once, and one that was never looked at has failed.
import type { Expectation, Moment, Scenario } from './language.ts';
import type { Snapshot, Stage, StoryLine } from './stage.ts';

export interface PlayOptions {
  /** Time between two looks. */
  readonly everyMs: number;
  /** Windows end this many times later: for machines that are slower than the simulated one. */
  readonly patience: number;
}

export interface Judged {
  readonly expectation: Expectation;
  readonly held: boolean;
  /** When it held first, or why it did not. */
  readonly detail: string;
}

/** Everything seen so far. */
export interface Seen {
  readonly first: Snapshot | undefined;
  readonly last: Snapshot | undefined;
  readonly story: readonly StoryLine[];
  readonly traffic: { readonly requests: number; readonly failed: number };
}

interface Open {
  readonly moment: Extract<Moment, { kind: 'want' }>;
  readonly endMs: number;
  /** As it was when the window opened. */
  begun: Seen | undefined;
}

const ALWAYS: ReadonlySet<Expectation['kind']> = new Set([
  'not-restarted',
  'nothing-done',
  'same-pids',
  'served',
]);

export async function play(
  scenario: Scenario,
  stage: Stage,
  options: PlayOptions,
): Promise<readonly Judged[]> {
  const acts = scenario.timeline
    .flatMap((m) => (m.kind === 'at' ? [m] : []))
    .sort((a, b) => a.atS - b.atS);
  const open = new Set<Open>(
    scenario.timeline.flatMap((m) =>
      m.kind === 'want'
        ? [{ moment: m, endMs: m.toS * 1_000 * options.patience, begun: undefined }]
        : [],
    ),
  );
  const judged: Judged[] = [];
  const story: StoryLine[] = [];
  let first: Snapshot | undefined;
  let last: Snapshot | undefined;
  while (open.size > 0 || acts.length > 0) {
    const nowMs = stage.nowMs();
    for (let act = acts[0]; act !== undefined && act.atS * 1_000 <= nowMs; act = acts[0]) {
      acts.shift();
      await stage.act(act.fault);
    }
    last = (await stage.status()) ?? last;
    first ??= last;
    story.push(...(await stage.story(story.at(-1)?.seq ?? 0)));
    const seen: Seen = { first, last, story: story.slice(), traffic: await stage.traffic() };
    for (const each of open) {
      const answer = look(each, seen, nowMs);
      if (answer === undefined) continue;
      open.delete(each);
      judged.push(answer);
    }
    if (open.size > 0 || acts.length > 0) await stage.wait(options.everyMs);
  }
  return judged;
}

function look(open: Open, seen: Seen, nowMs: number): Judged | undefined {
  const { moment, endMs } = open;
  const { expectation } = moment;
  if (nowMs < moment.fromS * 1_000) return undefined;
  open.begun ??= seen;
  const why = judge(expectation, open.begun, seen);
  const at = `at ${(nowMs / 1_000).toFixed(2)} s`;
  if (ALWAYS.has(expectation.kind)) {
    if (why !== undefined) return { expectation, held: false, detail: `${at}: ${why}` };
    return nowMs >= endMs ? { expectation, held: true, detail: 'the whole time' } : undefined;
  }
  if (why === undefined) return { expectation, held: true, detail: at };
  return nowMs >= endMs ? { expectation, held: false, detail: `${at} still: ${why}` } : undefined;
}

/** Undefined when it holds, else why not. */
function judge(wanted: Expectation, begun: Seen, seen: Seen): string | undefined {
  switch (wanted.kind) {
    case 'healed': {
      if (lines(seen, 'incident.closed', wanted.subject).length === 0) return 'no closed incident';
      const open = seen.last?.incidents.find((i) => i.title.includes(wanted.subject));
      if (open !== undefined) return `"${open.title}" is ${open.state}`;
      return full(seen.last);
    }
    case 'blamed':
      return lines(seen, 'incident.opened', wanted.subject).length > 0
        ? undefined
        : 'no incident names it';
    case 'escalated': {
      const found = seen.last?.incidents.some(
        (i) =>
          i.title.includes(wanted.subject) && i.state === 'escalated' && i.reason === wanted.reason,
      );
      return found === true ? undefined : 'nobody was asked';
    }
    case 'replaced': {
      const there = replicas(seen.last).some((r) => r.id === wanted.replica);
      return there ? `${wanted.replica} is still there` : full(seen.last);
    }
    case 'quarantined': {
      const found = seen.last?.quarantines.some(
        (q) => q.tenant === wanted.tenant && q.route === wanted.route,
      );
      return found === true ? undefined : 'it is not held back';
    }
    case 'rolled-back':
      return judgeRollback(wanted.service, seen);
    case 'dependency-restarted':
      return lines(seen, 'run.done', wanted.dependency).length > 0
        ? undefined
        : 'no run that restarted it is done';
    case 'reproved':
      return lines(seen, 'run.step', 'prove-control').some((l) => l.text.includes('proved on'))
        ? undefined
        : 'it was not proved';
    case 'resumed': {
      const since = begun.story.at(-1)?.seq ?? 0;
      const again = seen.story.some(
        (l) => l.kind === 'controller.started' && l.seq > since && l.text.includes('adopted'),
      );
      return again ? undefined : 'the control plane has not said that it adopted anything';
    }
    case 'full-capacity':
      return full(seen.last);
    case 'not-restarted':
      return judgeUntouched(wanted.service, begun, seen);
    case 'nothing-done': {
      const since = begun.story.at(-1)?.seq ?? 0;
      const done = seen.story.find(
        (l) => l.seq > since && (l.kind.startsWith('run.') || l.kind.startsWith('incident.')),
      );
      return done === undefined ? undefined : `${done.kind}: ${done.text}`;
    }
    case 'same-pids': {
      const now = new Map(replicas(seen.last).map((r) => [r.id, r.pid]));
      const other = replicas(begun.last).find(
        (r) => r.id.startsWith(`${wanted.service}-`) && now.get(r.id) !== r.pid,
      );
      return other === undefined ? undefined : `${other.id} has another pid or is gone`;
    }
    case 'served': {
      const requests = seen.traffic.requests - begun.traffic.requests;
      const failed = seen.traffic.failed - begun.traffic.failed;
      // A handful of requests says nothing yet.
      if (requests < 100 || failed / requests <= 1 - wanted.share) return undefined;
      return `${failed.toFixed(0)} of ${requests.toFixed(0)} requests failed`;
    }
  }
}

function lines(seen: Seen, kind: string, word: string): StoryLine[] {
  return seen.story.filter((l) => l.kind === kind && l.text.includes(word));
}

function replicas(snapshot: Snapshot | undefined): Snapshot['services'][0]['replicas'] {
  return (snapshot?.services ?? []).flatMap((s) => s.replicas);
}

function full(snapshot: Snapshot | undefined): string | undefined {
  const short = snapshot?.services.find(
    (s) => s.replicas.filter((r) => r.available).length < s.wanted,
  );
  return short === undefined ? undefined : `${short.name} has fewer replicas than wanted`;
}

/** A deploy that was undone, or a rollback that was done: the release of the start is back. */
function judgeRollback(service: string, seen: Seen): string | undefined {
  const first = seen.first?.services.find((s) => s.name === service);
  const last = seen.last?.services.find((s) => s.name === service);
  const tried = seen.story.some(
    (l) =>
      l.service === service &&
      (l.kind === 'run.undone' ||
        l.kind === 'release.bad' ||
        (l.kind === 'run.done' && l.text.includes('go back'))),
  );
  if (!tried) return 'nothing was rolled back';
  if (first === undefined || last === undefined) return 'no such service';
  const strays = last.replicas.filter((r) => r.release !== first.release);
  if (last.release !== first.release || strays.length > 0) return 'another release still runs';
  return full(seen.last);
}

function judgeUntouched(service: string, begun: Seen, seen: Seen): string | undefined {
  const before = begun.last?.services.find((s) => s.name === service)?.replicas ?? [];
  const now = seen.last?.services.find((s) => s.name === service)?.replicas ?? [];
  const other =
    before.find((r) => !now.some((n) => n.id === r.id && n.pid === r.pid)) ??
    now.find((r) => !before.some((b) => b.id === r.id));
  return other === undefined ? undefined : `${other.id} was started or ended`;
}
