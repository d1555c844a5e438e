// The machine dies anywhere in an erasure: is it finished later, is the rest whole, and is what was
// erased really gone from every file?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryFiles } from '../../src/index.ts';
import type { Files } from '../../src/index.ts';
import { scanFrames } from '../../src/private/frame-scan.ts';
import { readKeyHead } from '../../src/private/key-frames.ts';
import { readPayloadHead } from '../../src/private/payload.ts';
import {
  ALICE,
  BASIS,
  BOB,
  TENANT,
  bench,
  entryAt,
  filesWith,
  grep,
  record,
  seededRandom,
  wholeDisk,
} from './support.ts';
import { statesAt } from './support.ts';
import type { Bench } from './support.ts';

const HOLD = { code: 'litigation', ref: 'CASE-1' } as const;
const RESTRICT = { code: 'gdpr-18-1-a', ref: 'DSR-9' } as const;
const INPUT = { tenant: TENANT, subject: ALICE.subject, basis: BASIS } as const;

/** What must not be on the disk after an erasure: everything that is or opens the fields. */
interface Secrets {
  readonly name: string;
  readonly bytes: Buffer;
}

async function frames(files: Files, dir: string): Promise<ReturnType<typeof scanFrames>['frames']> {
  const all = [];
  for (const name of await files.list(dir)) {
    if (!/\.(pay|key)$/.test(name)) continue;
    const bytes = Buffer.from((await files.readWhole(`${dir}/${name}`, 1e9)) ?? []);
    all.push(...scanFrames(bytes, bytes.length).frames);
  }
  return all;
}

async function secretsOf(one: Bench, index: number, names: readonly string[]): Promise<Secrets[]> {
  const secrets: Secrets[] = [];
  const entry = await entryAt(one.ledger, index);
  const digests = new Set<string>();
  for (const state of await one.fields.reveal(entry, { tenant: TENANT })) {
    if (state.kind !== 'shown' || !names.includes(state.name)) continue;
    digests.add(state.digest);
    const text = Buffer.from(state.disclosure, 'base64url').toString();
    const [salt] = JSON.parse(text) as [string];
    secrets.push({ name: 'disclosure', bytes: Buffer.from(state.disclosure) });
    secrets.push({ name: 'disclosure text', bytes: Buffer.from(text) });
    secrets.push({ name: 'salt text', bytes: Buffer.from(salt) });
    secrets.push({ name: 'salt bytes', bytes: Buffer.from(salt, 'base64url') });
  }
  const keyIds = new Set<string>();
  for (const { head, body } of await frames(one.files, 'ledger/payload')) {
    const parsed = readPayloadHead(head);
    if (!parsed?.digests.some((digest) => digests.has(digest.toString('base64url')))) continue;
    keyIds.add(parsed.keyId.toString('hex'));
    secrets.push({ name: 'ciphertext', bytes: Buffer.from(body) });
    secrets.push({ name: 'ciphertext part', bytes: Buffer.from(body.subarray(0, 16)) });
  }
  for (const { head, body } of await frames(one.files, 'ledger/keys')) {
    const parsed = readKeyHead(head);
    if (parsed === undefined || !keyIds.has(parsed.keyId.toString('hex'))) continue;
    secrets.push({ name: 'wrapped key', bytes: Buffer.from(body) });
    secrets.push({ name: 'wrapped key part', bytes: Buffer.from(body.subarray(12, 28)) });
    secrets.push({ name: 'subject tag', bytes: parsed.tag });
  }
  assert.ok(secrets.length >= 8, `${secrets.length} secrets found before the erasure`);
  return secrets;
}

async function assertGone(files: Files, secrets: readonly Secrets[]): Promise<void> {
  const disk = await wholeDisk(files);
  for (const { name, bytes } of secrets) {
    assert.deepEqual(filesWith(disk, bytes), [], `${name} is still on the disk`);
  }
}

test('frame R6, R7, key S3: after an erasure nothing of it is in any file', async () => {
  const one = await bench();
  const index = await record(one, [ALICE, BOB]);
  await record(one, [ALICE]);
  const secrets = await secretsOf(one, index, ['note', 'reason']);
  for (const { name, bytes } of secrets) {
    const isStored =
      name.startsWith('cipher') || name.startsWith('wrapped') || name.endsWith('tag');
    assert.equal((await grep(one.files, bytes)).length, isStored ? 1 : 0, name);
  }
  await one.fields.erase(INPUT);
  await assertGone(one.files, secrets);
  await one.fields.compact(0);
  await assertGone(one.files, secrets);
  assert.ok((await statesAt(one, index)).includes('actor="Bob Brown"'));
  assert.match((await statesAt(one, index)).join(' '), /redacted \(erasure #/);
  await one.close();
  const two = await bench(one.files);
  assert.match((await statesAt(two, index)).join(' '), /redacted \(erasure #/);
  await two.close();
});

test('frame R7: the blocks of the replaced key file are zeros, also without a name', async () => {
  const one = await bench();
  await record(one, [ALICE, BOB]);
  const [name = ''] = (await one.files.list('ledger/keys')).filter((file) => file.endsWith('.key'));
  const old = await one.files.open(`ledger/keys/${name}`, 'read');
  assert.ok((await old.read(0, await old.size())).some((byte) => byte !== 0));
  await one.fields.erase(INPUT);
  assert.ok((await old.read(0, await old.size())).every((byte) => byte === 0));
  await one.close();
});

test('any fields of any people: erasing one leaves no byte, and all of the rest', async () => {
  const value = fc.string({ minLength: 12, maxLength: 60, unit: 'grapheme' });
  const fields = fc.dictionary(fc.stringMatching(/^[a-z]{3,9}$/), value, {
    minKeys: 1,
    maxKeys: 6,
    noNullPrototype: true,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fields, { minLength: 2, maxLength: 5 }),
      fc.nat(),
      fc.boolean(),
      async (all, pick, restart) => {
        let one = await bench();
        const people = all.map((fields, at) => ({ subject: `person-${at}`, fields }));
        const indexes: number[] = [];
        for (const person of people) indexes.push(await record(one, [person]));
        const victim = pick % people.length;
        const names = Object.keys(people[victim]?.fields ?? {});
        const secrets = await secretsOf(one, indexes[victim] ?? 0, names);
        const subject = `person-${victim}`;
        await one.fields.erase({ ...INPUT, subject });
        await assertGone(one.files, secrets);
        if (restart) {
          await one.close();
          one = await bench(one.files);
        }
        for (const [at, index] of indexes.entries()) {
          const kinds = await statesAt(one, index);
          const gone = kinds.every((kind) => kind.startsWith('redacted'));
          assert.equal(gone, at === victim, `${at}: ${kinds.join()}`);
          if (at !== victim) assert.ok(kinds.every((kind) => kind.includes('=')));
        }
        await one.close();
      },
    ),
    { numRuns: 40 },
  );
});

interface Dying {
  readonly files: MemoryFiles;
  crashAt: number;
  operations: number;
}

function diskThatDies(): Dying {
  const dying: Dying = {
    crashAt: Infinity,
    operations: 0,
    files: new MemoryFiles({
      before: () => {
        dying.operations += 1;
        if (dying.operations < dying.crashAt) return;
        throw Object.assign(new Error('power cut'), { code: 'EIO' });
      },
    }),
  };
  return dying;
}

function mix(seed: number, path: string, sector: number): number {
  let hash = seed;
  for (const char of `${path}#${sector}`) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) >>> 0;
  return (hash ^ (hash >>> 13)) >>> 0;
}

type Keep = (path: string, sector: number) => boolean;

type Cut = 'before' | 'resumed' | 'through';

/** Erases with a power cut in front of operation `at` of the erasure. */
async function eraseUntilCut(at: number, keep: Keep): Promise<Cut> {
  const dying = diskThatDies();
  const one = await bench(dying.files, { random: seededRandom(at) });
  const index = await record(one, [ALICE, BOB]);
  const secrets = await secretsOf(one, index, ['note', 'reason']);
  const size = one.ledger.size;
  dying.crashAt = dying.operations + at;
  let acked = false;
  try {
    await one.fields.erase(INPUT);
    acked = true;
  } catch {
    // The crash, seen from inside.
  }
  const survivor = dying.files;
  dying.crashAt = Infinity;
  survivor.crash({ keepSector: keep, keepNames: (dir) => keep(dir, at) });
  const two = await bench(survivor, { random: seededRandom(at + 1000) });
  const states = await statesAt(two, index);
  assert.ok(states.includes('actor="Bob Brown"'), `cut ${at}: ${states.join()}`);
  const gone = states.filter((state) => state.startsWith('redacted (erasure #')).length;
  const shown = states.filter((state) => state.includes('=')).length;
  if (acked) assert.equal(gone, 4, `cut ${at}: acknowledged, yet ${states.join()}`);
  assert.deepEqual(two.ledger.openIntents(), [], `cut ${at}`);
  assert.deepEqual(two.fields.marks().erasing, [], `cut ${at}`);
  const texts = (await two.ledger.entries({ from: size, limit: 100 })).map(({ bytes }) =>
    Buffer.from(bytes).toString(),
  );
  const succeeded = texts.some((text) => text.includes('"result":"succeeded"'));
  if (gone === 4) {
    assert.ok(succeeded, `cut ${at}: destroyed without a record`);
    await assertGone(survivor, secrets);
  } else {
    assert.equal(shown, 6, `cut ${at}: neither whole nor erased: ${states.join()}`);
    assert.ok(!succeeded, `cut ${at}: recorded, and not destroyed`);
    const again = await two.fields.erase(INPUT);
    assert.equal(again.kind, 'erased');
    await assertGone(survivor, secrets);
  }
  await two.close();
  if (acked) return 'through';
  return gone === 4 ? 'resumed' : 'before';
}

/** How many cuts left nothing begun, and how many were taken up again. */
async function cutEverywhere(
  keep: (at: number) => Keep,
): Promise<{ readonly before: number; readonly resumed: number }> {
  const cuts = { before: 0, resumed: 0 };
  for (let at = 1; at < 400; at++) {
    const cut = await eraseUntilCut(at, keep(at));
    if (cut === 'through') return cuts;
    cuts[cut] += 1;
  }
  throw new Error('an erasure has no end');
}

test('erase Z1: power cut before every operation, unsynced bytes lost', async () => {
  const cuts = await cutEverywhere(() => () => false);
  assert.ok(cuts.before > 5 && cuts.resumed > 20, JSON.stringify(cuts));
});

test('erase Z1: power cut before every operation, everything unsynced survives', async () => {
  await cutEverywhere(() => () => true);
});

test('erase Z1: power cut before every operation, sectors torn at random', async () => {
  for (let seed = 1; seed <= 2; seed++) {
    await cutEverywhere((at) => (path, sector) => mix(seed * 7919 + at, path, sector) % 2 === 0);
  }
});

test('erase Z1: start after start is cut off as well, and the erasure still ends', async () => {
  for (let step = 1; step < 26; step += 4) {
    const dying = diskThatDies();
    const one = await bench(dying.files, { random: seededRandom(step) });
    const index = await record(one, [ALICE, BOB]);
    const secrets = await secretsOf(one, index, ['note', 'reason']);
    const keep: Keep = (path, sector) => mix(step, path, sector) % 2 === 0;
    // The intent is durable after this many operations; everything later has to be taken up.
    dying.crashAt = dying.operations + 22;
    await assert.rejects(one.fields.erase(INPUT));
    for (let round = 1; round <= 4; round++) {
      dying.files.crash({ keepSector: keep, keepNames: () => true });
      dying.crashAt = dying.operations + round * 9 + step;
      await bench(dying.files, { random: seededRandom(round) })
        .then((again) => again.close())
        .catch(() => undefined);
      dying.crashAt = Infinity;
    }
    dying.files.crash({ keepSector: keep, keepNames: () => true });
    const last = await bench(dying.files);
    const report = await last.fields.erase(INPUT);
    assert.ok(report.kind === 'erased' || report.kind === 'nothing-held');
    await assertGone(dying.files, secrets);
    assert.ok((await statesAt(last, index)).includes('actor="Bob Brown"'));
    await last.close();
  }
});

test('seal A3: power cut at every operation: what was acknowledged is shown', async () => {
  for (let at = 1; at < 70; at += 1) {
    const dying = diskThatDies();
    const acked: number[] = [];
    dying.crashAt = 60 + at;
    try {
      const one = await bench(dying.files, { random: seededRandom(at) });
      for (let round = 0; round < 8; round++) {
        const group = round % 2 === 0 ? [ALICE] : [BOB, ALICE];
        acked.push(await record(one, group));
      }
    } catch {
      // The crash, seen from inside.
    }
    dying.crashAt = Infinity;
    dying.files.crash({ keepSector: (path, sector) => mix(at, path, sector) % 2 === 0 });
    const two = await bench(dying.files);
    assert.deepEqual(two.fields.stats().recovery.damaged, [], `cut ${at}`);
    for (const index of acked) {
      const states = await statesAt(two, index);
      assert.ok(states.length >= 4 && states.every((state) => state.includes('=')), `cut ${at}`);
    }
    await record(two, [ALICE]);
    await two.close();
  }
});

test('retain T2: one that was cut off is finished at the next start', async () => {
  for (let at = 1; at < 60; at += 2) {
    const dying = diskThatDies();
    const one = await bench(dying.files);
    const old = await record(one, [ALICE]);
    const young = await record(one, [ALICE]);
    const basis = { code: 'gdpr-5-1-e', ref: 'RET-1' } as const;
    dying.crashAt = dying.operations + at;
    const done = await one.fields.retain({ tenant: TENANT, before: { index: young }, basis }).then(
      () => true,
      () => false,
    );
    dying.crashAt = Infinity;
    dying.files.crash();
    const two = await bench(dying.files);
    assert.deepEqual(two.ledger.openIntents(), []);
    const states = await statesAt(two, old);
    const isGone = states.every((state) => state.startsWith('redacted (retention'));
    const isWhole = states.every((state) => state.includes('='));
    assert.ok(isGone || (isWhole && !done), `cut ${at}: ${states.join()}`);
    assert.ok((await statesAt(two, young)).every((state) => state.includes('=')));
    await two.close();
    if (done) return;
  }
});

test('marks T1, PB1: power cut at every operation: no hold is lost', async () => {
  const hold = { tenant: TENANT, subject: BOB.subject, basis: HOLD } as const;
  const restrict = { tenant: TENANT, subject: ALICE.subject, basis: RESTRICT } as const;
  for (const kept of [true, false]) {
    for (let at = 1, isThrough = false; !isThrough && at < 300; at++) {
      const dying = diskThatDies();
      const one = await bench(dying.files, { random: seededRandom(at) });
      await record(one, [ALICE, BOB]);
      dying.crashAt = dying.operations + at;
      const done = { placed: '', releasing: false, released: false };
      try {
        done.placed = (await one.fields.placeHold(hold)).hold;
        await one.fields.restrict(restrict);
        await one.fields.erase(INPUT);
        done.releasing = true;
        await one.fields.releaseHold(done.placed, 'CASE-1/end');
        done.released = true;
        isThrough = true;
      } catch {
        // The crash, seen from inside.
      }
      dying.crashAt = Infinity;
      dying.files.crash({ keepSector: () => kept, keepNames: () => kept });
      const two = await bench(dying.files);
      const held = two.fields.marks().holds.map((one) => one.hold);
      if (done.released) assert.deepEqual(held, []);
      else if (done.placed !== '' && !done.releasing)
        assert.ok(held.includes(done.placed), `cut ${at}`);
      await two.close();
    }
  }
});
