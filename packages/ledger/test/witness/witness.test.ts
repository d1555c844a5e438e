// What a witness answers, what it remembers, and what a crash can do to it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryFiles } from '../../src/memory-files.ts';
import { addSignatures, formatTreeHead, signNote, verifyNote } from '../../src/note.ts';
import { formatAddCheckpoint } from '../../src/witness/request.ts';
import { openWitnessStore, originHash } from '../../src/witness/store.ts';
import { LedgerError } from '../../src/errors.ts';
import { NOW_MS, ORIGIN, SmallLog, localWitness, logSigner, strangerSigner } from './rig.ts';

const submit = (log: SmallLog, from: number, to: number): string =>
  formatAddCheckpoint(
    from,
    from === 0 || from === to ? [] : log.proof(from, to),
    log.checkpointAt(to).text,
  );

test('the dialogue of the specification: each case has its status and its body', async () => {
  const { witness, signer } = await localWitness('w1.example');
  const log = new SmallLog().grow(20);
  const ask = async (body: string) => {
    const { status, body: text, contentType } = await witness.addCheckpoint(body);
    return { status, text, contentType };
  };
  assert.equal((await ask('nonsense')).status, 400);
  assert.equal((await ask('old 0\n\nnot a note\n')).status, 404);
  assert.equal((await ask(`old 0\n\n${ORIGIN}\n3\n`)).status, 403, 'no note, so no signature');
  const foreign = signNote(formatTreeHead('other.example/log', 3, log.rootAt(3)), logSigner);
  assert.equal((await ask(formatAddCheckpoint(0, [], foreign))).status, 404);
  const forged = signNote(formatTreeHead(ORIGIN, 3, log.rootAt(3)), strangerSigner);
  assert.equal((await ask(formatAddCheckpoint(0, [], forged))).status, 403, 'no known key');
  const good = log.checkpointAt(3).text;
  const broken = good.replace(`${ORIGIN}\n3\n`, `${ORIGIN}\n4\n`);
  assert.equal((await ask(formatAddCheckpoint(0, [], broken))).status, 403, 'bad signature');
  assert.equal((await ask(formatAddCheckpoint(4, [], good))).status, 400, 'old above size');

  const first = await ask(submit(log, 0, 3));
  assert.equal(first.status, 200);
  assert.match(first.text, /^— w1\.example [A-Za-z0-9+/=]+\n$/);
  const verdict = verifyNote(addSignatures(good, first.text) ?? '', [signer.vkey]);
  assert.ok(verdict.kind === 'valid');
  assert.equal(verdict.good[0]?.timestampS, BigInt(NOW_MS / 1000));

  const conflict = await ask(submit(log, 0, 9));
  assert.deepEqual(conflict, { status: 409, text: '3\n', contentType: 'text/x.tlog.size' });
  assert.equal((await ask(submit(log, 2, 9))).status, 409);
  const wrong = formatAddCheckpoint(3, log.proof(4, 9), log.checkpointAt(9).text);
  assert.equal((await ask(wrong)).status, 422);
  assert.equal((await ask(formatAddCheckpoint(3, [], log.checkpointAt(9).text))).status, 422);
  assert.equal((await ask(submit(log, 3, 9))).status, 200);
  assert.equal((await ask(submit(log, 9, 9))).status, 200, 'the same again gets a new time');
  assert.deepEqual((await ask(submit(log, 3, 7))).status, 409);
  const replay = await ask(submit(log, 0, 9));
  assert.deepEqual([replay.status, replay.text], [409, '9\n']);
});

test('size zero: only with the root of the empty tree, and no proof from it', async () => {
  const { witness } = await localWitness('w1.example');
  const log = new SmallLog().grow(5);
  const bad = signNote(formatTreeHead(ORIGIN, 0, log.rootAt(3)), logSigner);
  assert.equal((await witness.addCheckpoint(formatAddCheckpoint(0, [], bad))).status, 422);
  assert.equal((await witness.addCheckpoint(submit(log, 0, 0))).status, 200);
  const needless = formatAddCheckpoint(0, log.proof(2, 5), log.checkpoint().text);
  assert.equal((await witness.addCheckpoint(needless)).status, 422);
  assert.equal((await witness.addCheckpoint(submit(log, 0, 5))).status, 200);
});

test('a split view: the second fork is refused and the evidence is kept', async () => {
  const { witness, events, files } = await localWitness('w1.example');
  const log = new SmallLog().grow(8);
  const fork = log.fork(5).grow(3, 'hidden');
  assert.equal((await witness.addCheckpoint(submit(log, 0, 8))).status, 200);
  assert.equal((await witness.addCheckpoint(submit(fork, 8, 8))).status, 422);
  assert.equal((await witness.addCheckpoint(submit(fork, 0, 8))).status, 409, 'and no other way');
  fork.grow(4, 'hidden');
  assert.equal((await witness.addCheckpoint(submit(fork, 8, 12))).status, 422);
  const evidence = events.filter(({ kind }) => kind === 'contradiction');
  const [first] = evidence;
  assert.ok(first?.kind === 'contradiction' && first.size === 8);
  for (const note of [first.cosigned, first.submitted]) {
    assert.equal(verifyNote(note, [logSigner.vkey]).kind, 'valid', 'both with the log’s signature');
  }
  const kept = await files.readWhole(`witness/${originHash(ORIGIN)}.contradiction`, 100_000);
  assert.equal(Buffer.from(kept ?? []).toString(), `${first.cosigned}\n${first.submitted}`);
});

test('monitors get the newest checkpoint without strangers’ lines', async () => {
  const { witness, signer } = await localWitness('w1.example');
  const log = new SmallLog().grow(4);
  assert.equal((await witness.checkpoint(originHash(ORIGIN))).status, 404);
  assert.equal((await witness.checkpoint(originHash('unknown'))).status, 404);
  const { text } = log.checkpoint();
  const noise = signNote(text.slice(0, text.indexOf('\n\n') + 1), strangerSigner);
  const both = addSignatures(text, `${noise.split('\n').at(-2)}\n`) ?? '';
  assert.notEqual(both, text);
  assert.equal((await witness.addCheckpoint(formatAddCheckpoint(0, [], both))).status, 200);
  const { status, body } = await witness.checkpoint(originHash(ORIGIN));
  assert.equal(status, 200);
  assert.equal(verifyNote(body, [logSigner.vkey]).kind, 'valid');
  assert.equal(verifyNote(body, [signer.vkey]).kind, 'valid');
  assert.equal(verifyNote(body, [strangerSigner.vkey]).kind, 'invalid');
});

test('WI1. WS1. a crash at any disk operation: what was answered is still known', async () => {
  const log = new SmallLog().grow(10);
  const impostor = new SmallLog().grow(10, 'other');
  let crashes = 0;
  for (const keep of [false, true]) {
    for (let crashAt = 1; crashAt < 60; crashAt++) {
      let operations = 0;
      let dead = false;
      const files = new MemoryFiles({
        before: () => {
          operations += 1;
          if (operations === crashAt) dead = true;
          if (dead) throw new Error('the machine stopped');
        },
      });
      const answered = await answeredSize(files, log);
      if (!dead) break;
      crashes += 1;
      files.crash({ keepNames: () => keep, keepSector: () => keep });
      const after = await localWitness('w1.example', { files: files.copy() });
      const { body } = await after.witness.addCheckpoint(submit(impostor, 1, 10));
      const place = `crash at ${crashAt}, unsynced ${keep ? 'kept' : 'lost'}`;
      assert.ok(Number(body) >= answered, `${place}: answered ${answered}, knows ${body}`);
    }
  }
  assert.ok(crashes > 40, `${crashes} crashes`);
});

/** The largest size that was cosigned before the machine stopped. */
async function answeredSize(files: MemoryFiles, log: SmallLog): Promise<number> {
  let answered = 0;
  try {
    const { witness } = await localWitness('w1.example', { files });
    for (const [from, to] of [
      [0, 2],
      [2, 6],
      [6, 10],
    ] as const) {
      const { status } = await witness.addCheckpoint(submit(log, from, to));
      if (status === 200) answered = to;
    }
  } catch {
    // Opening failed: nothing was answered.
  }
  return answered;
}

test('a crash between persisting and answering: the log asks again and gets it', async () => {
  const log = new SmallLog().grow(6);
  const { witness, files } = await localWitness('w1.example');
  assert.equal((await witness.addCheckpoint(submit(log, 0, 6))).status, 200);
  files.crash();
  const again = await localWitness('w1.example', { files, nowMs: () => NOW_MS - 60_000 });
  const lost = await again.witness.addCheckpoint(submit(log, 0, 6));
  assert.deepEqual([lost.status, lost.body], [409, '6\n']);
  const second = await again.witness.addCheckpoint(submit(log, 6, 6));
  assert.equal(second.status, 200);
  const note = addSignatures(log.checkpoint().text, second.body) ?? '';
  const verdict = verifyNote(note, [again.signer.vkey]);
  assert.ok(verdict.kind === 'valid');
  const time = verdict.good[0]?.timestampS;
  assert.equal(time, BigInt(NOW_MS / 1000), 'the clock went back a minute, the time did not');
});

test('thousands of ways to be malformed: each has its status, nothing is lost', async () => {
  const log = new SmallLog().grow(12);
  const { witness } = await localWitness('w1.example');
  assert.equal((await witness.addCheckpoint(submit(log, 0, 5))).status, 200);
  const good = Buffer.from(submit(log, 5, 12));
  const change = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(127), cut: fc.nat(40) });
  const allowed = new Set([400, 403, 404, 409, 422]);
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const bytes = Buffer.from(good);
      for (const { at, byte } of changes) bytes[at] = byte;
      const cut = changes[0]?.cut ?? 0;
      const body = bytes.subarray(0, cut < 5 ? bytes.length - cut : bytes.length).toString();
      if (body === good.toString()) return;
      const { status } = await witness.addCheckpoint(body);
      // One changed byte of the signed text or of the proof must never pass.
      assert.ok(allowed.has(status), `${status} for ${JSON.stringify(body)}`);
    }),
    { numRuns: Number(process.env['KINTSUGI_FUZZ_RUNS'] ?? 3000) },
  );
  assert.equal((await witness.addCheckpoint(good.toString())).status, 200);
});

test('WI2. requests for one log are decided in turn, and too many are sent away', async () => {
  const log = new SmallLog().grow(30);
  const { witness } = await localWitness('w1.example', { queueMax: 8 });
  assert.equal((await witness.addCheckpoint(submit(log, 0, 1))).status, 200);
  const sizes = [5, 9, 3, 30, 2, 7, 12, 4];
  const answers = await Promise.all(
    [...sizes, 10, 11].map((to) => witness.addCheckpoint(submit(log, 1, to))),
  );
  const statuses = answers.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, 1, 'one of them wins');
  assert.equal(statuses[0], 200);
  assert.deepEqual(statuses.slice(8), [503, 503]);
  assert.ok(statuses.slice(1, 8).every((status) => status === 409));
  await witness.settled();
});

test('WI3. a failed save gives 500 and no cosignature; afterwards the disk decides', async () => {
  let broken = false;
  const files = new MemoryFiles({
    before: (operation) => {
      if (broken && operation === 'datasync') throw new Error('EIO');
    },
  });
  const log = new SmallLog().grow(9);
  const { witness, events } = await localWitness('w1.example', { files });
  assert.equal((await witness.addCheckpoint(submit(log, 0, 4))).status, 200);
  broken = true;
  const failed = await witness.addCheckpoint(submit(log, 4, 9));
  assert.equal(failed.status, 500);
  assert.doesNotMatch(failed.body, /EIO|witness\//, 'the disk is none of the client’s business');
  assert.ok(events.some((event) => event.kind === 'refused' && event.reason === 'EIO'));
  broken = false;
  assert.equal((await witness.addCheckpoint(submit(log, 9, 9))).status, 409);
  assert.equal((await witness.addCheckpoint(submit(log, 4, 9))).status, 200);
});

test('WS2. a damaged record is never "nothing yet": every flipped bit is refused', async () => {
  const log = new SmallLog().grow(3);
  const { witness, files } = await localWitness('w1.example');
  await witness.addCheckpoint(submit(log, 0, 3));
  const path = `witness/${originHash(ORIGIN)}.cosigned`;
  const length = (await files.readWhole(path, 100_000))?.length ?? 0;
  assert.ok(length > 100);
  for (let bit = 0; bit < length * 8; bit += 7) {
    const flip = (bytes: Uint8Array): void => {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    };
    files.corrupt(path, flip);
    const { status } = await witness.addCheckpoint(submit(log, 0, 3));
    assert.equal(status, 500, `bit ${bit}`);
    files.corrupt(path, flip);
  }
  assert.equal((await witness.addCheckpoint(submit(log, 3, 3))).status, 200);
});

test('WS3. a second witness on the same folder is refused', async () => {
  const { files } = await localWitness('w1.example');
  await assert.rejects(
    openWitnessStore(files, 'witness'),
    (cause) => cause instanceof LedgerError && cause.code === 'KIN_LEDGER_LOCKED',
  );
});
