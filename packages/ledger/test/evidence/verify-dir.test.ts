// The whole folder of evidence under the check: what is whole is said to be whole, and each kind of
// damage is found in its part, with its place.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryFiles } from '../../src/index.ts';
import type { EvidenceOptions } from '../../src/index.ts';
import { CheckpointsLog } from '../../src/checkpoints-log.ts';
import { verifyEvidenceDir } from '../../src/evidence/verify-dir.ts';
import type { EvidenceReport, VerifyEvidenceOptions } from '../../src/evidence/verify-dir.ts';
import { formatTreeHead, signNote } from '../../src/note.ts';
import type { Policy } from '../../src/policy.ts';
import { replaceFile } from '../../src/files.ts';
import { FakeHttp, honest, localWitness, policyOf, witnessSigner } from '../witness/rig.ts';
import { MAP_KEY, ORIGIN, fill, openInMemory, signer } from './memory.ts';

const ann = { subject: 'patient:p-17', fields: { name: 'Ann Example' } };
const bob = { subject: 'patient:p-18', fields: { name: 'Bob Example' } };

interface Folder {
  readonly files: MemoryFiles;
  readonly policy: Policy;
}

/** Tenants, private fields, an erasure, a hold, a witness, several published checkpoints. */
async function folder(): Promise<Folder> {
  const local = await localWitness('w1.example', {
    logs: [{ origin: ORIGIN, vkeys: [signer.vkey] }],
  });
  const http = new FakeHttp();
  http.behaviours.set('w1.example', honest(local.witness));
  const policy = policyOf([local.signer], 1);
  const change: Partial<EvidenceOptions> = { policy, witnessHttp: http };
  const { files, clock, log } = await openInMemory(new MemoryFiles(), change);
  for (const person of [ann, bob]) {
    await log.record('service.audit', {}, { scope: { tenant: 'north', private: [person] } });
  }
  await fill(log, 30, 'south');
  await log.core.publish();
  const basis = { code: 'gdpr-17-1-b', ref: 'case-7' } as const;
  await log.privacy.erase({ tenant: 'north', subject: ann.subject, basis });
  const hold = { code: 'litigation', ref: 'case-8' } as const;
  await log.privacy.placeHold({ tenant: 'north', subject: bob.subject, basis: hold });
  await fill(log, 30);
  await clock.advance(2_000);
  await log.core.publish();
  await log.publisher.waitFor(log.core.size - 1, 'witnessed', 60_000);
  await log.close();
  return { files, policy };
}

const check = (
  { files }: Folder,
  options: Omit<VerifyEvidenceOptions, 'files'> = {},
): Promise<EvidenceReport> => verifyEvidenceDir('log/', signer.vkey, { files, ...options });

const brief = ({ findings }: EvidenceReport): readonly string[] =>
  findings.map(({ part, code, file }) => `${part} ${code.slice('KIN_LEDGER_'.length)} ${file}`);

async function damage(whole: Folder, path: string, at: number): Promise<EvidenceReport> {
  const files = whole.files.copy();
  files.corrupt(path, (bytes) => (bytes[at] = (bytes[at] ?? 0) ^ 1));
  return check({ ...whole, files }, { policy: whole.policy });
}

test('VD1 VD2: a whole folder is whole, and what was not checked is said', async () => {
  const whole = await folder();
  const full = await check(whole, { policy: whole.policy, mapKey: MAP_KEY });
  assert.equal(full.kind, 'intact', JSON.stringify(full.findings));
  assert.deepEqual(full.notes, []);
  assert.equal(full.checked.entries, full.log.size);
  assert.equal(full.tenants?.tenants, 2);
  assert.ok((full.tenants.epochs ?? 0) >= 1);
  assert.ok(full.checked.checkpointLines >= 4);
  // The key of the person who was erased is gone from its file.
  assert.deepEqual([full.checked.payloads, full.checked.keys], [2, 2]);
  const blind = await check(whole);
  assert.equal(blind.kind, 'intact');
  assert.deepEqual(blind.notes.map(({ part, kind }) => `${part} ${kind}`).toSorted(), [
    'checkpoints not-checked',
    'tenants not-checked',
    'witnessed not-checked',
  ]);
});

test('VD1: one changed byte in any part of the folder is found there', async () => {
  const whole = await folder();
  const segment = `seg/${(await whole.files.list('log/seg')).find((name) => /^\d/.test(name))}`;
  const log = await damage(whole, `log/${segment}`, 4_096 + 80);
  assert.equal(log.findings[0]?.part, 'log');
  assert.deepEqual([log.findings[0].offset, log.findings[0].index], [4_096, 1]);
  // The first frame was erased: its head stays, its body is zeros. The second one is live.
  const head = await damage(whole, 'log/payload/00000001.pay', 4_096 + 44);
  assert.deepEqual(brief(head), ['payload CORRUPT payload/00000001.pay']);
  assert.equal(head.findings[0]?.offset, 4_096);
  const key = await damage(whole, 'log/keys/00000001.key', 4_096 + 44);
  assert.deepEqual(brief(key), ['keys CORRUPT keys/00000001.key']);
  const marks = await damage(whole, 'log/keys/marks.json', 3);
  assert.deepEqual(brief(marks), ['keys CORRUPT keys/marks.json']);
  const line = await damage(whole, 'log/checkpoints.log', 20);
  assert.ok(brief(line).includes('checkpoints CORRUPT checkpoints.log'));
  assert.equal(line.findings[0]?.offset, 0);
  const witnessed = await damage(whole, 'log/checkpoint.witnessed', 2);
  assert.deepEqual(
    witnessed.findings.map(({ part, file }) => [part, file]),
    [['witnessed', 'checkpoint.witnessed']],
  );
});

test('VD1: a live payload whose body changed is found without any key', async () => {
  const whole = await folder();
  const bytes = (await whole.files.readWhole('log/payload/00000001.pay', 1e9)) ?? new Uint8Array(0);
  const last = bytes.findLastIndex((byte) => byte !== 0);
  // A further group behind it, so that it is not the torn end of the file.
  const { log } = await openInMemory(whole.files, {});
  await log.record('service.audit', {}, { scope: { tenant: 'north', private: [bob] } });
  await log.close();
  const report = await damage(whole, 'log/payload/00000001.pay', last);
  assert.deepEqual(brief(report), ['payload CORRUPT payload/00000001.pay']);
  assert.equal(report.findings[0]?.reason, 'the body was changed');
});

test('CM1: a log older than what was published, or another one, is told', async () => {
  const whole = await folder();
  const older = whole.files.copy();
  const { log } = await openInMemory(whole.files);
  await fill(log, 10, 'north');
  await log.close();
  const files = whole.files.copy();
  for (const name of await files.list('log/seg')) await files.remove(`log/seg/${name}`);
  for (const name of await older.list('log/seg')) {
    const bytes = await older.readWhole(`log/seg/${name}`, 1e9);
    await replaceFile(files, 'log/seg', name, bytes ?? new Uint8Array(0));
  }
  await replaceFile(
    files,
    'log',
    'checkpoint',
    (await older.readWhole('log/checkpoint', 1e6)) ?? new Uint8Array(0),
  );
  const rolled = await check({ ...whole, files });
  assert.ok(
    brief(rolled).includes('checkpoints ROLLED_BACK checkpoints.log'),
    brief(rolled).join(),
  );

  const forked = whole.files.copy();
  const size = (await check(whole)).log.size;
  const root = new Uint8Array(32).fill(1);
  const history = await CheckpointsLog.open({ files: forked, dir: 'log' });
  const note = signNote(formatTreeHead(ORIGIN, size - 1, root), signer);
  await history.append({ kind: 'published', at: '2026-11-20T00:00:00.000Z', size: size - 1, note });
  await history.close();
  const report = await check({ ...whole, files: forked });
  const found = report.findings.find(({ code }) => code === 'KIN_LEDGER_FORKED');
  assert.equal(found?.index, size - 1);
  assert.ok((found.offset ?? 0) > 0);
  // Its size is below the one that was published before it as well.
  assert.equal(report.findings.length, 2);
});

test('CM1: a cosignature that its witness did not make is found under the policy', async () => {
  const whole = await folder();
  const policy = policyOf([witnessSigner('w1.example', 5)], 1);
  const report = await check(whole, { policy });
  const parts = new Set(report.findings.map(({ part }) => part));
  assert.deepEqual([...parts].toSorted(), ['checkpoints', 'witnessed']);
  assert.ok(report.findings.some(({ reason }) => reason === 'no good cosignature of w1.example'));
});

test('VD1: a tenant’s log at another place in the map is found with the map key', async () => {
  const whole = await folder();
  const report = await check(whole, { mapKey: new Uint8Array(32).fill(99) });
  const kinds = new Set(report.tenants?.faults.map(({ kind }) => kind));
  assert.ok(kinds.has('position-wrong'));
  const [found] = report.findings.filter(({ part }) => part === 'tenants');
  assert.match(found?.file ?? '', /^\d+-0\.wal$/);
  assert.ok((found?.index ?? -1) > 0);
});

test('VD2: what retention removed is said to be unchecked; the rest is checked', async () => {
  const { files, log } = await openInMemory();
  await fill(log, 600, 'north', 4);
  await log.core.publish();
  const basis = { code: 'retention-schedule', ref: 'one-year' } as const;
  await log.retain('north', 400, basis);
  await log.core.publish();
  const first = log.tenants.prunableBelow();
  assert.equal((await log.core.prune({ first, basis: 'one year' })).kind, 'pruned');
  await log.close();
  const report = await verifyEvidenceDir('log', signer.vkey, { files });
  assert.equal(report.kind, 'intact', JSON.stringify(report.findings));
  assert.equal(report.tenants, undefined);
  assert.ok(report.log.first > 0);
  assert.ok(report.notes.some(({ part, kind }) => part === 'tenants' && kind === 'not-checked'));
});

test('beside a running writer nothing is taken for damage', async () => {
  const { files, log } = await openInMemory();
  const writing = (async () => {
    for (let at = 0; at < 40; at++) {
      await log.record('service.audit', { at }, { scope: { tenant: 'north', private: [ann] } });
      if (at % 10 === 0) await log.core.publish();
      const about = { tenant: 'north', subject: ann.subject };
      if (at % 4 === 1) {
        const basis = { code: 'litigation', ref: 'case-8' } as const;
        const { hold } = await log.privacy.placeHold({ ...about, basis });
        await log.privacy.releaseHold(hold, 'case-8/end');
      }
      const basis = { code: 'gdpr-17-1-b', ref: 'case-7' } as const;
      if (at % 9 === 3) await log.privacy.erase({ ...about, basis });
    }
  })();
  for (let round = 0; round < 5; round++) {
    const report = await verifyEvidenceDir('log', signer.vkey, { files, mapKey: MAP_KEY });
    assert.equal(report.kind, 'intact', JSON.stringify(report.findings));
  }
  await writing;
  await log.close();
});

test('VF1: an empty folder of payloads, or none, is no damage', async () => {
  const { files, log } = await openInMemory();
  await log.close();
  const report = await verifyEvidenceDir('log', signer.vkey, { files });
  assert.equal(report.kind, 'intact', JSON.stringify(report.findings));
  assert.deepEqual([report.checked.payloads, report.checked.keys], [0, 0]);
});
