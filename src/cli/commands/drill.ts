// `drill`: breaks something on purpose and watches it heal. Lists what there is without arguments.
//
//   DR1. It ends when every incident since the fault is healed or with a person, and says which; a
//        fault of the controller itself ends when the next one acts.
import type { DrillAnswer, DrillSpec, IncidentSummary } from '../../api/contract.ts';
import { KinError } from '../../model/errors.ts';
import { connect } from '../connect.ts';
import type { Connection } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { persist } from '../follow.ts';
import { showDrills } from '../show/answers.ts';
import { stateText } from '../show/status.ts';
import { harmless } from '../style.ts';
import { durationText } from '../text.ts';

export interface DrillOptions {
  readonly follow: boolean;
  readonly limitMs: number;
}

const POLL_MS = 250;
/** So long nothing new, and everything at its end: the drill is over. */
const QUIET_MS = 1_500;

export async function drillCommand(
  context: Context,
  name: string | undefined,
  target: string | undefined,
  options: DrillOptions,
): Promise<number> {
  const { client } = connect(context);
  if (name === undefined || target === undefined) {
    const all = await client.drills();
    const drills = name === undefined ? all : all.filter((drill) => drill.name === name);
    if (name !== undefined && drills.length === 0) throw unknownDrill(name, all);
    answer(context, drills, () => showDrills(drills, context.paint));
    return EXIT.ok;
  }
  const spec = (await client.drills()).find((drill) => drill.name === name);
  const { storySeq } = await client.status();
  const done = await client.drill(name, target);
  if (!context.globals.json) context.term.out(`${harmless(done.did)}\n`);
  if (!options.follow || spec?.expect === 'nothing') {
    if (context.globals.json) context.term.out(`${JSON.stringify(done)}\n`);
    return EXIT.ok;
  }
  const watch = { drill: done, storySeq, limitMs: options.limitMs, spec };
  if (spec?.targets === 'controller') return watchController(context, client, watch);
  const incidents = await watchHealing(context, client, watch);
  answer(context, { drill: done, incidents }, () => outcomeLines(context, incidents));
  const ended = incidents.length > 0 && incidents.every(isAtEnd);
  return ended ? EXIT.ok : EXIT.failed;
}

function unknownDrill(name: string, all: readonly DrillSpec[]): KinError {
  const names = all.map((drill) => drill.name).join(', ');
  return new KinError(
    'KIN_DRILL_UNKNOWN',
    `there is no drill ${JSON.stringify(name)}`,
    names === '' ? 'The manifest says production: drills are refused.' : `Use one of ${names}.`,
  );
}

const isAtEnd = (incident: IncidentSummary): boolean =>
  incident.state.kind === 'healed' || incident.state.kind === 'escalated';

interface Watch {
  readonly drill: DrillAnswer;
  readonly storySeq: number;
  readonly limitMs: number;
  readonly spec: DrillSpec | undefined;
}

/** Says what happened since; answers the last number. */
async function tell(
  context: Context,
  client: Connection['client'],
  after: number,
  drill: DrillAnswer,
): Promise<number> {
  const events = await persist(context, () => client.story(after, 200));
  if (!context.globals.json) {
    for (const event of events) {
      const at = `+${durationText(Math.max(0, event.atMs - drill.atMs))}`;
      context.term.out(`  ${at.padEnd(9)} ${harmless(event.text)}\n`);
    }
  }
  return events.at(-1)?.seq ?? after;
}

/** DR1. */
async function watchHealing(
  context: Context,
  client: Connection['client'],
  { drill, storySeq, limitMs }: Watch,
): Promise<readonly IncidentSummary[]> {
  const untilMs = context.nowMs() + limitMs;
  let seen = storySeq;
  let quietSinceMs = context.nowMs();
  let incidents: readonly IncidentSummary[] = [];
  while (context.nowMs() < untilMs) {
    const last = await tell(context, client, seen, drill);
    if (last !== seen) quietSinceMs = context.nowMs();
    seen = last;
    const all = await persist(context, () => client.incidents(50));
    // An incident that was there before and came back to life is not ours to wait for.
    incidents = all.filter((incident) => incident.openedAtMs >= drill.atMs - 1_000);
    const status = await persist(context, () => client.status());
    const over = incidents.length > 0 && incidents.every(isAtEnd) && status.runs.length === 0;
    if (over && context.nowMs() - quietSinceMs >= QUIET_MS) return incidents;
    await context.sleep(POLL_MS);
  }
  return incidents;
}

/** No incident tells of a controller that died: the next one does, by acting. */
async function watchController(
  context: Context,
  client: Connection['client'],
  { drill, storySeq, limitMs }: Watch,
): Promise<number> {
  const untilMs = context.nowMs() + limitMs;
  let seen = storySeq;
  while (context.nowMs() < untilMs) {
    const { instance } = await persist(context, () => client.status());
    seen = await tell(context, client, seen, drill);
    if (instance.startedAtMs > drill.atMs && instance.mode === 'acting') {
      const tookMs = context.nowMs() - drill.atMs;
      answer(context, { drill, pid: instance.pid, tookMs }, () => [
        `${context.paint.green('another controller acts')} after ${durationText(tookMs)}, ` +
          `pid ${instance.pid}`,
      ]);
      return EXIT.ok;
    }
    await context.sleep(POLL_MS);
  }
  context.term.err('no other controller took over in this time\n');
  return EXIT.failed;
}

function outcomeLines(context: Context, incidents: readonly IncidentSummary[]): string[] {
  const { paint } = context;
  if (incidents.length === 0) return [paint.red('nothing was noticed in this time')];
  return incidents.map((incident) => {
    const took =
      incident.healedAtMs === undefined
        ? ''
        : ` in ${durationText(incident.healedAtMs - incident.openedAtMs)}`;
    const title = paint.bold(harmless(incident.title));
    return `${stateText(incident, paint)}${took}: ${title}  (kintsugi explain ${incident.id})`;
  });
}
