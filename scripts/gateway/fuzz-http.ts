// Does Node's own parser frame what we accept as we do? Seeded cases from the grammar:
//
//   node scripts/gateway/fuzz-http.ts [--cases 300000] [--seed 1] [--seeds 1] [--sample 250]
//
// llhttp reads each case in this process: requests as received and as we send them on; every 20th
// case is an answer. Every `--sample`th batch of 200 (0: none) goes over sockets to a node:http
// server and client as well, and both oracles must come to the same verdicts. What we refuse is not
// sent: no other server gets to see it. Those are counted apart. Each request is also read in two
// pieces, cut anywhere, which must make no difference.
import { parseArgs } from 'node:util';
import { answerCase, dice, requestCase } from '../../test/gateway/http/grammar.ts';
import type { Dice } from '../../test/gateway/http/grammar.ts';
import {
  compareAnswerInProcess,
  comparePrefixes,
  compareRequestsInProcess,
  openAnswerParser,
  openRequestParser,
} from '../../test/gateway/http/llhttp.ts';
import {
  compareAnswer,
  compareRequests,
  newTally,
  openAnswerOracle,
  openRequestOracle,
} from '../../test/gateway/http/oracle.ts';
import type { Tally } from '../../test/gateway/http/oracle.ts';
import { differsInPieces } from '../../test/gateway/http/pieces.ts';

const ANSWER_SHARE = 20;
const BATCH = 200;
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '300000' },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    sample: { type: 'string', default: '250' },
  },
});
const [total = 0, firstSeed = 1, seeds = 1, sampleEvery = 1] = [
  values.cases,
  values.seed,
  values.seeds,
  values.sample,
].map(Number);

interface Answer {
  readonly text: string;
  readonly toHead: boolean;
}

interface Tallies {
  readonly requests: Tally;
  readonly forwarded: Tally;
  readonly answers: Tally;
  /** Accepted before a refusal in the same bytes. */
  readonly prefixes: Tally;
}
const newTallies = (): Tallies => ({
  requests: newTally(),
  forwarded: newTally(),
  answers: newTally(),
  prefixes: newTally(),
});

const all = newTallies();
const requestParser = openRequestParser();
const answerParser = openAnswerParser();
const pieces = { cases: 0, differences: [] as string[] };
const sampled = { cases: 0, batches: 0, disagreements: [] as string[] };

function inProcess(
  requests: readonly string[],
  answers: readonly Answer[],
  forwarded: boolean,
  to: Tallies,
): void {
  const name = forwarded ? 'forwarded' : 'requests';
  compareRequestsInProcess(requestParser, requests, forwarded, to[name]);
  for (const { text, toHead } of answers) {
    compareAnswerInProcess(answerParser, text, toHead, to.answers);
  }
}

/** The cut comes from dice of its own: cases repeat by their number without it. */
function inPieces(requests: readonly string[], cuts: Dice): void {
  for (const text of requests) {
    const found = differsInPieces(Buffer.from(text, 'latin1'), cuts.below(text.length + 1));
    if (found !== undefined) pieces.differences.push(found);
  }
  pieces.cases += requests.length;
}

const counts = ({ cases, refused, compared, stricter, differences }: Tally): string =>
  [cases, refused, compared, stricter, differences.length].join('/');

/** The same cases over sockets: the verdicts must be the same in number. */
async function overSockets(
  requests: readonly string[],
  answers: readonly Answer[],
  forwarded: boolean,
  title: string,
): Promise<void> {
  const own = newTallies();
  inProcess(requests, answers, forwarded, own);
  const theirs = newTallies();
  const name = forwarded ? 'forwarded' : 'requests';
  const requestOracle = await openRequestOracle();
  const answerOracle = await openAnswerOracle();
  await compareRequests(requestOracle, requests, forwarded, theirs[name]);
  for (const { text, toHead } of answers) {
    await compareAnswer(answerOracle, text, toHead, theirs.answers);
  }
  await requestOracle.close();
  await answerOracle.close();
  sampled.batches += 1;
  sampled.cases += requests.length + answers.length;
  // Of an answer with bytes behind it, the client says no more than that it broke: llhttp itself
  // says what it read before, so that it may find fewer refused, and never more.
  const isSame =
    counts(own[name]) === counts(theirs[name]) &&
    own.answers.compared === theirs.answers.compared &&
    own.answers.stricter <= theirs.answers.stricter &&
    own.answers.differences.length === theirs.answers.differences.length;
  if (isSame) return;
  sampled.disagreements.push(
    `${title}: in process ${counts(own[name])} ${counts(own.answers)}, ` +
      `over sockets ${counts(theirs[name])} ${counts(theirs.answers)}`,
  );
}

const startedMs = performance.now();
let socketMs = 0;
let done = 0;
for (let nth = 0; nth < seeds; nth += 1) {
  const seed = firstSeed + nth;
  const share = Math.floor((total * (nth + 1)) / seeds);
  for (let batch = 0; done < share; batch += 1) {
    const roll = dice(seed * 1_000_003 + batch);
    const requests: string[] = [];
    const answers: Answer[] = [];
    for (let i = 0; i < BATCH && done < share; i += 1) {
      done += 1;
      if (done % ANSWER_SHARE === 0) {
        answers.push({ text: answerCase(roll), toHead: roll.chance(0.1) });
      } else requests.push(requestCase(roll));
    }
    const forwarded = batch % 2 === 1;
    inProcess(requests, answers, forwarded, all);
    if (!forwarded) comparePrefixes(requestParser, requests, all.prefixes);
    inPieces(requests, dice(~(seed * 1_000_003 + batch)));
    // Of both kinds in turn: batches with an odd number are compared as sent on.
    const nthSample = sampleEvery > 0 ? Math.floor(batch / sampleEvery) : -1;
    if (nthSample >= 0 && batch - nthSample * sampleEvery === nthSample % 2) {
      const sinceMs = performance.now();
      await overSockets(requests, answers, forwarded, `seed ${seed}, batch ${batch}`);
      socketMs += performance.now() - sinceMs;
    }
    if (batch % 2_500 === 2_499) process.stderr.write(`${done} cases\n`);
  }
}

const seconds = (performance.now() - startedMs) / 1_000;
const perSecond = Math.round(done / (seconds - socketMs / 1_000));
process.stdout.write(
  `${done} cases, seeds ${firstSeed}–${firstSeed + seeds - 1}, ${seconds.toFixed(0)} s, ` +
    `${perSecond}/s in process\n`,
);
let differences = sampled.disagreements.length + pieces.differences.length;
for (const [name, tally] of Object.entries(all) as [string, Tally][]) {
  differences += tally.differences.length;
  process.stdout.write(
    `${name.padEnd(9)} ${tally.cases} cases: ${tally.refused} refused by us, ${tally.compared} ` +
      `compared, of these ${tally.stricter} refused by llhttp, ` +
      `${tally.differences.length} framed differently\n`,
  );
  for (const text of tally.differences.slice(0, 10)) process.stdout.write(`  ${text}\n`);
}
process.stdout.write(
  `pieces    ${pieces.cases} requests cut in two: ${pieces.differences.length} read otherwise\n`,
);
for (const text of pieces.differences.slice(0, 10)) process.stdout.write(`  ${text}\n`);
process.stdout.write(
  `sockets   ${sampled.cases} of these cases over a node:http server and client as well: ` +
    `${sampled.disagreements.length} batches of ${sampled.batches} judged otherwise\n`,
);
for (const text of sampled.disagreements.slice(0, 10)) process.stdout.write(`  ${text}\n`);
process.exitCode = differences > 0 ? 1 : 0;
