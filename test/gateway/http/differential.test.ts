// Does Node's own parser frame what we accept as we do? A short run of what
// scripts/gateway/fuzz-http.ts does at length.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { corpus } from './corpus.ts';
import { answerCase, dice, requestCase } from './grammar.ts';
import { compareAnswer, compareRequests, newTally } from './oracle.ts';
import { openAnswerOracle, openRequestOracle } from './oracle.ts';
import type { AnswerOracle, RequestOracle } from './oracle.ts';

let requests: RequestOracle;
let answers: AnswerOracle;

before(async () => {
  requests = await openRequestOracle();
  answers = await openAnswerOracle();
});
after(async () => {
  await requests.close();
  await answers.close();
});

test('HP1 no case of the corpus that we accept is framed differently by llhttp', async () => {
  const tally = newTally();
  await compareRequests(
    requests,
    corpus.map(({ text }) => text),
    false,
    tally,
  );
  assert.deepEqual(tally.differences, []);
  assert.ok(tally.compared >= 40, JSON.stringify(tally));
});

test('HP1 no fuzzed request that we accept is framed differently by llhttp', async () => {
  const tally = newTally();
  for (let batch = 0; batch < 30; batch += 1) {
    const roll = dice(batch);
    const cases = Array.from({ length: 100 }, () => requestCase(roll));
    await compareRequests(requests, cases, false, tally);
  }
  assert.deepEqual(tally.differences, []);
  assert.ok(tally.compared > 500 && tally.refused > 500, JSON.stringify(tally));
});

test('BF2 what we send on is framed by llhttp as we read it', async () => {
  const tally = newTally();
  await compareRequests(
    requests,
    corpus.map(({ text }) => text),
    true,
    tally,
  );
  for (let batch = 100; batch < 130; batch += 1) {
    const roll = dice(batch);
    const cases = Array.from({ length: 100 }, () => requestCase(roll));
    await compareRequests(requests, cases, true, tally);
  }
  assert.deepEqual(tally.differences, []);
  assert.ok(tally.compared > 500, JSON.stringify(tally));
});

test('HP1 no fuzzed answer that we accept is framed differently by llhttp', async () => {
  const tally = newTally();
  const roll = dice(77);
  for (let n = 0; n < 400; n += 1) {
    await compareAnswer(answers, answerCase(roll), roll.chance(0.1), tally);
  }
  assert.deepEqual(tally.differences, []);
  assert.ok(tally.compared > 100, JSON.stringify(tally));
});

test('the oracle sees a planted difference', async () => {
  const tally = newTally();
  // Read by us as one request with a body; sent on as something else.
  const text = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc';
  const lying = {
    ...requests,
    ask: (bytes: Buffer, last: string) =>
      requests.ask(
        Buffer.from(bytes.toString('latin1').replace('Length: 3', 'Length: 2'), 'latin1'),
        last,
      ),
  };
  await compareRequests(lying, [text], false, tally);
  assert.equal(tally.differences.length, 1);
});
