// Where are the scenarios of the issue played? All on one system, as one that runs for long would
// see them: bringing the clinic up and down again costs more than most of them.
import { after, before } from 'node:test';
import { openTheatre } from './harness.ts';
import type { Theatre } from './harness.ts';

let opened: Theatre | undefined;

before(async () => {
  opened = await openTheatre();
});
after(() => opened?.close());

/** For the time of a test. */
export function theatre(): Theatre {
  if (opened === undefined) throw new Error('the system is not up');
  return opened;
}
