// What happens right now? The live view of `up` and `top`: redrawn in place on a terminal, plain
// lines with their time when piped, one JSON value a line with --json.
//
//   LV1. At most four pictures a second, whatever happens.
//   LV2. When the control plane does not answer the view says so and goes on by itself.
import { followEvents } from '../api/client.ts';
import type { ControlClient, StreamItem } from '../api/client.ts';
import type { Status, StoryEvent } from '../api/contract.ts';
import type { Context } from './context.ts';
import { CLEAR, frame, HIDE_CURSOR, redraw, SHOW_CURSOR } from './lines.ts';
import { eventLine } from './show/answers.ts';
import {
  headLines,
  incidentLines,
  ledgerLine,
  overallText,
  replicaTable,
  serviceTable,
} from './show/status.ts';
import { harmless } from './style.ts';
import { dateText } from './text.ts';

const STORY_MAX = 200;
const FRAME_MS = 250;
const IDLE_MS = 1_000;
const FIRST_EVENTS = 20;

export interface LiveOptions {
  readonly client: Pick<ControlClient, 'status' | 'stream'>;
  readonly signal: AbortSignal;
  readonly footer: string;
  /** Asked whenever the connection is lost: has everything ended? */
  readonly isGone: () => boolean;
}

export type LiveEnd = 'interrupted' | 'gone';

export interface LiveState {
  status: Status;
  readonly story: StoryEvent[];
  lost: boolean;
}

export async function showLive(context: Context, options: LiveOptions): Promise<LiveEnd> {
  const status = await options.client.status();
  const state: LiveState = { status, story: [], lost: false };
  const ending = new AbortController();
  const end = (): void => ending.abort();
  options.signal.addEventListener('abort', end);
  if (options.signal.aborted) end();
  const view = viewFor(context, state, options.footer);
  let gone = false;
  try {
    const drawing = view.run(ending.signal);
    const after = Math.max(0, status.storySeq - FIRST_EVENTS);
    const following = followEvents(options.client, {
      after,
      signal: ending.signal,
      sleep: context.sleep,
      onLost: () => {
        gone ||= options.isGone();
        if (gone) end();
        state.lost = true;
        view.changed({ kind: 'lost' });
      },
    });
    for await (const item of following) {
      state.lost = false;
      take(state, item);
      view.changed(item);
    }
    ending.abort();
    await drawing;
  } finally {
    ending.abort();
    options.signal.removeEventListener('abort', end);
    view.close();
  }
  return gone ? 'gone' : 'interrupted';
}

function take(state: LiveState, item: StreamItem): void {
  if (item.kind === 'status') state.status = item.status;
  if (item.kind !== 'story') return;
  state.story.push(item.event);
  if (state.story.length > STORY_MAX) state.story.shift();
}

type Change = StreamItem | { readonly kind: 'lost' };

interface View {
  readonly changed: (item: Change) => void;
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly close: () => void;
}

function viewFor(context: Context, state: LiveState, footer: string): View {
  if (context.globals.json) return jsonView(context);
  return context.term.isTty ? pictureView(context, state, footer) : lineView(context, state);
}

function jsonView(context: Context): View {
  return {
    changed: (item) => context.term.out(`${JSON.stringify(item)}\n`),
    run: () => Promise.resolve(),
    close: () => undefined,
  };
}

/** Piped: the story as it happens, and the state of the whole whenever it changes. */
function lineView(context: Context, state: LiveState): View {
  const { paint, term } = context;
  let said = '';
  let lost = false;
  const say = (atMs: number, text: string): void => term.out(`${dateText(atMs)}  ${text}\n`);
  const overall = (): void => {
    const text = overallText(state.status.overall, paint);
    if (text === said) return;
    said = text;
    say(state.status.atMs, `${state.status.instance.name} is ${text}`);
  };
  overall();
  return {
    changed: (item) => {
      if (item.kind === 'lost') {
        if (!lost) say(context.nowMs(), LOST);
        lost = true;
        return;
      }
      if (lost) say(context.nowMs(), 'the control plane answers again');
      lost = false;
      if (item.kind === 'story') {
        const proof = item.event.ledgerIndex;
        const text = harmless(item.event.text);
        say(item.event.atMs, proof === undefined ? text : `${text} #${proof}`);
      }
      if (item.kind === 'status') overall();
    },
    run: () => Promise.resolve(),
    close: () => undefined,
  };
}

const LOST = 'the control plane does not answer; replicas and gateway go on without it';

function pictureView(context: Context, state: LiveState, footer: string): View {
  const { term } = context;
  let drawn = 0;
  let dirty = true;
  let wake: () => void = () => undefined;
  const resized = (): void => {
    term.out(CLEAR);
    drawn = 0;
    dirty = true;
    wake();
  };
  process.stdout.on('resize', resized);
  term.out(HIDE_CURSOR);
  const draw = (): void => {
    dirty = false;
    const picture = pictureOf(context, state, footer);
    term.out(redraw(drawn, picture));
    drawn = picture.length;
  };
  return {
    changed: () => {
      dirty = true;
      wake();
    },
    run: async (signal) => {
      // Ends with the signal; LV1 by the pause behind each picture.
      while (!signal.aborted) {
        draw();
        await context.sleep(FRAME_MS, signal);
        if (dirty || signal.aborted) continue;
        const waiting = new AbortController();
        wake = () => waiting.abort();
        await context.sleep(IDLE_MS - FRAME_MS, AbortSignal.any([signal, waiting.signal]));
      }
    },
    close: () => {
      process.stdout.off('resize', resized);
      draw();
      term.out(SHOW_CURSOR);
    },
  };
}

export function pictureOf(context: Context, state: LiveState, footer: string): string[] {
  const { paint, term } = context;
  const nowMs = context.nowMs();
  const status = state.lost ? state.status : { ...state.status, atMs: nowMs };
  const incidents = incidentLines(status.incidents, nowMs, paint);
  const asks = status.approvals.map(
    (a) => `${paint.gold('approve?')} ${harmless(a.summary)}  kintsugi approve ${a.id}`,
  );
  const runs = status.runs.map(
    (r) => `${paint.cyan('doing')} ${harmless(r.summary)} ${paint.dim(harmless(r.step ?? ''))}`,
  );
  return frame(
    {
      top: [
        ...headLines(status, paint),
        ...(state.lost ? [paint.red(LOST)] : []),
        '',
        ...serviceTable(status.services, paint),
        '',
        ...incidents,
        ...runs,
        ...asks,
        ...(incidents.length + runs.length + asks.length === 0 ? [] : ['']),
      ],
      middle: [
        ...replicaTable(
          status.services.flatMap((service) => service.replicas),
          nowMs,
          paint,
        ),
        '',
        ledgerLine(status, paint),
        '',
      ],
      story: state.story.map((event) => eventLine(event, paint)),
      footer: paint.dim(footer),
    },
    { columns: term.columns(), rows: term.rows() },
  );
}
