// How the newest tree reaches the files, the witnesses and those who wait for it, with crashes,
// full disks, dead and lying witnesses.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointsLog, readCheckpointsLog } from '../src/checkpoints-log.ts';
import type { CheckpointLine } from '../src/checkpoints-log.ts';
import { LedgerError } from '../src/errors.ts';
import type { Files } from '../src/files.ts';
import { MemoryFiles } from '../src/memory-files.ts';
import { verifyNote } from '../src/note.ts';
import { neededBy } from '../src/publish/target.ts';
import { parsePolicy } from '../src/policy.ts';
import { openPublisher } from '../src/publish.ts';
import type { PublisherOptions } from '../src/publish.ts';
import { signerFromSeed } from '../src/signer.ts';
import { FakeClock, open, refusal } from './support.ts';
import {
  FakeHttp,
  ORIGIN,
  SmallLog,
  honest,
  localWitness,
  logSigner,
  policyOf,
  until,
  witnessSigner,
} from './witness/rig.ts';
import type { Behaviour, LocalWitness } from './witness/rig.ts';

const mldsa = signerFromSeed(ORIGIN, new Uint8Array(32).fill(3), 'ml-dsa-44').signer;

async function start(more: Partial<PublisherOptions> & { log: SmallLog; files?: Files }) {
  const clock = new FakeClock();
  const files = more.files ?? new MemoryFiles();
  const options: PublisherOptions = {
    vkey: logSigner.vkey,
    clock,
    dir: 'ledger',
    random: () => 1,
    highWater: 'skip',
    ...more,
    files,
  };
  return { clock, files, publisher: await openPublisher(options) };
}

async function textOf(files: Files, name = 'checkpoint'): Promise<string> {
  const bytes = await files.readWhole(`ledger/${name}`, 1_000_000);
  return Buffer.from(bytes ?? []).toString();
}

async function linesOf(files: Files): Promise<CheckpointLine[]> {
  const lines: CheckpointLine[] = [];
  for await (const line of readCheckpointsLog(files, 'ledger')) lines.push(line);
  return lines;
}

/** `count` witnesses with a quorum of `needs`; `change` replaces some by worse ones. */
async function witnesses(count: number, needs: number, change: Record<string, Behaviour> = {}) {
  const http = new FakeHttp();
  const all: LocalWitness[] = [];
  for (let at = 1; at <= count; at++) {
    const local = await localWitness(`w${at}.example`);
    all.push(local);
    http.behaviours.set(`w${at}.example`, change[`w${at}.example`] ?? honest(local.witness));
  }
  const policy = policyOf(
    all.map(({ signer }) => signer),
    needs,
  );
  return { http, all, policy };
}

const cosigners = (note: string, all: readonly LocalWitness[]): readonly string[] =>
  all
    .filter(({ signer }) => verifyNote(note, [signer.vkey]).kind === 'valid')
    .map(({ signer }) => signer.name);

test('both signatures of the log, and the history, stand in the files', async () => {
  const log = new SmallLog().grow(5);
  const { publisher, files } = await start({ log, signers: [mldsa] });
  const { size } = await publisher.publish();
  assert.equal(size, 5);
  const text = await textOf(files);
  for (const vkey of [logSigner.vkey, mldsa.vkey]) {
    assert.equal(verifyNote(text, [vkey]).kind, 'valid');
  }
  assert.deepEqual(
    (await linesOf(files)).map((line) => line.kind === 'published' && line.note),
    [text],
  );
  await publisher.close();
});

test('over a real ledger: its entries, its proofs, its key', async () => {
  const ledger = await open(new MemoryFiles());
  const http = new FakeHttp();
  const local = await localWitness('w1.example', {
    logs: [{ origin: ledger.origin, vkeys: [ledger.vkey] }],
  });
  http.behaviours.set('w1.example', honest(local.witness));
  const policy = policyOf([local.signer], 1);
  const publisher = await openPublisher({
    log: ledger,
    vkey: ledger.vkey,
    dir: 'published',
    files: new MemoryFiles(),
    clock: new FakeClock(),
    policy,
    http,
    publishEveryMs: 0,
  });
  for (let at = 0; at < 20; at++) {
    const { index } = await ledger.record('test.entry', { at });
    await publisher.publish();
    assert.equal(await publisher.waitFor(index, 'witnessed', 60_000), index + 1);
  }
  assert.equal(publisher.state().quorum.kind, 'met');
  await publisher.close();
  await ledger.close();
});

test('PB1. a crash at any disk operation: what the file shows is in the history', async () => {
  const log = new SmallLog().grow(6);
  let crashes = 0;
  for (const keep of [false, true]) {
    for (let crashAt = 1; crashAt < 80; crashAt++) {
      let operations = 0;
      let dead = false;
      const files = new MemoryFiles({
        before: () => {
          operations += 1;
          if (operations === crashAt) dead = true;
          if (dead) throw new Error('the machine stopped');
        },
      });
      let shown = 0;
      try {
        const { publisher } = await start({ log, files, publishEveryMs: 0 });
        for (let round = 0; round < 3; round++) {
          shown = (await publisher.publish()).size;
          log.grow(1);
        }
        await publisher.close();
      } catch {
        // The machine stopped.
      }
      if (!dead) break;
      crashes += 1;
      files.crash({ keepNames: () => keep, keepSector: () => keep });
      const disk = files.copy();
      const found = await textOf(disk);
      const notes = (await linesOf(disk)).map((line) =>
        line.kind === 'published' ? line.note : '',
      );
      if (found !== '') assert.ok(notes.includes(found), `crash at ${crashAt}`);
      const size = Number(found.split('\n')[1] ?? 0);
      assert.ok(size >= shown, `crash at ${crashAt}: ${shown} was published, the file has ${size}`);
      const next = await start({ log, files: disk });
      const { size: after } = await next.publisher.publish({ now: true });
      assert.equal(after, log.leaves.length);
      await next.publisher.close();
    }
  }
  assert.ok(crashes > 30, `${crashes} crashes`);
});

test('PB3. calls coalesce, and publications keep their distance unless hurried', async () => {
  const log = new SmallLog().grow(1);
  let epochs = 0;
  const appendEpoch = async (): Promise<void> => {
    epochs += 1;
    await Promise.resolve();
  };
  const { publisher, clock } = await start({ log, appendEpoch });
  await publisher.publish();
  log.grow(1);
  for (let at = 0; at < 100; at++) publisher.grown();
  const later = publisher.publish();
  await until(() => clock.sleepers > 0, 'the distance is kept');
  assert.equal(publisher.state().publishedSize, 1);
  log.grow(1);
  await clock.advance(1000);
  assert.equal((await later).size, 3, 'with what came meanwhile');
  assert.equal(epochs, 2);
  log.grow(1);
  assert.equal((await publisher.publish({ now: true })).size, 4, 'hurried');
  await publisher.close();
});

test('the epoch entry is in the tree that is published with it', async () => {
  const log = new SmallLog().grow(3);
  const appendEpoch = async (): Promise<void> => {
    await Promise.resolve();
    log.grow(1, 'epoch');
  };
  const { publisher } = await start({ log, appendEpoch });
  assert.equal((await publisher.publish()).size, 4);
  await publisher.close();
});

test('a quorum of 2, one dead, one lying: the honest meet it, and the state says who', async () => {
  const log = new SmallLog().grow(5);
  const lie: Behaviour = () => ({
    status: 200,
    contentType: 'text/plain',
    body: '— w2.example AAAA\n',
  });
  const { http, all, policy } = await witnesses(4, 2, {
    'w2.example': lie,
    'w3.example': () => new Error('ECONNREFUSED'),
  });
  const { publisher, files } = await start({ log, http, policy });
  await publisher.publish();
  assert.equal(await publisher.waitFor(4, 'witnessed', 60_000), 5);
  const text = await textOf(files);
  assert.deepEqual(cosigners(text, all), ['w1.example', 'w4.example']);
  assert.equal(await textOf(files, 'checkpoint.witnessed'), text);
  assert.equal(publisher.witnessed(), text);
  const { quorum, witnesses: states } = publisher.state();
  assert.deepEqual(quorum, { kind: 'met', needed: 2, got: 2, of: 4, missing: [] });
  await until(() => publisher.state().witnesses[2]?.state.kind === 'failing', 'w3 is reported');
  assert.ok(states[0]?.state.kind === 'good' && states[0].size === 5);
  const faults = publisher
    .state()
    .witnesses.map(({ state }) => (state.kind === 'failing' ? state.fault : state.kind));
  assert.deepEqual(faults, ['good', 'garbage', 'unreachable', 'good']);
  await publisher.close();
});

test('2 of 3 with one dead and one lying is no quorum: the wait ends, with the names', async () => {
  const log = new SmallLog().grow(5);
  const { http, policy } = await witnesses(3, 2, {
    'w2.example': () => ({ status: 500, contentType: 'text/plain', body: '' }),
    'w3.example': () => new Error('ECONNREFUSED'),
  });
  const { publisher, clock, files } = await start({ log, http, policy });
  await publisher.publish();
  const waiting = refusal(publisher.waitFor(0, 'witnessed', 5000));
  await until(() => publisher.state().quorum.kind === 'waiting', 'asked');
  await until(() => /w1\.example/.test(publisher.published() ?? ''), 'one cosignature');
  await clock.advance(5000);
  const error = await waiting;
  assert.equal(error.code, 'KIN_LEDGER_DEADLINE');
  const { quorum } = publisher.state();
  assert.ok(quorum.kind === 'waiting' && quorum.got === 1 && quorum.needed === 2);
  assert.deepEqual(quorum.missing, ['w2.example', 'w3.example']);
  assert.equal(publisher.state().publishedSize, 5, 'published regardless');
  await until(
    () => publisher.state().witnesses.every(({ state }) => state.kind !== 'unasked'),
    'all',
  );
  assert.match(await textOf(files), /— w1\.example /, 'what there is stands in the file');
  await publisher.close();
});

test('PB4. RO1. a witness that never answers delays neither publication nor quorum', async () => {
  const log = new SmallLog().grow(2);
  const never = Promise.withResolvers<Error>();
  const { http, policy } = await witnesses(3, 2, { 'w3.example': () => never.promise });
  const { publisher } = await start({ log, http, policy, publishEveryMs: 0 });
  for (let round = 0; round < 5; round++) {
    log.grow(1);
    await publisher.publish();
    await publisher.waitFor(log.leaves.length - 1, 'witnessed', 60_000);
  }
  assert.equal(http.posts('w3.example').length, 1, 'one outstanding question');
  never.resolve(new Error('gone'));
  await publisher.close();
});

test('RO2. a slow witness joins again with the newest; in between nothing is asked', async () => {
  const log = new SmallLog().grow(2);
  const answer = Promise.withResolvers<void>();
  const { http, all, policy } = await witnesses(2, 1);
  const [, slow] = all;
  assert.ok(slow);
  const real = honest(slow.witness);
  http.behaviours.set('w2.example', async (request) => {
    await answer.promise;
    return real(request);
  });
  const { publisher, files } = await start({ log, http, policy, publishEveryMs: 0 });
  for (let round = 0; round < 3; round++) {
    log.grow(1);
    await publisher.publish();
    await publisher.waitFor(log.leaves.length - 1, 'witnessed', 60_000);
  }
  assert.equal(http.posts('w2.example').length, 1);
  answer.resolve();
  await until(() => cosigners(publisher.published() ?? '', all).length === 2, 'both on the newest');
  assert.equal(http.posts('w2.example').length, 2);
  const before = http.requests.length;
  await until(() => publisher.state().quorum.kind === 'met', 'settled');
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(http.requests.length, before);
  assert.deepEqual(cosigners(await textOf(files), all), ['w1.example', 'w2.example']);
  await publisher.close();
});

test('PB2. a late quorum for an older checkpoint does not replace the newer one', async () => {
  const log = new SmallLog().grow(3);
  const gate = Promise.withResolvers<void>();
  const { http, all, policy } = await witnesses(1, 1);
  const [only] = all;
  assert.ok(only);
  const real = honest(only.witness);
  http.behaviours.set('w1.example', async (request) => {
    await gate.promise;
    return real(request);
  });
  const { publisher, files } = await start({ log, http, policy, publishEveryMs: 0 });
  await publisher.publish();
  await until(() => http.requests.length === 1, 'asked about size 3');
  log.grow(4);
  await publisher.publish();
  const seen: string[] = [];
  gate.resolve();
  await publisher.waitFor(2, 'witnessed', 60_000);
  seen.push((await textOf(files)).split('\n')[1] ?? '');
  await publisher.waitFor(6, 'witnessed', 60_000);
  seen.push((await textOf(files)).split('\n')[1] ?? '');
  assert.deepEqual(seen, ['7', '7']);
  assert.deepEqual(
    (await linesOf(files)).map(({ kind, size }) => `${kind} ${size}`),
    ['published 3', 'published 7', 'cosigned 3', 'cosigned 7'],
  );
  await publisher.close();
});

test('a dead witness is asked again after its pause, without any new publication', async () => {
  const log = new SmallLog().grow(3);
  const { http, all, policy } = await witnesses(1, 1, { 'w1.example': () => new Error('dead') });
  const { publisher, clock } = await start({ log, http, policy });
  await publisher.publish();
  await until(() => publisher.state().witnesses[0]?.state.kind === 'failing', 'it is dead');
  const [only] = all;
  assert.ok(only);
  http.behaviours.set('w1.example', honest(only.witness));
  const witnessed = publisher.waitFor(2, 'witnessed', 60_000);
  await until(() => clock.sleepers >= 2, 'asleep');
  await clock.advance(1000);
  assert.equal(await witnessed, 3);
  await publisher.close();
});

test('PR1. PR2. a restart resumes where it was; rolled back or forked is refused', async () => {
  const log = new SmallLog().grow(8);
  const { http, all, policy } = await witnesses(2, 2);
  const first = await start({ log, http, policy });
  await first.publisher.publish();
  await first.publisher.waitFor(7, 'witnessed', 60_000);
  const text = first.publisher.published();
  await first.publisher.close();
  const { files } = first;
  for (const { signer, witness } of all) http.behaviours.set(signer.name, honest(witness));
  const asked = http.requests.length;

  const second = await start({ log, http, policy, files });
  const { publishedSize, witnessedSize, quorum } = second.publisher.state();
  assert.deepEqual([publishedSize, witnessedSize, quorum.kind], [8, 8, 'met']);
  assert.equal(second.publisher.published(), text);
  log.grow(1);
  await second.publisher.publish();
  await second.publisher.waitFor(8, 'witnessed', 60_000);
  assert.match(http.requests[asked]?.body ?? '', /^old 8\n/, 'witness sizes are remembered');
  await second.publisher.close();

  const older = await refusal(start({ log: log.fork(6), policy, http, files }));
  assert.equal(older.code, 'KIN_LEDGER_ROLLED_BACK');
  const forked = await refusal(start({ log: log.fork(6).grow(9, 'other'), policy, http, files }));
  assert.equal(forked.code, 'KIN_LEDGER_FORKED');
});

test('a pruned log resumes although its old checkpoint cannot be proved any more', async () => {
  const log = new SmallLog().grow(4);
  const { publisher, files } = await start({ log });
  await publisher.publish();
  await publisher.close();
  log.grow(4);
  const pruned = {
    checkpoint: () => log.checkpoint(),
    consistency: () => Promise.reject(new LedgerError('KIN_LEDGER_PRUNED', 'below 7')),
  };
  const clock = new FakeClock();
  const options = { log: pruned, vkey: logSigner.vkey, files, dir: 'ledger', clock };
  const again = await openPublisher(options);
  assert.equal((await again.publish()).size, 8);
  await again.close();
});

test('the documents may live in the store of the ledger instead of in files', async () => {
  const log = new SmallLog().grow(4);
  const rows = new Map<string, Uint8Array>();
  const { http, policy } = await witnesses(1, 1);
  const documents = {
    readDocument: (name: string) => Promise.resolve(rows.get(name)),
    replaceDocument: (name: string, bytes: Uint8Array) => {
      rows.set(name, bytes);
      return Promise.resolve();
    },
  };
  const { publisher, files } = await start({ log, http, policy, documents });
  await publisher.publish();
  await publisher.waitFor(3, 'witnessed', 60_000);
  assert.deepEqual([...rows.keys()], ['checkpoint', 'checkpoint.witnessed']);
  assert.equal(await textOf(files), '');
  await publisher.close();
  const again = await start({ log, http, policy, documents, files });
  assert.equal(again.publisher.state().witnessedSize, 4);
  await again.publisher.close();
});

test('a restored backup: the witnesses know more, and publishing does not even start', async () => {
  const log = new SmallLog().grow(9);
  const { http, policy, all } = await witnesses(3, 2, { 'w3.example': () => new Error('dead') });
  const first = await start({ log, http, policy, highWater: 'refuse' });
  await first.publisher.publish();
  await first.publisher.waitFor(8, 'witnessed', 60_000);
  await first.publisher.close();
  for (const { signer, witness } of all) http.behaviours.set(signer.name, honest(witness));
  const restored = start({ log: log.fork(5), http, policy, highWater: 'refuse' });
  const error = await refusal(restored);
  assert.equal(error.code, 'KIN_LEDGER_ROLLED_BACK');
  assert.match(error.message, /own signature over size 9; our log has 5/);
  const evidence = error.cause as readonly { readonly proven: boolean }[];
  assert.equal(evidence.filter(({ proven }) => proven).length, 2);
});

test('PB5. proof of a roll-back while running stops publishing and all who wait', async () => {
  const log = new SmallLog().grow(10);
  const { http, all, policy } = await witnesses(1, 1);
  await all[0]?.witness.addCheckpoint(`old 0\n\n${log.checkpoint().text}`);
  const fatal: LedgerError[] = [];
  const restored = log.fork(6);
  const { publisher } = await start({
    log: restored,
    http,
    policy,
    onFatal: (error) => fatal.push(error),
  });
  const waiting = refusal(publisher.waitFor(5, 'witnessed', 60_000));
  assert.equal((await waiting).code, 'KIN_LEDGER_ROLLED_BACK');
  assert.equal(fatal[0]?.code, 'KIN_LEDGER_ROLLED_BACK');
  const { health } = publisher.state();
  assert.ok(health.kind === 'stopped' && health.evidence[0]?.proven === true);
  const refused = await refusal(publisher.publish({ now: true }));
  assert.equal(refused.code, 'KIN_LEDGER_ROLLED_BACK');
  await publisher.close();
});

test('PW1. every wait ends: reached, late, unknown, too many, closed', async () => {
  const log = new SmallLog().grow(3);
  const { publisher, clock } = await start({ log, waitersMax: 2 });
  assert.equal(await publisher.waitFor(2, 'published', 1000), 3);
  const noPolicy = await refusal(publisher.waitFor(0, 'witnessed', 1000));
  assert.equal(noPolicy.code, 'KIN_LEDGER_OPTION_INVALID');
  assert.equal((await refusal(publisher.waitFor(-1, 'published', 1))).code, 'KIN_LEDGER_RANGE');
  const endless = await refusal(publisher.waitFor(0, 'anchored', Infinity));
  assert.equal(endless.code, 'KIN_LEDGER_OPTION_INVALID');
  const anchored = publisher.waitFor(1, 'anchored', 1000);
  const late = refusal(publisher.waitFor(2, 'anchored', 1000));
  assert.equal((await refusal(publisher.waitFor(2, 'anchored', 9))).code, 'KIN_LEDGER_OVERLOADED');
  publisher.anchored(2);
  assert.equal(await anchored, 2);
  await clock.advance(1000);
  assert.equal((await late).code, 'KIN_LEDGER_DEADLINE');
  const left = refusal(publisher.waitFor(2, 'anchored', 1000));
  await publisher.close();
  assert.equal((await left).code, 'KIN_LEDGER_CLOSED');
  assert.equal((await refusal(publisher.waitFor(0, 'published', 1))).code, 'KIN_LEDGER_CLOSED');
  assert.equal((await refusal(publisher.publish())).code, 'KIN_LEDGER_CLOSED');
});

test('without a quorum in the policy, published is witnessed', async () => {
  const log = new SmallLog().grow(3);
  const policy = policyOf([], 'none');
  const { publisher, files } = await start({ log, policy });
  await publisher.publish();
  assert.equal(await publisher.waitFor(2, 'witnessed', 1000), 3);
  await publisher.close();
  const again = await start({ log, policy, files });
  assert.equal(again.publisher.state().witnessedSize, 3);
  await again.publisher.close();
});

test('a policy whose quorum cannot be asked is refused at the start', async () => {
  const { vkey } = witnessSigner('w1.example');
  const reading = parsePolicy(`witness w1 ${vkey}\nquorum w1\n`);
  assert.ok(reading.kind === 'valid');
  const error = await refusal(start({ log: new SmallLog(), policy: reading.policy }));
  assert.equal(error.code, 'KIN_LEDGER_OPTION_INVALID');
  assert.match(error.message, /w1/);
});

test('how many witnesses are needed: the cheapest way through nested groups', () => {
  const vkey = (at: number): string => witnessSigner(`n${at}.example`).vkey;
  const lines = [1, 2, 3, 4, 5].map((at) => `witness n${at} ${vkey(at)} http://n${at}.example\n`);
  const groups = 'group x 2 n1 n2 n3\ngroup y any n4 n5\ngroup both all x y\nquorum both\n';
  const reading = parsePolicy(lines.join('') + groups);
  assert.ok(reading.kind === 'valid');
  assert.equal(neededBy(reading.policy), 3);
});

test('a full disk is in the state; publishing goes on when there is room', async () => {
  const log = new SmallLog().grow(2);
  const files = new MemoryFiles();
  const { publisher } = await start({ log, files, publishEveryMs: 0 });
  await publisher.publish();
  files.setCapacity(files.usedBytes());
  log.grow(1);
  assert.equal((await refusal(publisher.publish())).code, 'KIN_LEDGER_FULL');
  assert.equal(publisher.state().health.kind, 'failing');
  assert.equal(publisher.state().publishedSize, 2);
  files.setCapacity(10_000_000);
  assert.equal((await publisher.publish()).size, 3);
  assert.equal(publisher.state().health.kind, 'good');
  await publisher.close();
  assert.deepEqual(
    (await linesOf(files)).map(({ size }) => size),
    [2, 3],
  );
});

test('the file fails after the history has the line: the next call makes up', async () => {
  const log = new SmallLog().grow(2);
  let broken = true;
  const files = new MemoryFiles({
    before: (operation, path) => {
      if (broken && operation === 'rename' && path.endsWith('/checkpoint.tmp')) {
        throw new Error('EIO');
      }
    },
  });
  const { http, policy } = await witnesses(1, 1);
  const { publisher } = await start({ log, files, http, policy, publishEveryMs: 0 });
  assert.equal((await refusal(publisher.publish())).code, 'KIN_LEDGER_IO');
  assert.deepEqual([publisher.state().publishedSize, http.requests.length], [0, 0]);
  broken = false;
  await publisher.publish();
  assert.equal(await publisher.waitFor(1, 'published', 1000), 2);
  assert.equal(await publisher.waitFor(1, 'witnessed', 60_000), 2);
  assert.equal((await textOf(files)).split('\n')[1], '2');
  await publisher.close();
  const kinds = (await linesOf(files)).map(({ kind }) => kind);
  assert.deepEqual(kinds, ['published', 'cosigned']);
});

const line = (size: number): CheckpointLine => ({
  kind: 'published',
  at: '2026-11-20T00:00:00.000Z',
  size,
  note: 'x'.repeat(300),
});

test('CL1. CL2. a torn last line is dropped; damage before it is refused by place', async () => {
  const files = new MemoryFiles();
  const log = await CheckpointsLog.open({ files, dir: 'ledger' });
  for (const size of [1, 2, 3]) await log.append(line(size));
  await log.close();
  const whole = (await files.readWhole('ledger/checkpoints.log', 10_000)) ?? new Uint8Array(0);
  const lineBytes = whole.length / 3;
  for (let length = 0; length <= whole.length; length += 13) {
    const disk = await diskWith(whole.subarray(0, length));
    const again = await CheckpointsLog.open({ files: disk, dir: 'ledger' });
    assert.equal(again.tail.length, Math.floor(length / lineBytes));
    await again.append(line(9));
    await again.close();
    const sizes = (await linesOf(disk)).map(({ size }) => size);
    assert.deepEqual(sizes, [1, 2, 3].slice(0, Math.floor(length / lineBytes)).concat(9));
  }
  for (let bit = 0; bit < lineBytes * 2 * 8; bit += 101) {
    const disk = await diskWith(whole);
    disk.corrupt('ledger/checkpoints.log', (bytes) => {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    });
    const error = await refusal(CheckpointsLog.open({ files: disk, dir: 'ledger' }));
    assert.equal(error.code, 'KIN_LEDGER_CORRUPT', `bit ${bit}`);
    assert.equal(error.place?.file, 'checkpoints.log');
    assert.equal(error.place.offset, Math.floor((bit >> 3) / lineBytes) * lineBytes);
  }
});

async function diskWith(bytes: Uint8Array): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const file = await files.open('ledger/checkpoints.log', 'create');
  await file.write(Uint8Array.from(bytes), 0);
  await file.datasync();
  await files.syncDir('ledger');
  return files;
}

test('CL1. CL3. rotation, a crash at any operation: no line is lost or doubled', async () => {
  let crashes = 0;
  for (const keep of [false, true]) {
    for (let crashAt = 1; crashAt < 120; crashAt++) {
      let operations = 0;
      let dead = false;
      const files = new MemoryFiles({
        before: () => {
          operations += 1;
          if (operations === crashAt) dead = true;
          if (dead) throw new Error('the machine stopped');
        },
      });
      let acknowledged = 0;
      try {
        const log = await CheckpointsLog.open({ files, dir: 'ledger', fileBytes: 900 });
        for (let size = 1; size <= 9; size++) {
          await log.append(line(size));
          acknowledged = size;
        }
      } catch {
        // The machine stopped.
      }
      if (!dead) break;
      crashes += 1;
      files.crash({ keepNames: () => keep, keepSector: () => keep });
      const disk = files.copy();
      const again = await CheckpointsLog.open({ files: disk, dir: 'ledger', fileBytes: 900 });
      await again.append(line(99));
      await again.close();
      const sizes = (await linesOf(disk)).map(({ size }) => size);
      assert.equal(sizes.pop(), 99);
      assert.deepEqual(
        sizes,
        sizes.map((_, at) => at + 1),
        `crash at ${crashAt}`,
      );
      assert.ok(sizes.length >= acknowledged, `crash at ${crashAt}: ${sizes.join()}`);
    }
  }
  assert.ok(crashes > 60, `${crashes} crashes`);
});
