// Closing ends, with a typed error where something was lost, whatever became of the folder or disk.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { MemoryFiles, generateSigner, isLedgerError, openLedger } from '../src/index.ts';
import type { FilesOperation } from '../src/index.ts';
import { openEvidence } from '../src/evidence/open-evidence.ts';
import type { EvidenceOptions } from '../src/evidence/options.ts';
import { localKeyWrapper } from '../src/private/wrapper.ts';
import { FakeClock, open, refusal, settle } from './support.ts';

const { signer } = generateSigner('closing.example/ledger');

async function folder(context: TestContext): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'kintsugi-closing-'));
  context.after(() => rm(base, { recursive: true, force: true }));
  return base;
}

async function evidenceOptions(base: string): Promise<EvidenceOptions> {
  return {
    dir: join(base, 'log'),
    origin: signer.name,
    signer,
    mapKey: randomBytes(32),
    segmentBytes: 65_536,
    wrapper: await localKeyWrapper(join(base, 'root.key'), { create: true }),
  };
}

test('ledger L4: a ledger whose folder was removed closes with a typed error', async (context) => {
  const base = await folder(context);
  const dir = join(base, 'ledger');
  const ledger = await openLedger({ dir, origin: signer.name, signer, segmentBytes: 65_536 });
  await ledger.record('a', 1);
  await rm(dir, { recursive: true });
  await ledger.record('event', 1, { wait: 'queued' });
  const error = await refusal(ledger.close());
  assert.equal(error.code, 'KIN_LEDGER_IO');
  assert.ok(isLedgerError(error.cause));
  assert.equal(error.cause.code, 'KIN_LEDGER_SEGMENT_LOST');
  assert.equal(ledger.stats().state.kind, 'failed');
});

test('ledger L4: the evidence whose folder was removed ends, and says so', async (context) => {
  const base = await folder(context);
  const log = await openEvidence(await evidenceOptions(base));
  const ann = { subject: 'patient:p-1', fields: { name: 'Ann Example' } };
  await log.record('service.audit', 1, { scope: { tenant: 'north', private: [ann] } });
  await rm(join(base, 'log'), { recursive: true });
  assert.equal((await refusal(log.core.checkPlace())).code, 'KIN_LEDGER_SEGMENT_LOST');
  const refused = log.record('service.audit', 2, { scope: { tenant: 'north' } });
  assert.equal((await refusal(refused)).code, 'KIN_LEDGER_SEGMENT_LOST');
  await log.record('event', 1, { scope: { tenant: 'north' }, wait: 'queued' });
  const error = await refusal(log.close());
  assert.equal(error.code, 'KIN_LEDGER_IO');
  assert.match(error.message, /1 lost entries are written down nowhere/);
});

test('ledger L4: closing notices by itself that the folder is gone', async (context) => {
  const base = await folder(context);
  const log = await openEvidence(await evidenceOptions(base));
  await log.record('service.audit', 1, { scope: { tenant: 'north' } });
  await rm(join(base, 'log'), { recursive: true });
  assert.match((await refusal(log.close())).code, /^KIN_LEDGER_(?:SEGMENT_LOST|IO)$/);
});

for (const stuck of ['datasync', 'rename', 'read'] as const) {
  test(`ledger L4: a disk that hangs in ${stuck} does not keep closing for ever`, async () => {
    const clock = new FakeClock();
    let isStuck = false;
    const before = (operation: FilesOperation): Promise<void> | undefined =>
      isStuck && operation === stuck ? new Promise<void>(() => undefined) : undefined;
    const files = new MemoryFiles({ before });
    const ledger = await open(files, { clock });
    await ledger.record('a', 1);
    isStuck = true;
    const closing = refusal(ledger.close());
    await settle();
    await clock.advance(10_000);
    await clock.advance(10_000);
    assert.equal((await closing).code, 'KIN_LEDGER_DEADLINE');
    // The lock stays: a write may still arrive.
    assert.equal((await refusal(open(files, { clock }))).code, 'KIN_LEDGER_LOCKED');
  });
}
