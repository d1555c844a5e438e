// Does Node's own parser frame what we accept as we do? Seeded cases from the grammar:
//
//   node scripts/gateway/fuzz-http.ts [--cases 300000] [--seed 1] [--batch 200]
//
// Requests are compared over loopback, as received and as we send them on; every 20th case is an
// answer. What we refuse is not sent: no other server gets to see it. Those are counted apart.
import { parseArgs } from 'node:util';
import { answerCase, dice, requestCase } from '../../test/gateway/http/grammar.ts';
import {
  compareAnswer,
  compareRequests,
  newTally,
  openAnswerOracle,
  openRequestOracle,
} from '../../test/gateway/http/oracle.ts';

const ANSWER_SHARE = 20;
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '300000' },
    seed: { type: 'string', default: '1' },
    batch: { type: 'string', default: '200' },
  },
});
const total = Number(values.cases);
const seed = Number(values.seed);
const batchSize = Number(values.batch);
const requests = newTally();
const forwarded = newTally();
const answers = newTally();
const startedMs = performance.now();
const requestOracle = await openRequestOracle();
const answerOracle = await openAnswerOracle();

let done = 0;
for (let batch = 0; done < total; batch += 1) {
  const roll = dice(seed * 1_000_003 + batch);
  const cases: string[] = [];
  for (let i = 0; i < batchSize && done < total; i += 1) {
    done += 1;
    if (done % ANSWER_SHARE === 0) {
      await compareAnswer(answerOracle, answerCase(roll), roll.chance(0.1), answers);
    } else cases.push(requestCase(roll));
  }
  await compareRequests(
    requestOracle,
    cases,
    batch % 2 === 1,
    batch % 2 === 1 ? forwarded : requests,
  );
  if (batch % 500 === 499) process.stderr.write(`${done} cases\n`);
}
await requestOracle.close();
await answerOracle.close();

const seconds = (performance.now() - startedMs) / 1_000;
process.stdout.write(`${done} cases, seed ${seed}, ${seconds.toFixed(0)} s\n`);
let differences = 0;
for (const [name, tally] of Object.entries({ requests, forwarded, answers })) {
  differences += tally.differences.length;
  process.stdout.write(
    `${name.padEnd(9)} ${tally.cases} cases: ${tally.refused} refused by us, ${tally.compared} ` +
      `compared, of these ${tally.stricter} refused by llhttp, ` +
      `${tally.differences.length} framed differently\n`,
  );
  for (const text of tally.differences.slice(0, 10)) process.stdout.write(`  ${text}\n`);
}
process.exitCode = differences > 0 ? 1 : 0;
