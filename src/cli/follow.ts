// How does a command wait for what it asked for? It follows the run to its end and says each step
// as it happens; a control plane that is killed meanwhile is waited for, because the run goes on
// (P6).
import type { ControlClient } from '../api/client.ts';
import type { RunStory, StepView } from '../api/contract.ts';
import { KinError } from '../model/errors.ts';
import type { RunState } from '../model/run.ts';
import type { Context } from './context.ts';
import { EXIT } from './exit.ts';
import { runState } from './show/answers.ts';
import { harmless } from './style.ts';
import { durationText } from './text.ts';

const POLL_MS = 250;
const UNREACHABLE_MS = 60_000;
const FINAL: ReadonlySet<RunState> = new Set(['done', 'undone', 'refused', 'stuck']);

/** Tries again while the API is away for less than a minute. */
export async function persist<T>(context: Context, ask: () => Promise<T>): Promise<T> {
  const untilMs = context.nowMs() + UNREACHABLE_MS;
  // Bounded by `untilMs`.
  while (true) {
    try {
      return await ask();
    } catch (error) {
      const away = error instanceof KinError && error.code === 'KIN_API_UNREACHABLE';
      if (!away || context.nowMs() > untilMs) throw error;
      await context.sleep(POLL_MS * 2);
    }
  }
}

/** Answers the run at its end; prints to stderr with --json, so that stdout has one value. */
export async function followRun(
  context: Context,
  client: ControlClient,
  id: string,
): Promise<RunStory> {
  const print = context.globals.json ? context.term.err : context.term.out;
  const said = new Map<string, string>();
  let waiting = false;
  // Ends with the run, which has a deadline of its own; Ctrl-C leaves the run to go on.
  while (true) {
    const story = await persist(context, () => client.run(id));
    for (const step of story.steps) {
      const text = stepText(context, step);
      if (text === undefined || said.get(step.key) === text) continue;
      said.set(step.key, text);
      print(`${text}\n`);
    }
    if (FINAL.has(story.run.state)) return story;
    if (story.run.state === 'waiting' && !waiting) {
      waiting = true;
      print('  waits for a person: see "kintsugi approve"\n');
    }
    await context.sleep(POLL_MS);
  }
}

function stepText(context: Context, step: StepView): string | undefined {
  const { record } = step;
  if (record === undefined) return undefined;
  const { paint } = context;
  const what = harmless(step.key.startsWith('undo') ? `undo: ${step.text}` : step.text);
  const detail = record.detail === '' ? '' : paint.dim(`  ${harmless(record.detail)}`);
  if (record.state === 'intended') return `  ${paint.cyan('…')} ${what}`;
  const took = record.tookMs === undefined ? '' : `  ${durationText(record.tookMs)}`;
  const mark = record.state === 'done' ? paint.green('✓') : paint.red('✗');
  return `  ${mark} ${what}${took}${detail}`;
}

export function runEndText(context: Context, story: RunStory): string {
  const { run } = story;
  const took =
    run.endedAtMs === undefined ? '' : ` in ${durationText(run.endedAtMs - run.startedAtMs)}`;
  const why = run.failure === undefined ? '' : `: ${harmless(run.failure)}`;
  return `${runState(run, context.paint)}${took}${why}`;
}

export const runExit = (story: RunStory): number =>
  story.run.state === 'done' ? EXIT.ok : story.run.state === 'refused' ? EXIT.refused : EXIT.failed;
