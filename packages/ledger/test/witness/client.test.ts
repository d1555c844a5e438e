// What does a log believe of a witness? Honest, dead, slow, lying and forgetful ones, without a
// network; and what their sizes say about our own log.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LedgerError } from '../../src/errors.ts';
import { addSignatures, parseNote, signatureLine, verifyNote } from '../../src/note.ts';
import type { Policy } from '../../src/policy.ts';
import { WitnessClient } from '../../src/witness/client.ts';
import type { AskOutcome } from '../../src/witness/client.ts';
import { highWaterError, judgeHighWater } from '../../src/witness/high-water.ts';
import { WitnessTimeout } from '../../src/witness/http-client.ts';
import { checkWitnessHighWater } from '../../src/witness/rounds.ts';
import { FakeClock } from '../support.ts';
import {
  FakeHttp,
  NOW_MS,
  SmallLog,
  honest,
  localWitness,
  logSigner,
  policyOf,
  strangerSigner,
  witnessSigner,
} from './rig.ts';
import type { Behaviour } from './rig.ts';

function clientFor(log: SmallLog, http: FakeHttp, policy: Policy, at = 0) {
  const clock = new FakeClock();
  const witness = policy.witnesses[at];
  assert.ok(witness);
  const client = new WitnessClient(witness, {
    log: {
      size: () => log.leaves.length,
      consistency: (before, after) => log.consistency(before, after),
      vkeys: [logSigner.vkey],
    },
    http,
    clock,
    random: () => 1,
    timeoutMs: 1000,
    retryMinMs: 1000,
    retryMaxMs: 8000,
    skewMaxMs: 600_000,
  });
  return { client, clock };
}

async function oneWitness(behave?: Behaviour) {
  const log = new SmallLog().grow(10);
  const http = new FakeHttp();
  const local = await localWitness('w1.example');
  http.behaviours.set('w1.example', behave ?? honest(local.witness));
  const policy = policyOf([local.signer], 1);
  return { log, http, local, policy, ...clientFor(log, http, policy) };
}

const faultOf = (outcome: AskOutcome): string =>
  outcome.kind === 'failed' ? outcome.fault : outcome.kind;

test('WC2. an honest witness: its cosignature is checked and fits the checkpoint', async () => {
  const { client, log, http, local } = await oneWitness();
  const outcome = await client.ask(log.checkpointAt(4));
  assert.ok(outcome.kind === 'cosigned');
  const note = addSignatures(log.checkpointAt(4).text, outcome.lines) ?? '';
  assert.equal(verifyNote(note, [local.signer.vkey]).kind, 'valid');
  assert.equal((await client.ask(log.checkpointAt(10))).kind, 'cosigned');
  assert.match(http.requests[1]?.body ?? '', /^old 4\n/);
  assert.equal(client.status().size, 10);
  assert.deepEqual(await client.ask(log.checkpointAt(10)), { kind: 'skipped', reason: 'done' });
});

test('WC1. nothing older than what it acknowledged is sent', async () => {
  const { client, log, http } = await oneWitness();
  await client.ask(log.checkpointAt(7));
  assert.deepEqual(await client.ask(log.checkpointAt(5)), { kind: 'skipped', reason: 'older' });
  assert.equal(http.requests.length, 1);
});

test('a 409 is answered with a proof from the size that it names', async () => {
  const { client, log, http, local } = await oneWitness();
  const other = clientFor(log, http, policyOf([local.signer], 1)).client;
  await other.ask(log.checkpointAt(6));
  assert.equal((await client.ask(log.checkpointAt(9))).kind, 'cosigned');
  const olds = http.requests.map(({ body }) => body?.split('\n')[0]);
  assert.deepEqual(olds, ['old 0', 'old 0', 'old 6']);
});

test('WC2. whatever else it answers is a fault of its own kind, and never counts', async () => {
  const log = new SmallLog().grow(10);
  const text = parseNote(log.checkpoint().text)?.text ?? '';
  const w1 = witnessSigner('w1.example');
  const nowS = BigInt(NOW_MS / 1000);
  const line = (body: string, timestampS: bigint, signer = w1): string =>
    signatureLine(body, signer, { timestampS });
  const otherText = parseNote(log.checkpointAt(9).text)?.text ?? '';
  const stranger = witnessSigner('w1.example', 77);
  const reply =
    (status: number, body: string, contentType = 'text/plain'): Behaviour =>
    () => ({ status, body, contentType });
  const cases: Readonly<Record<string, readonly [Behaviour, string]>> = {
    dead: [() => new Error('ECONNREFUSED'), 'unreachable'],
    slow: [() => new WitnessTimeout('too slow'), 'timeout'],
    HTML: [reply(200, '<html>'), 'garbage'],
    nothing: [reply(200, ''), 'garbage'],
    'a whole note': [reply(200, `${text}\n${line(text, nowS)}`), 'garbage'],
    'half a line': [reply(200, line(text, nowS).trimEnd()), 'garbage'],
    'unknown key': [reply(200, line(text, nowS, stranger)), 'bad-signature'],
    'another tree': [reply(200, line(otherText, nowS)), 'bad-signature'],
    'good and bad': [reply(200, line(text, nowS) + line(otherText, nowS)), 'bad-signature'],
    'time zero': [reply(200, line(text, 0n)), 'bad-time'],
    'far future': [reply(200, line(text, nowS + 86_400n)), 'bad-time'],
    'long ago': [reply(200, line(text, nowS - 86_400n)), 'bad-time'],
    forbidden: [reply(403, 'no'), 'refused'],
    'unknown log': [reply(404, 'no'), 'refused'],
    broken: [reply(500, 'oops\u001b[31m'), 'refused'],
    redirect: [reply(302, ''), 'refused'],
    '409 as HTML': [reply(409, '5\n', 'text/html'), 'garbage'],
    '409 with words': [reply(409, 'five\n', 'text/x.tlog.size'), 'garbage'],
    '409 for ever': [reply(409, '5\n', 'text/x.tlog.size'), 'conflict-again'],
    '409 beyond us': [reply(409, '11\n', 'text/x.tlog.size'), 'ahead'],
  };
  for (const [what, [behave, fault]] of Object.entries(cases)) {
    const { client } = await oneWitness(behave);
    const outcome = await client.ask(log.checkpoint());
    assert.equal(faultOf(outcome), fault, what);
    assert.equal(client.status().state.kind, 'failing', what);
    assert.doesNotMatch(JSON.stringify(client.status()), /\\u001b/, 'a stranger’s escape codes');
  }
  const both = await oneWitness(reply(200, line(text, nowS, stranger) + line(text, nowS)));
  const outcome = await both.client.ask(log.checkpoint());
  assert.ok(outcome.kind === 'cosigned');
  assert.equal(outcome.lines, line(text, nowS), 'lines of unknown keys are left out');
});

test('WC3. after a fault it waits twice as long each time, up to the cap', async () => {
  const { client, clock, log, http } = await oneWitness(() => new Error('dead'));
  const waits: number[] = [];
  for (let round = 0; round < 6; round++) {
    assert.equal(faultOf(await client.ask(log.checkpoint())), 'unreachable');
    assert.deepEqual(await client.ask(log.checkpoint()), { kind: 'skipped', reason: 'waiting' });
    const { state } = client.status();
    assert.ok(state.kind === 'failing' && state.failures === round + 1);
    waits.push(state.retryInMs);
    await clock.advance(state.retryInMs);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 8000, 8000]);
  assert.equal(http.requests.length, 6);
  const local = await localWitness('w1.example');
  http.behaviours.set('w1.example', honest(local.witness));
  assert.equal((await client.ask(log.checkpoint())).kind, 'cosigned');
  assert.equal(client.status().state.kind, 'good');
});

test('one question at a time', async () => {
  const answer = Promise.withResolvers<Error>();
  const { client, log } = await oneWitness(() => answer.promise);
  const first = client.ask(log.checkpoint());
  assert.deepEqual(await client.ask(log.checkpoint()), { kind: 'skipped', reason: 'busy' });
  answer.resolve(new Error('gone'));
  assert.equal(faultOf(await first), 'unreachable');
});

test('a witness that forgot what it acknowledged is not believed any more', async () => {
  const { client, log, http } = await oneWitness();
  await client.ask(log.checkpointAt(8));
  const amnesiac = await localWitness('w1.example');
  const other = clientFor(log, http, policyOf([amnesiac.signer], 1)).client;
  http.behaviours.set('w1.example', honest(amnesiac.witness));
  await other.ask(log.checkpointAt(3));
  const outcome = await client.ask(log.checkpointAt(10));
  assert.equal(faultOf(outcome), 'forgot');
});

test('WC4. WE1. a rolled-back log: the witness shows our own signature over more', async () => {
  const { log, local, http, policy } = await oneWitness();
  await local.witness.addCheckpoint(`old 0\n\n${log.checkpointAt(10).text}`);
  const restored = log.fork(6);
  const { client } = clientFor(restored, http, policy);
  const outcome = await client.ask(restored.checkpoint());
  assert.ok(outcome.kind === 'failed' && outcome.fault === 'ahead');
  const { evidence } = outcome;
  assert.ok(evidence?.proven === true && evidence.kind === 'rolled-back');
  assert.deepEqual([evidence.witnessSize, evidence.ourSize], [10, 6]);
  assert.equal(verifyNote(evidence.checkpoint ?? '', [logSigner.vkey]).kind, 'valid');
});

test('WC4. a forked log: same size or larger, the witness shows the other history', async () => {
  for (const more of [4, 9]) {
    const { log, local, http, policy } = await oneWitness();
    await local.witness.addCheckpoint(`old 0\n\n${log.checkpointAt(10).text}`);
    const fork = log.fork(6).grow(more, 'second history');
    const { client } = clientFor(fork, http, policy);
    const outcome = await client.ask(fork.checkpoint());
    assert.ok(outcome.kind === 'failed' && outcome.fault === 'refused');
    assert.ok(outcome.evidence?.proven === true && outcome.evidence.kind === 'forked');
  }
});

test('WE1. a liar proves nothing: no signature of ours, or one that fits our log', async () => {
  const log = new SmallLog().grow(10);
  const stranger = new SmallLog(strangerSigner).grow(12);
  const shown = [undefined, 'nonsense', stranger.checkpoint().text, log.checkpointAt(5).text];
  for (const body of shown) {
    const { client } = await oneWitness(({ method }) =>
      method === 'POST'
        ? { status: 409, body: '12\n', contentType: 'text/x.tlog.size' }
        : { status: body === undefined ? 404 : 200, body: body ?? '', contentType: 'text/plain' },
    );
    const outcome = await client.ask(log.checkpoint());
    assert.ok(outcome.kind === 'failed' && outcome.fault === 'ahead');
    assert.equal(outcome.evidence?.proven, false);
  }
});

test('HW1. HW2. when do the witnesses’ sizes forbid the start?', () => {
  const policy = policyOf(
    ['a.example', 'b.example', 'c.example'].map((n) => witnessSigner(n)),
    2,
  );
  const claim = (witness: string, proven = false): AskOutcome => ({
    kind: 'failed',
    fault: 'ahead',
    reason: '',
    evidence: {
      kind: proven ? 'rolled-back' : 'claims-more',
      witness,
      witnessSize: 9,
      ourSize: 5,
      proven,
    },
  });
  const good: AskOutcome = { kind: 'cosigned', size: 5, lines: '' };
  const dead: AskOutcome = { kind: 'failed', fault: 'timeout', reason: '' };
  const judge = (a: AskOutcome, b: AskOutcome, c: AskOutcome) =>
    judgeHighWater(
      policy,
      new Map([
        ['a.example', a],
        ['b.example', b],
        ['c.example', c],
      ]),
    );
  assert.equal(judge(good, good, good).kind, 'clear');
  assert.equal(judge(dead, dead, dead).kind, 'clear', 'nothing was learned, nothing is claimed');
  assert.equal(
    judge(claim('a.example', true), good, good).kind,
    'rolled-back',
    'one proof is enough',
  );
  const lone = judge(claim('a.example'), good, good);
  assert.ok(lone.kind === 'clear' && lone.doubted.length === 1, 'one liar stops nobody');
  assert.equal(judge(claim('a.example'), dead, good).kind, 'suspected');
  assert.equal(judge(claim('a.example'), claim('b.example'), good).kind, 'rolled-back');
  assert.equal(highWaterError(lone), undefined);
  const error = highWaterError(judge(claim('a.example'), claim('b.example'), good));
  assert.ok(error instanceof LedgerError && error.code === 'KIN_LEDGER_ROLLED_BACK');
  assert.match(error.message, /a\.example: 9, b\.example: 9/);
});

test('the question before the start: witnesses with more than a restored log', async () => {
  const { log, local, http, policy } = await oneWitness();
  const reach = { vkeys: [logSigner.vkey], policy, http, clock: new FakeClock(), log };
  assert.equal((await checkWitnessHighWater(reach)).kind, 'clear');
  const restored = log.fork(4);
  const verdict = await checkWitnessHighWater({ ...reach, log: restored });
  assert.equal(verdict.kind, 'rolled-back');
  assert.equal(highWaterError(verdict)?.code, 'KIN_LEDGER_ROLLED_BACK');
  assert.ok(local.events.length > 0);
});
