// Marks, keys or payloads that are gone: does anybody notice before a person who is held is erased?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Files, MemoryFiles, OpenFile } from '../../src/index.ts';
import { verifyEvidenceDir } from '../../src/evidence/verify-dir.ts';
import type { EvidenceReport } from '../../src/evidence/verify-dir.ts';
import { replaceFile } from '../../src/files.ts';
import { scanFrames } from '../../src/private/frame-scan.ts';
import { encodeState, stateOffset } from '../../src/private/frame.ts';
import { PrivacyBook } from '../../src/private/privacy-book.ts';
import { refusal } from '../support.ts';
import { fill, openInMemory, signer } from './memory.ts';

const MARKS = 'log/keys/marks.json';
const PAYLOAD = 'log/payload/00000001.pay';
const TENANT = 'north';
const ann = { subject: 'patient:p-17', fields: { name: 'Ann Example' } };
const bob = { subject: 'patient:p-18', fields: { name: 'Bob Example', ward: 'B' } };
const ERASE = { code: 'gdpr-17-1-b', ref: 'DSR-7' } as const;
const HOLD = { code: 'litigation', ref: 'CASE-8' } as const;
const RESTRICT = { code: 'gdpr-18-1-a', ref: 'DSR-9' } as const;
const RETAIN = { code: 'retention-schedule', ref: 'one-year' } as const;

/** Ann is held, Bob is restricted, and the tenant has a minimum. */
async function folder(): Promise<{ files: MemoryFiles; empty: Uint8Array }> {
  const { files, log } = await openInMemory();
  const empty = (await files.readWhole(MARKS, 1e6)) ?? new Uint8Array(0);
  assert.match(Buffer.from(empty).toString(), /"holds":\[\]/);
  for (const person of [ann, bob]) {
    await log.record('service.audit', {}, { scope: { tenant: TENANT, private: [person] } });
  }
  await log.privacy.retain({ tenant: TENANT, before: { index: 2 }, basis: RETAIN });
  await log.privacy.placeHold({ tenant: TENANT, subject: ann.subject, basis: HOLD });
  await log.privacy.restrict({ tenant: TENANT, subject: bob.subject, basis: RESTRICT });
  await log.close();
  return { files, empty };
}

const check = (files: Files): Promise<EvidenceReport> =>
  verifyEvidenceDir('log', signer.vkey, { files });

const brief = ({ findings }: EvidenceReport): readonly string[] =>
  findings.map(({ part, file, index }) => `${part} ${file} ${index ?? '-'}`);

async function removeAll(files: Files, dir: string, pattern = /./): Promise<void> {
  for (const name of await files.list(dir)) {
    if (pattern.test(name)) await files.remove(`${dir}/${name}`);
  }
  await files.syncDir(dir);
}

test('T1, A4: marks that are missing beside keys refuse to open, and the check tells', async () => {
  const { files } = await folder();
  await removeAll(files, 'log/keys', /^marks/);
  const error = await refusal(openInMemory(files));
  assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
  assert.equal(error.place?.file, MARKS);
  assert.ok(brief(await check(files)).includes('keys keys/marks.json -'));
});

test('A4, VF2: payloads without keys refuse to open, and the check tells', async () => {
  for (const pattern of [/./, /[.]key$/]) {
    const { files } = await folder();
    await removeAll(files, 'log/keys', pattern);
    assert.equal((await refusal(openInMemory(files))).code, 'KIN_LEDGER_CORRUPT');
    assert.ok(brief(await check(files)).includes('keys keys -'));
  }
});

test('A4, PB1: marks that know less than the log refuse, with the entry', async () => {
  const { files, empty } = await folder();
  const whole = JSON.parse(Buffer.from((await files.readWhole(MARKS, 1e6)) ?? []).toString());
  for (const part of ['holds', 'restrictions', 'retention']) {
    const disk = files.copy();
    const text = JSON.stringify({ ...whole, [part]: [] });
    await replaceFile(disk, 'log/keys', 'marks.json', Buffer.from(`${text}\n`));
    const error = await refusal(openInMemory(disk));
    assert.equal(error.code, 'KIN_LEDGER_CORRUPT');
    const index = error.place?.index ?? 0;
    assert.ok(index > 0, error.message);
    assert.deepEqual(brief(await check(disk)), [`keys keys/marks.json ${index}`]);
  }
  await replaceFile(files, 'log/keys', 'marks.json', empty);
  assert.equal((await check(files)).findings.length, 3);
});

test('PB1: what was released, lifted or erased is not missed', async () => {
  const { files } = await folder();
  const { log } = await openInMemory(files);
  const { holds, restrictions } = log.privacy.marks();
  assert.deepEqual([holds.length, restrictions.length], [1, 1]);
  // The restriction of Bob ends with him.
  await log.privacy.erase({ tenant: TENANT, subject: bob.subject, basis: ERASE });
  await log.privacy.releaseHold(holds[0]?.hold ?? '', 'CASE-8/end');
  const { restriction } = await log.privacy.restrict({
    tenant: TENANT,
    subject: ann.subject,
    basis: RESTRICT,
  });
  await log.privacy.unrestrict(restriction, 'DSR-9/end');
  await log.close();
  assert.deepEqual((await check(files)).findings, []);
  const again = await openInMemory(files);
  assert.deepEqual(again.log.privacy.marks().holds, []);
  assert.deepEqual(again.log.privacy.marks().restrictions, []);
  await again.log.close();
});

test('PB1, FW2: a pruned log still knows what is held', async () => {
  const { files, empty } = await folder();
  const { log } = await openInMemory(files);
  const hold = log.privacy.marks().holds[0]?.index ?? 0;
  await fill(log, 600, TENANT, 4);
  await log.core.publish();
  await log.retain(TENANT, 400, RETAIN);
  await log.core.publish();
  const first = log.tenants.prunableBelow();
  assert.ok(first > hold);
  assert.equal((await log.core.prune({ first, basis: 'one year' })).kind, 'pruned');
  await log.close();
  await (await openInMemory(files)).log.close();
  await replaceFile(files, 'log/keys', 'marks.json', empty);
  const error = await refusal(openInMemory(files));
  assert.equal(error.place?.index, hold);
});

test('PB1: a snapshot gives the same book, and nonsense is refused', () => {
  const book = new PrivacyBook();
  const entry = (value: object): Uint8Array =>
    Buffer.from(JSON.stringify({ ...value, salt: 'A'.repeat(22), tenant: TENANT, v: 1 }));
  book.follow(3, entry({ detail: { hold: 'h1' }, kind: 'privacy.hold-placed' }));
  book.follow(4, entry({ action: 'privacy.erase', detail: {}, kind: 'intent' }));
  // Recorded late: its person is erased already.
  const outcome = { detail: { restrictions: ['r1'] }, intent: 4, kind: 'outcome' };
  book.follow(5, entry({ ...outcome, result: 'succeeded' }));
  const other = new PrivacyBook();
  other.restore(book.snapshot());
  assert.deepEqual(other.snapshot(), book.snapshot());
  other.follow(6, entry({ detail: { restriction: 'r1' }, kind: 'privacy.restricted' }));
  assert.deepEqual(other.standing(), {
    holds: [{ id: 'h1', tenant: TENANT, index: 3 }],
    restrictions: [],
    minimums: [],
  });
  assert.throws(() => other.restore(Buffer.from('[]')), { code: 'KIN_LEDGER_CORRUPT' });
});

test('VP1: fields whose payloads are gone are found at their entry', async () => {
  const { files } = await folder();
  assert.deepEqual((await check(files)).findings, []);
  await removeAll(files, 'log/payload');
  const report = await check(files);
  const found = report.findings.filter(({ part }) => part === 'payload');
  assert.equal(found.length, 2, JSON.stringify(report.findings));
  assert.match(found[1]?.reason ?? '', /^2 of 2 private fields have no payload/);
  assert.match(found[1]?.file ?? '', /[.]wal$/);
  assert.equal(found[1]?.index, (found[0]?.index ?? 0) + 1);
});

test('VP1: a payload that is overwritten without an order of its tenant is found', async () => {
  for (const cause of ['erased', 'retired', 'orphan'] as const) {
    const { files } = await folder();
    const bytes = Buffer.from((await files.readWhole(PAYLOAD, 1e9)) ?? []);
    const [, second] = scanFrames(bytes, bytes.length).frames;
    assert.ok(second?.state.kind === 'live');
    files.corrupt(PAYLOAD, (content) =>
      content.set(encodeState(cause, 1), stateOffset(second.offset)),
    );
    const report = await check(files);
    assert.equal(report.findings.length, 1, JSON.stringify(report.findings));
    assert.equal(report.findings[0]?.part, 'payload');
    assert.match(report.findings[0].reason, /^a payload was overwritten/);
  }
});

test('VP2: decoys are findings unless they are said to be there', async () => {
  const { files, log } = await openInMemory();
  await log.record('service.audit', {}, { scope: { tenant: TENANT } });
  const digests = await log.privacy.seal(TENANT, [ann], { decoys: 2 });
  const members = { tenant: TENANT, salt: 'A'.repeat(22), private: digests };
  await log.core.record('service.audit', {}, { members });
  await log.close();
  assert.match((await check(files)).findings[0]?.reason ?? '', /^2 of 3 private fields/);
  const told = await verifyEvidenceDir('log', signer.vkey, { files, decoys: true });
  assert.deepEqual(told.findings, []);
});

/** How many files are open. */
function counted(inner: MemoryFiles): { files: Files; open: () => number } {
  let open = 0;
  const count = async (opening: Promise<OpenFile>): Promise<OpenFile> => {
    const file = await opening;
    open += 1;
    let isOpen = true;
    return new Proxy(file, {
      get: (target, name) => {
        if (name !== 'close') return Reflect.get(target, name) as unknown;
        return async () => {
          if (isOpen) open -= 1;
          isOpen = false;
          await target.close();
        };
      },
    });
  };
  const files = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'open') {
        return (...args: Parameters<Files['open']>) => count(target.open(...args));
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { files, open: () => open };
}

test('A4, OE1: an open that fails leaves no file open, whatever it failed at', async () => {
  const { files, empty } = await folder();
  const damages: ((disk: MemoryFiles) => Promise<void>)[] = [
    async (disk) => disk.corrupt(MARKS, (bytes) => (bytes[3] = 0)),
    (disk) => removeAll(disk, 'log/keys', /^marks/),
    (disk) => removeAll(disk, 'log/keys'),
    (disk) => replaceFile(disk, 'log/keys', 'marks.json', empty),
    async (disk) => disk.corrupt('log/keys/00000001.key', (bytes) => (bytes[4_096 + 44] = 0xff)),
  ];
  for (const [at, damage] of damages.entries()) {
    const disk = files.copy();
    await damage(disk);
    const { files: watched, open } = counted(disk);
    await refusal(openInMemory(watched as MemoryFiles));
    assert.equal(open(), 0, `damage ${at}`);
  }
});

test('EL4: a record or an intent that is refused begins no log and leaves nothing', async () => {
  const { files, log } = await openInMemory();
  const size = log.core.size;
  const big = { text: 'x'.repeat(70_000) };
  const scope = { tenant: 'new', private: [ann] };
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`f${at}`, at]));
  const two = [ann, bob].map(({ subject }) => ({ subject, fields: many }));
  const refused: Promise<unknown>[] = [
    log.record('service.audit', big, { scope }),
    log.record('Not A Kind', {}, { scope }),
    log.record('privacy.erase', {}, { scope }),
    log.record('service.audit', { at: Number.NaN }, { scope }),
    log.record('service.audit', {}, { scope: { tenant: 'Not An Id' } }),
    log.record('service.audit', {}, { scope: { ...scope, private: [{ ...ann, subject: '' }] } }),
    log.record('service.audit', {}, { scope: { ...scope, private: [{ ...ann, fields: {} }] } }),
    log.record('service.audit', {}, { scope: { ...scope, private: two } }),
    log.record('service.audit', {}, { scope: { ...scope, private: [ann, ann] } }),
    log.intent({ kind: 'heal.restart', subject: 'r-1', detail: big, scope }),
    log.intent({ kind: 'heal.restart', subject: 'r-1', detail: 1n, scope }),
    log.intent({ kind: 'Not A Kind', subject: 'r-1', detail: null, scope }),
  ];
  for (const one of refused) await refusal(one);
  assert.equal(log.core.size, size);
  assert.equal(log.tenants.has('new'), false);
  assert.deepEqual([log.privacy.stats().payloads, log.privacy.stats().subjects], [0, 0]);
  await log.record('service.audit', {}, { scope });
  assert.equal(log.tenants.head('new')?.size, 2);
  await log.close();
  assert.deepEqual((await check(files)).findings, []);
});
