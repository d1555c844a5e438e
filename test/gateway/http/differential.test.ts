// Does Node's own parser frame what we accept as we do? A short run of what
// scripts/gateway/fuzz-http.ts does at length.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { corpus } from './corpus.ts';
import { answerCase, dice, requestCase } from './grammar.ts';
import {
  compareAnswerInProcess,
  comparePrefixes,
  compareRequestsInProcess,
  openAnswerParser,
  openRequestParser,
} from './llhttp.ts';
import { compareAnswer, compareRequests, newTally } from './oracle.ts';
import { openAnswerOracle, openRequestOracle } from './oracle.ts';
import type { AnswerOracle, RequestOracle } from './oracle.ts';
import { differsInPieces } from './pieces.ts';

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
  for (let batch = 0; batch < 10; batch += 1) {
    const roll = dice(batch);
    const cases = Array.from({ length: 100 }, () => requestCase(roll));
    await compareRequests(requests, cases, false, tally);
  }
  assert.deepEqual(tally.differences, []);
  assert.ok(tally.compared > 150 && tally.refused > 150, JSON.stringify(tally));
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

test('HP1 llhttp without sockets comes to the verdicts of llhttp behind them', async () => {
  const parser = openRequestParser();
  const texts = corpus.map(({ text }) => text);
  for (const forwarded of [false, true]) {
    const [own, theirs] = [newTally(), newTally()];
    compareRequestsInProcess(parser, texts, forwarded, own);
    await compareRequests(requests, texts, forwarded, theirs);
    assert.deepEqual(own, theirs);
  }
});

test('HP1 of 20 000 fuzzed messages llhttp frames none otherwise, in process', () => {
  const [whole, sent, begun, answered] = [newTally(), newTally(), newTally(), newTally()];
  const parser = openRequestParser();
  const answerParser = openAnswerParser();
  const roll = dice(4_242);
  for (let batch = 0; batch < 100; batch += 1) {
    const cases = Array.from({ length: 190 }, () => requestCase(roll));
    compareRequestsInProcess(parser, cases, batch % 2 === 1, batch % 2 === 1 ? sent : whole);
    comparePrefixes(parser, cases, begun);
    for (let n = 0; n < 10; n += 1) {
      compareAnswerInProcess(answerParser, answerCase(roll), roll.chance(0.1), answered);
    }
  }
  for (const tally of [whole, sent, begun, answered]) {
    assert.deepEqual(tally.differences, []);
    assert.ok(tally.compared > 400, JSON.stringify(tally));
  }
});

test('the oracle in process sees planted differences', () => {
  const parser = openRequestParser();
  const lying = {
    read: (bytes: Buffer) =>
      parser.read(Buffer.from(bytes.toString('latin1').replace('th: 3', 'th: 2'), 'latin1')),
  };
  const tally = newTally();
  const text = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc';
  compareRequestsInProcess(lying, [text], false, tally);
  comparePrefixes(lying, [`${text}GET /rest`], tally);
  assert.equal(tally.differences.length, 2);
  const none = newTally();
  const answer = { read: () => ({ status: 200, body: 'ab', whole: true }) };
  compareAnswerInProcess(answer, 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc', false, none);
  assert.equal(none.differences.length, 1);
});

test('BF4 requests cut in two are read as if they had come whole', () => {
  const roll = dice(99);
  for (let n = 0; n < 5_000; n += 1) {
    const text = requestCase(roll);
    const cut = roll.below(text.length + 1);
    assert.equal(differsInPieces(Buffer.from(text, 'latin1'), cut), undefined);
  }
});
