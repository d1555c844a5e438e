// `status`, `top`, `incidents`, `explain`, `runs`, `releases`: what runs and what happened.
import { connect, isInitAlive, tryConnect } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer, watchInterruption } from '../context.ts';
import { EXIT } from '../exit.ts';
import { showReleases, showRuns } from '../show/answers.ts';
import { showStory } from '../show/explain.ts';
import { incidentLines, showStatus } from '../show/status.ts';

/** Exit 1 when something waits for a person or a floor is not held, so that scripts can ask. */
export async function statusCommand(context: Context): Promise<number> {
  const { client, stateDir } = connect(context);
  const status = await client.status();
  answer(context, status, () => showStatus(status, context.paint));
  if (!isInitAlive(stateDir)) {
    context.term.err('init is gone: nobody restarts the control plane; "kintsugi up" mends it\n');
  }
  return status.overall.kind === 'degraded' ? EXIT.failed : EXIT.ok;
}

export async function topCommand(context: Context): Promise<number> {
  const { showLive } = await import('../live.ts');
  const { client, stateDir } = connect(context);
  const interruption = watchInterruption();
  const end = await showLive(context, {
    client,
    signal: interruption.signal,
    footer: 'Ctrl-C leaves this view; everything goes on',
    isGone: () => tryConnect(context, stateDir) === undefined && !isInitAlive(stateDir),
  });
  interruption.end();
  if (end === 'gone') context.term.err('everything was stopped\n');
  return end === 'gone' ? EXIT.notRunning : EXIT.ok;
}

export async function incidentsCommand(
  context: Context,
  options: { readonly limit: number; readonly open: boolean },
): Promise<number> {
  const all = await connect(context).client.incidents(options.limit);
  const incidents = options.open ? all.filter((i) => i.healedAtMs === undefined) : all;
  answer(context, incidents, () =>
    incidents.length === 0
      ? [options.open ? 'no open incidents' : 'no incidents yet']
      : incidentLines(incidents, context.nowMs(), context.paint),
  );
  return EXIT.ok;
}

export async function explainCommand(context: Context, id: string | undefined): Promise<number> {
  const { client } = connect(context);
  const wanted = id ?? (await client.incidents(1))[0]?.id;
  if (wanted === undefined) {
    answer(context, undefined, () => ['no incidents yet: nothing to explain']);
    return EXIT.ok;
  }
  const story = await client.explain(wanted);
  answer(context, story, () => showStory(story, context.paint, context.term.columns()));
  return EXIT.ok;
}

export async function runsCommand(
  context: Context,
  options: { readonly limit: number },
): Promise<number> {
  const runs = await connect(context).client.runs(options.limit);
  answer(context, runs, () => showRuns(runs, context.nowMs(), context.paint));
  return EXIT.ok;
}

export async function releasesCommand(context: Context, service: string): Promise<number> {
  const list = await connect(context).client.releases(service);
  answer(context, list, () => showReleases(list, context.nowMs(), context.paint));
  return EXIT.ok;
}
