// `down`: everything ends in order, and it is over only when all of it is gone.
import { findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer, watchInterruption } from '../context.ts';
import { EXIT } from '../exit.ts';
import { KinError } from '../../model/errors.ts';
import { durationText } from '../text.ts';
import { isAnythingLeft, STOP_TIMES, stopEverything } from '../up/stop.ts';

export async function downCommand(context: Context): Promise<number> {
  const stateDir = findStateDir(context);
  if (!isAnythingLeft(stateDir)) {
    throw new KinError('KIN_NOT_RUNNING', `nothing is running on ${stateDir}`, 'Nothing to do.');
  }
  const interruption = watchInterruption();
  const force = new AbortController();
  // The first Ctrl-C hurries already: waiting is all that `down` does.
  interruption.signal.addEventListener('abort', () => force.abort());
  const beganAtMs = context.nowMs();
  const say = (text: string): void => context.term.err(`${text}\n`);
  const forced = await stopEverything(context, stateDir, {
    ...STOP_TIMES,
    force: force.signal,
    say,
  });
  interruption.end();
  const tookMs = context.nowMs() - beganAtMs;
  answer(context, { stateDir, stopped: true, forced, tookMs }, () => [
    `everything is stopped after ${durationText(tookMs)}`,
  ]);
  return EXIT.ok;
}
