// A child of init in the tests: writes down that it lives, and dies as it is told to.
import { appendFileSync } from 'node:fs';

const [journal = '', name = '', habit = 'stay', detail = '0'] = process.argv.slice(2);
const note = (what: string): void => appendFileSync(journal, `${name} ${what} ${process.pid}\n`);

note('start');
process.on('SIGTERM', () => {
  note('term');
  if (habit === 'deaf') return;
  setTimeout(() => {
    note('end');
    process.exit(0);
  }, 30);
});
if (habit === 'exit') process.exit(Number(detail));
setInterval(() => undefined, 1000);
