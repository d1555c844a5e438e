// `deploy`, `rollback`, `scale`, `approve`, `pause`, `resume`: what an operator may ask for. Each
// says before what it means, follows the run to its end and exits by how it ended.
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RunStory } from '../../api/contract.ts';
import { KinError } from '../../model/errors.ts';
import { connect } from '../connect.ts';
import type { Connection } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { followRun, runEndText, runExit } from '../follow.ts';
import { approvalState, eligibilityText, showApprovals } from '../show/answers.ts';
import { harmless } from '../style.ts';

export interface FollowOption {
  readonly follow: boolean;
}

export async function deployCommand(
  context: Context,
  service: string,
  options: { readonly release: string } & FollowOption,
): Promise<number> {
  const { client } = connect(context);
  const path = releaseFolder(context, options.release);
  const before = await client.releases(service);
  say(context, eligibilityText('rollback after this deploy', before.afterDeploy, context.paint));
  const made = await client.deploy(service, path);
  say(context, `release ${context.paint.bold(made.release.id)} of ${service}, run ${made.run}`);
  return finish(context, { client }, made.run, options.follow, (story) =>
    story.run.state === 'done'
      ? `${service} runs ${made.release.id}: `
      : `${service} stays on ${currentOf(before)}: `,
  );
}

const currentOf = (list: { readonly releases: readonly { id: string; current: boolean }[] }) =>
  list.releases.find((release) => release.current)?.id ?? 'its release';

/** The folder is read by the controller: checked here first, for a message that names the path. */
function releaseFolder(context: Context, given: string): string {
  const path = resolve(context.cwd, given);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) return path;
  throw new KinError(
    'KIN_RELEASE_NOT_FOUND',
    found === undefined ? `there is no folder ${path}` : `${path} is not a folder`,
    'Pass the folder that holds what the service runs: --release PATH.',
  );
}

export async function rollbackCommand(
  context: Context,
  service: string,
  options: FollowOption,
): Promise<number> {
  const { client } = connect(context);
  const before = await client.releases(service);
  say(context, eligibilityText('rollback', before.rollback, context.paint));
  const { run } = await client.rollback(service);
  return finish(context, { client }, run, options.follow, () => `${service}: `);
}

export async function scaleCommand(
  context: Context,
  service: string,
  replicas: number,
  options: FollowOption,
): Promise<number> {
  const { client } = connect(context);
  const made = await client.scale(service, replicas);
  if (made.run === undefined) {
    answer(context, made, () => [`${service} has ${made.to} replicas already`]);
    return EXIT.ok;
  }
  say(context, `${service}: ${made.from} → ${made.to} replicas, run ${made.run}`);
  return finish(context, { client }, made.run, options.follow, () => `${service}: `);
}

async function finish(
  context: Context,
  { client }: Pick<Connection, 'client'>,
  run: string,
  follow: boolean,
  words: (story: RunStory) => string,
): Promise<number> {
  if (!follow) {
    answer(context, { run }, () => [`not followed: kintsugi runs shows ${run}`]);
    return EXIT.ok;
  }
  const story = await followRun(context, client, run);
  answer(context, story, () => [`${words(story)}${runEndText(context, story)}`]);
  return runExit(story);
}

/** With --json stdout belongs to the one answer. */
function say(context: Context, text: string): void {
  if (!context.globals.json) context.term.out(`${text}\n`);
}

export async function approveCommand(
  context: Context,
  id: string | undefined,
  options: { readonly deny: boolean; readonly all: boolean },
): Promise<number> {
  const { client } = connect(context);
  if (id === undefined) {
    const approvals = await client.approvals(options.all);
    answer(context, approvals, () => showApprovals(approvals, context.nowMs(), context.paint));
    return EXIT.ok;
  }
  const decided = await client.decide(id, options.deny ? 'deny' : 'approve');
  answer(context, decided, () => [
    `${decided.id}: ${approvalState(decided, context.nowMs())}: ${harmless(decided.summary)}`,
  ]);
  return EXIT.ok;
}

export async function pauseCommand(
  context: Context,
  service: string | undefined,
  act: 'pause' | 'resume',
): Promise<number> {
  const done = await connect(context).client[act](service);
  const word = act === 'pause' ? 'paused' : 'resumed';
  answer(context, done, () =>
    done.changed.length === 0
      ? [`nothing changed: ${service ?? 'everything'} was ${word} already`]
      : [`${word}: ${done.changed.join(', ')}`],
  );
  return EXIT.ok;
}
