// From sealing to forgetting, with the real ledger underneath.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles, verifyLedgerDir, verifyProof } from '../../src/index.ts';
import { privateDigests, verifyDisclosure } from '../../src/private/disclosure.ts';
import { Redactions } from '../../src/private/redactions.ts';
import { refusal, signer } from '../support.ts';
import { ALICE, BASIS, BOB, TENANT, bench, entryAt, grep, record, statesAt } from './support.ts';

const HOLD = { code: 'litigation', ref: 'CASE-77' } as const;

test('seal A3, reveal P1: fields come back verified, also after a restart', async () => {
  const files = new MemoryFiles();
  const first = await bench(files);
  const index = await record(first, [ALICE, BOB]);
  const shown = [
    'actor="Alice Ångström"',
    'actor="Bob Brown"',
    'ip="198.51.100.4"',
    'ip="203.0.113.17"',
    'note={"room":7}',
    'reason="follow-up"',
  ];
  assert.deepEqual([...(await statesAt(first, index))].sort(), shown);
  await first.close();
  const second = await bench(files);
  assert.deepEqual([...(await statesAt(second, index))].sort(), shown);
  const entry = await entryAt(second.ledger, index);
  const digests = privateDigests(entry);
  assert.deepEqual(digests, [...digests].sort());
  for (const state of await second.fields.reveal(entry, { tenant: TENANT })) {
    assert.ok(state.kind === 'shown');
    assert.equal(verifyDisclosure(entry, state.disclosure).kind, 'valid');
  }
  await second.close();
});

test('erase: one person is redacted, the other stays, no byte of the log changes', async () => {
  const bench1 = await bench();
  const { ledger, fields, files } = bench1;
  const index = await record(bench1, [ALICE, BOB]);
  const alone = await record(bench1, [ALICE]);
  const entry = await entryAt(ledger, index);
  const checkpoint = ledger.checkpoint();
  const before = {
    checkpoint: checkpoint.text,
    proof: await ledger.prove(index),
    root: await ledger.rootAt(checkpoint.size),
    entries: (await ledger.entries({ from: 0, limit: checkpoint.size })).map(({ bytes }) => bytes),
  };
  const report = await fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
  assert.ok(report.kind === 'erased');
  assert.deepEqual(
    { payloads: report.payloads, fields: report.fields, canary: report.canary },
    { payloads: 2, fields: 8, canary: 'refused' },
  );
  const redacted = `redacted (erasure #${report.index})`;
  const states = await statesAt(bench1, index);
  assert.equal(states.filter((state) => state === redacted).length, 4);
  assert.deepEqual([...states.filter((state) => state !== redacted)].sort(), [
    'actor="Bob Brown"',
    'ip="198.51.100.4"',
  ]);
  assert.deepEqual(await statesAt(bench1, alone), Array(4).fill(redacted));
  assert.equal(verifyProof(before.proof, entry, signer.vkey).kind, 'valid');
  assert.equal(await ledger.rootAt(checkpoint.size), before.root);
  assert.deepEqual(
    (await ledger.entries({ from: 0, limit: checkpoint.size })).map(({ bytes }) => bytes),
    before.entries,
  );
  await bench1.close();
  // The same proof again, made by a ledger that never knew the fields.
  const again = await bench(files);
  assert.deepEqual(await statesAt(again, alone), Array(4).fill(redacted));
  const after = await again.ledger.prove(index);
  assert.equal(verifyProof(after, entry, signer.vkey).kind, 'valid');
  await again.close();
  const report2 = await verifyLedgerDir('ledger', signer.vkey, { files });
  assert.equal(report2.kind, 'intact', JSON.stringify(report2));
});

test('erase: the proof against the same checkpoint is byte-identical', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  const receipt = await one.ledger.receipt(index);
  const before = await receipt.proof();
  await one.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
  assert.equal(await receipt.proof(), before);
  await one.close();
});

test('erase Z3: the log learns a random id, the tenant, the basis and counts', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  const report = await one.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
  assert.ok(report.kind === 'erased');
  const texts = (await one.ledger.entries({ from: 0, limit: 100 })).map(({ bytes }) =>
    Buffer.from(bytes).toString(),
  );
  for (const text of texts) {
    for (const secret of ['alice', 'Ångström', '203.0.113', 'follow-up']) {
      assert.ok(!text.includes(secret), `${secret} in ${text}`);
    }
  }
  const outcome = texts.find((text) => text.includes('"kind":"outcome"')) ?? '';
  assert.match(outcome, /"canary":"refused"/);
  assert.match(outcome, new RegExp(`"named":\\[${index}\\]`));
  assert.match(outcome, new RegExp(report.erasure));
  assert.match(texts.join('\n'), /GDPR Art\. 17\(1\)\(b\)/);
  await one.close();
});

test('redactions P3: an auditor tells redacted from missing with the log alone', async () => {
  for (const withoutLocate of [false, true]) {
    const one = await bench(new MemoryFiles(), { withoutLocate });
    const index = await record(one, [ALICE]);
    const other = await record(one, [BOB]);
    const report = await one.fields.erase({ tenant: TENANT, subject: ALICE.subject, basis: BASIS });
    const book = new Redactions();
    for (const { index: at, bytes } of await one.ledger.entries({ from: 0, limit: 100 })) {
      book.learn(at, bytes);
    }
    const [digest = ''] = privateDigests(await entryAt(one.ledger, index));
    const [kept = ''] = privateDigests(await entryAt(one.ledger, other));
    assert.deepEqual(book.explain({ tenant: TENANT, index, digest }), {
      kind: 'redacted',
      by: 'erasure',
      index: report.index,
      basis: 'GDPR Art. 17(1)(b): consent withdrawn',
    });
    assert.equal(book.explain({ tenant: TENANT, index: other, digest: kept }).kind, 'missing');
    assert.equal(book.explain({ tenant: 'other', index, digest }).kind, 'missing');
    await one.close();
  }
});

test('redactions P3: an erasure without a successful outcome explains nothing', () => {
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  const digest = 'A'.repeat(43);
  const base = { at: '2026-11-20T00:00:00.000Z', v: 1 };
  const detail = { basis: { text: 'x' }, erasure: 'e', tenant: 't' };
  const intent = encode({ ...base, action: 'privacy.erase', detail, kind: 'intent', subject: 's' });
  const outcome = (result: string): Uint8Array =>
    encode({ ...base, detail: { named: [3, digest] }, intent: 5, kind: 'outcome', result });
  for (const [result, kind] of [
    ['failed', 'missing'],
    ['succeeded', 'redacted'],
  ] as const) {
    const book = new Redactions();
    book.learn(5, intent);
    assert.equal(book.explain({ tenant: 't', index: 3, digest }).kind, 'missing');
    book.learn(6, outcome(result));
    assert.equal(book.explain({ tenant: 't', index: 3, digest }).kind, kind);
    // Sealed after the order: not what it erased.
    assert.equal(book.explain({ tenant: 't', index: 9, digest }).kind, 'missing');
  }
  const book = new Redactions();
  book.learn(6, outcome('succeeded'));
  assert.equal(book.explain({ tenant: 't', index: 3, digest }).kind, 'missing');
});

test('erase again: nothing is held any more, and new data of the person is new', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  const input = { tenant: TENANT, subject: ALICE.subject, basis: BASIS };
  const [a, b] = await Promise.all([one.fields.erase(input), one.fields.erase(input)]);
  assert.deepEqual(a, b);
  assert.equal((await one.fields.erase(input)).kind, 'nothing-held');
  const later = await record(one, [ALICE]);
  assert.ok((await statesAt(one, later)).includes('ip="203.0.113.17"'));
  assert.match((await statesAt(one, index))[0] ?? '', /^redacted/);
  assert.equal((await one.fields.erase(input)).kind, 'erased');
  await one.close();
});

test('erase Z2, hold H1: a legal hold refuses with its name, nothing is written', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  const input = { tenant: TENANT, subject: ALICE.subject, basis: BASIS };
  const hold = await one.fields.placeHold({
    tenant: TENANT,
    subject: ALICE.subject,
    basis: HOLD,
  });
  const size = one.ledger.size;
  const error = await refusal(one.fields.erase(input));
  assert.equal(error.code, 'KIN_LEDGER_HELD');
  assert.ok(error.message.includes(hold.hold) && error.message.includes('CASE-77'));
  assert.equal(one.ledger.size, size);
  assert.ok((await statesAt(one, index)).includes('ip="203.0.113.17"'));
  // Still there after a restart, and others are free.
  await one.close();
  const two = await bench(one.files);
  assert.equal((await refusal(two.fields.erase(input))).code, 'KIN_LEDGER_HELD');
  await record(two, [BOB]);
  const bob = await two.fields.erase({ ...input, subject: BOB.subject });
  assert.equal(bob.kind, 'erased');
  const whole = await two.fields.placeHold({ tenant: TENANT, basis: HOLD });
  await two.fields.releaseHold(hold.hold, 'CASE-77/end');
  assert.ok((await refusal(two.fields.erase(input))).message.includes(whole.hold));
  await two.fields.releaseHold(whole.hold, 'CASE-77/end');
  assert.equal((await two.fields.erase(input)).kind, 'erased');
  await two.close();
});

test('hold H1: one that cannot be recorded is taken back', async () => {
  const one = await bench();
  await record(one, [ALICE]);
  await one.fields.start({
    ...one.port,
    record: () => Promise.reject(new Error('the ledger is full')),
  });
  await assert.rejects(one.fields.placeHold({ tenant: TENANT, basis: HOLD }));
  assert.deepEqual(one.fields.marks().holds, []);
  const basis = { code: 'gdpr-18-1-a', ref: 'R-1' } as const;
  await assert.rejects(one.fields.restrict({ tenant: TENANT, subject: 'x', basis }));
  assert.deepEqual(one.fields.marks().restrictions, []);
  await one.close();
});

test('restriction: reading is denied with its ground, nothing is deleted', async () => {
  const one = await bench();
  const index = await record(one, [ALICE, BOB]);
  const { restriction } = await one.fields.restrict({
    tenant: TENANT,
    subject: ALICE.subject,
    basis: { code: 'gdpr-18-1-a', ref: 'DSR-9' },
  });
  const states = await one.fields.reveal(await entryAt(one.ledger, index), { tenant: TENANT });
  const denied = states.filter((state) => state.kind === 'restricted');
  assert.equal(denied.length, 4);
  assert.match(denied[0]?.reason ?? '', /Art\. 18\(1\)\(a\)/);
  assert.equal(states.filter((state) => state.kind === 'shown').length, 2);
  await one.fields.unrestrict(restriction, 'DSR-9/done');
  assert.ok((await statesAt(one, index)).includes('ip="203.0.113.17"'));
  await one.close();
});

test('reveal P2: missing, held back and damaged are told apart', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const digests = await one.fields.seal(TENANT, [ALICE], { decoys: 2 });
  assert.equal(digests.length, 6);
  const bytes = new TextEncoder().encode(
    JSON.stringify({ private: digests, tenant: TENANT, v: 1 }),
  );
  const kinds = async (): Promise<readonly string[]> =>
    [...(await one.fields.reveal(bytes, { tenant: TENANT })).map(({ kind }) => kind)].sort();
  assert.deepEqual(await kinds(), ['missing', 'missing', 'shown', 'shown', 'shown', 'shown']);
  const [file = ''] = (await files.list('ledger/payload')).filter((name) => name.endsWith('.pay'));
  const path = `ledger/payload/${file}`;
  const whole = Buffer.from((await files.readWhole(path, 1e9)) ?? []);
  const last = whole.findLastIndex((byte) => byte !== 0);
  files.corrupt(path, (content) => (content[last] = (content[last] ?? 0) ^ 1));
  assert.deepEqual(await kinds(), [...Array(4).fill('damaged'), 'missing', 'missing']);
  await one.close();
});

test('reveal P5: a digest copied into an entry of another tenant shows nothing', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  const digests = privateDigests(await entryAt(one.ledger, index));
  const stolen = new TextEncoder().encode(
    `{"private":${JSON.stringify(digests)},"salt":"${'A'.repeat(22)}","tenant":"clinic-b","v":1}`,
  );
  for (const options of [{}, { tenant: TENANT }]) {
    const states = await one.fields.reveal(stolen, options);
    assert.deepEqual(new Set(states.map(({ kind }) => kind)), new Set(['missing']));
  }
  assert.deepEqual(new Set(await statesAt(one, index, 'clinic-b')), new Set(['missing']));
  const raw = new TextEncoder().encode(JSON.stringify({ private: digests, v: 1 }));
  const own = refusal(one.fields.reveal(raw));
  assert.equal((await own).code, 'KIN_LEDGER_OPTION_INVALID');
  await one.close();
});

test('retain T2, T3: below the minimum is overwritten, a held person kept unseen', async () => {
  const one = await bench();
  const old = await record(one, [ALICE, BOB]);
  const young = await record(one, [ALICE]);
  await one.fields.placeHold({ tenant: TENANT, subject: BOB.subject, basis: HOLD });
  const basis = { code: 'gdpr-5-1-e', ref: 'RET-1' } as const;
  const report = await one.fields.retain({ tenant: TENANT, before: { index: young }, basis });
  assert.deepEqual({ removed: report.removed, held: report.held }, { removed: 1, held: 1 });
  const states = await statesAt(one, old);
  assert.equal(states.filter((s) => s === `redacted (retention #${report.index})`).length, 4);
  assert.equal(states.filter((s) => s === 'held-back').length, 2);
  assert.ok((await statesAt(one, young)).includes('ip="203.0.113.17"'));
  assert.deepEqual(await grep(one.files, 'Bob Brown'), []);
  const lower = await refusal(one.fields.retain({ tenant: TENANT, before: { index: 1 }, basis }));
  assert.equal(lower.code, 'KIN_LEDGER_OPTION_INVALID');
  const book = new Redactions();
  for (const { index, bytes } of await one.ledger.entries({ from: 0, limit: 100 })) {
    book.learn(index, bytes);
  }
  const [digest = ''] = privateDigests(await entryAt(one.ledger, old));
  const absence = book.explain({ tenant: TENANT, index: old, digest });
  assert.ok(absence.kind === 'redacted' && absence.by === 'retention');
  await one.close();
});

test('retain by time: what was sealed before it goes', async () => {
  const one = await bench();
  const old = await record(one, [ALICE]);
  await one.clock.advance(60_000);
  const young = await record(one, [ALICE]);
  const basis = { code: 'retention-schedule', ref: 'RET-2' } as const;
  const before = { atMs: one.clock.nowMs() - 30_000 };
  const report = await one.fields.retain({ tenant: TENANT, before, basis });
  assert.equal(report.removed, 1);
  assert.match((await statesAt(one, old))[0] ?? '', /^redacted \(retention/);
  assert.ok((await statesAt(one, young)).includes('ip="203.0.113.17"'));
  await one.close();
});

test('orphans T4: payloads without an entry go after the grace time, others never', async () => {
  const one = await bench();
  const index = await record(one, [ALICE]);
  await one.fields.seal(TENANT, [BOB]);
  const referenced = (): AsyncIterable<readonly string[]> =>
    one.port.digestsBelow?.(TENANT, one.ledger.size) ?? fail();
  const collect = (): Promise<{ readonly removed: number }> =>
    one.fields.collectOrphans({
      referenced: referenced(),
      olderThanMs: 1000,
      size: one.ledger.size,
    });
  assert.equal((await collect()).removed, 0);
  await one.clock.advance(5000);
  assert.equal((await collect()).removed, 1);
  assert.ok((await statesAt(one, index)).includes('ip="203.0.113.17"'));
  await one.close();
});

function fail(): never {
  throw new Error('the port gives digests');
}

test('export P4: one document with fields, entries and proofs that verify', async () => {
  const one = await bench();
  const index = await record(one, [ALICE, BOB]);
  await one.fields.seal(TENANT, [ALICE]);
  let text = '';
  const size = one.ledger.size;
  for await (const piece of one.fields.exportSubject({
    tenant: TENANT,
    subject: ALICE.subject,
    ref: 'DSR-15',
    source: {
      locate: async (tenant, digest) => (await one.port.locate?.(tenant, [digest]))?.[0],
      entry: (at) => entryAt(one.ledger, at),
      prove: (at) => one.ledger.prove(at),
    },
  })) {
    if (text === '') assert.equal(one.ledger.size, size + 1);
    text += piece;
  }
  const document = JSON.parse(text) as {
    about: { subject: string };
    records: {
      kind: string;
      entry: string;
      index: number;
      proof: string;
      fields: { name: string; disclosure: string }[];
    }[];
  };
  assert.equal(document.about.subject, ALICE.subject);
  assert.deepEqual(
    document.records.map(({ kind }) => kind),
    ['record', 'without-entry'],
  );
  const [first] = document.records;
  assert.equal(first?.index, index);
  const entry = Buffer.from(first.entry, 'base64');
  assert.equal(verifyProof(first.proof, entry, signer.vkey).kind, 'valid');
  assert.deepEqual(
    first.fields.map(({ name }) => name),
    ['actor', 'ip', 'note', 'reason'],
  );
  for (const { disclosure } of first.fields) {
    assert.equal(verifyDisclosure(entry, disclosure).kind, 'valid');
  }
  assert.ok(!text.includes('Bob Brown'));
  await one.close();
});

test('wrong input is refused with a code and does not repeat what is personal', async () => {
  const one = await bench();
  const seal = (tenant: string, subject: string, fields: Record<string, unknown>) =>
    refusal(one.fields.seal(tenant, [{ subject, fields }]));
  const codes = {
    tenant: (await seal('Clinic A', 'a', { x: 1 })).code,
    subject: (await seal(TENANT, '', { x: 1 })).code,
    none: (await seal(TENANT, 'a', {})).code,
    name: (await seal(TENANT, 'a', { _sd: 1 })).code,
    nothing: (await seal(TENANT, 'a', { x: undefined })).code,
    value: (await seal(TENANT, 'a', { x: Number.NaN })).code,
    large: (await seal(TENANT, 'a', { x: 'x'.repeat(2_000_000) })).code,
    many: (await refusal(one.fields.seal(TENANT, [ALICE], { decoys: 300 }))).code,
    twice: (await refusal(one.fields.seal(TENANT, [ALICE, ALICE]))).code,
  };
  const option = 'KIN_LEDGER_OPTION_INVALID';
  const entry = 'KIN_LEDGER_ENTRY_INVALID';
  assert.deepEqual(codes, {
    tenant: option,
    subject: option,
    none: entry,
    name: entry,
    nothing: entry,
    value: entry,
    large: entry,
    many: entry,
    twice: option,
  });
  const ref = 'alice@example.com';
  const basis = { code: 'gdpr-17-1-a', ref } as const;
  const error = await refusal(one.fields.erase({ tenant: TENANT, subject: 'a', basis }));
  assert.equal(error.code, option);
  assert.ok(!error.message.includes('alice'));
  const wrong = { code: 'because', ref: 'X-1' } as unknown as typeof BASIS;
  const closed = await refusal(one.fields.erase({ tenant: TENANT, subject: 'a', basis: wrong }));
  assert.match(closed.message, /gdpr-17-1-a/);
  assert.equal((await refusal(one.fields.releaseHold('nope', 'X-1'))).code, option);
  await one.close();
});

test('a field of the largest size comes back, also from files that are smaller', async () => {
  const files = new MemoryFiles();
  const one = await bench(files);
  const text = 'ä'.repeat(440_000);
  const index = await record(one, [{ subject: 'a', fields: { text } }]);
  const after = await record(one, [ALICE]);
  await one.close();
  const two = await bench(files);
  assert.deepEqual(await statesAt(two, index), [`text=${JSON.stringify(text)}`]);
  assert.ok((await statesAt(two, after)).includes('ip="203.0.113.17"'));
  await two.fields.erase({ tenant: TENANT, subject: 'a', basis: BASIS });
  assert.match((await statesAt(two, index)).join(), /^redacted/);
  await two.close();
});

test('limits: digests, subjects and the queue end in a code', async () => {
  const one = await bench(new MemoryFiles(), { digestsMax: 5, subjectsMax: 2, queueBytesMax: 900 });
  await record(one, [ALICE]);
  assert.equal((await refusal(record(one, [ALICE]))).code, 'KIN_LEDGER_PAYLOAD_FULL');
  await one.fields.seal(TENANT, [{ subject: 'b', fields: { x: 1 } }]);
  const third = one.fields.seal(TENANT, [{ subject: 'c', fields: { x: 1 } }]);
  assert.equal((await refusal(third)).code, 'KIN_LEDGER_PAYLOAD_FULL');
  const large = one.fields.seal(TENANT, [{ subject: 'b', fields: { x: 'y'.repeat(900) } }]);
  await assert.rejects(large);
  await one.close();
});

test('erasures, seals, reads and compaction at the same time keep to their own', async () => {
  const one = await bench();
  const people = Array.from({ length: 24 }, (_, at) => ({
    subject: `person-${at}`,
    fields: { mark: `field of ${at}`, pad: 'x'.repeat(at * 13) },
  }));
  const indexes = await Promise.all(people.map((person) => record(one, [person])));
  const more: Promise<number>[] = [];
  const reads: Promise<readonly string[]>[] = [];
  const erasures = people
    .filter((_, at) => at % 2 === 0)
    .map(({ subject }) => one.fields.erase({ tenant: TENANT, subject, basis: BASIS }));
  for (const [at, person] of people.entries()) {
    if (at % 2 === 1) {
      more.push(record(one, [person]));
      reads.push(statesAt(one, indexes[at] ?? 0));
    }
    if (at % 6 === 0) await one.fields.compact(0);
  }
  for (const report of await Promise.all(erasures)) {
    assert.ok(report.kind === 'erased' && report.canary === 'refused' && report.payloads === 1);
  }
  for (const states of await Promise.all(reads)) {
    assert.ok(
      states.every((state) => state.includes('=')),
      states.join(),
    );
  }
  const later = await Promise.all(more);
  await one.fields.compact(0);
  const check = async (of: typeof one): Promise<void> => {
    for (const [at, index] of indexes.entries()) {
      const states = await statesAt(of, index);
      const wanted = at % 2 === 0 ? /^redacted \(erasure/ : new RegExp(`field of ${at}"|xxx|pad`);
      assert.ok(
        states.every((state) => wanted.test(state)),
        `${at}: ${states.join()}`,
      );
    }
    for (const index of later) {
      assert.ok((await statesAt(of, index)).every((state) => state.includes('=')));
    }
  };
  await check(one);
  await one.close();
  const two = await bench(one.files);
  await check(two);
  await two.close();
});
