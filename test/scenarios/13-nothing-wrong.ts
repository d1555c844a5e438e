// Nothing is wrong: nothing is done.
import { at, between, nothing, nothingDone, samePids, scenario, served, want } from './language.ts';

export const nothingWrong = scenario(13, 'nothing is wrong', [
  at(0, nothing()),
  want(between(0, 120), nothingDone()),
  want(between(0, 120), samePids('records')),
  want(between(0, 120), served(1)),
]);
