// The whole of the evidence together, on real files: tenants' logs, private fields, epochs,
// publication with witnesses, erasure, retention, and the same again after a restart.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { inspect } from 'node:util';
import type { EvidenceLog } from '../../src/evidence/evidence-log.ts';
import { openEvidence } from '../../src/evidence/open-evidence.ts';
import type { EvidenceOptions } from '../../src/evidence/options.ts';
import { verifyLedgerDir } from '../../src/fsck.ts';
import { nodeFiles } from '../../src/node-files.ts';
import { parsePolicy } from '../../src/policy.ts';
import { localKeyWrapper } from '../../src/private/wrapper.ts';
import { generateSigner, signerFromSeed } from '../../src/signer.ts';
import { verifyTenantComplete, verifyTenantProof } from '../../src/tenants/tenant-verify.ts';
import { tileHandler } from '../../src/tiles.ts';
import { verifyCheckpoint, verifyCheckpointUnderPolicy, verifyProof } from '../../src/verify.ts';
import { startWitness } from '../../src/witness/start.ts';

const base = mkdtempSync(join(tmpdir(), 'kin-evidence-'));
after(() => rmSync(base, { recursive: true, force: true }));

const ORIGIN = 'evidence.test/ledger';
const seed = randomBytes(32);
const { signer } = signerFromSeed(ORIGIN, seed);
const mapKey = randomBytes(32);
let folders = 0;

async function open(dir: string, change: Partial<EvidenceOptions> = {}): Promise<EvidenceLog> {
  return openEvidence({
    dir,
    origin: ORIGIN,
    signer,
    mapKey,
    segmentBytes: 64 * 1024,
    wrapper: await localKeyWrapper(join(dir, '..', 'root.key'), { create: true }),
    tenantSigner: (origin) => signerFromSeed(origin, seed).signer,
    ...change,
  });
}

function folder(): string {
  folders += 1;
  return join(mkdtempSync(join(base, 'case-')), 'log');
}

const ann = { subject: 'patient:p-17', fields: { name: 'Ann Example', born: '1970-01-02' } };

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const byText = (a: string, b: string): number => (a < b ? -1 : 1);

describe('the evidence', () => {
  test('EL1 EL2: a tenant proves an entry and its whole log, and sees nobody else', async () => {
    const log = await open(folder());
    for (let i = 0; i < 40; i += 1) {
      const tenant = i % 4 === 0 ? 'north' : 'south';
      await log.record('service.audit', { i }, { scope: { tenant, private: [ann] } });
    }
    await log.core.record('system.note', { own: true });
    await log.core.publish();
    const trust = { vkey: log.core.vkey };
    const [, , third] = await log.tenantEntries('north', 0, 10);
    assert.ok(third !== undefined);
    const made = await log.tenantProof({ tenant: 'north', about: { kind: 'entry', index: 2 } });
    assert.ok(made.kind === 'proof', JSON.stringify(made));
    const verdict = verifyTenantProof(made.text, third.bytes, { trust, tenant: 'north' });
    assert.equal(verdict.kind, 'valid', inspect(verdict));
    const other = verifyTenantProof(made.text, third.bytes, { trust, tenant: 'south' });
    assert.equal(other.kind, 'invalid');
    const head = await log.tenantProof({ tenant: 'north', about: { kind: 'head' } });
    assert.ok(head.kind === 'proof');
    const all = (await log.tenantEntries('north', 0, 1000)).map(({ bytes }) => bytes);
    assert.equal(all.length, 11);
    const whole = await verifyTenantComplete(all, head.text, { trust, tenant: 'north' });
    assert.equal(whole.kind, 'valid', inspect(whole));
    const fewer = await verifyTenantComplete(all.slice(0, -1), head.text, {
      trust,
      tenant: 'north',
    });
    assert.equal(fewer.kind, 'invalid');
    assert.ok(!made.text.includes('south'));
    await log.close();
  });

  test('TS1: both the whole log and a tenant’s are plain tlog-tiles logs', async () => {
    const log = await open(folder());
    for (let i = 0; i < 300; i += 1) {
      await log.record('service.audit', { i }, { scope: { tenant: 'north' }, wait: 'queued' });
    }
    await log.core.publish();
    const system = tileHandler(log.systemTiles());
    const note = Buffer.from((await system('GET', '/checkpoint')).body).toString();
    assert.equal(verifyCheckpoint(note, log.core.vkey).kind, 'valid');
    assert.equal((await system('GET', '/tile/0/000')).status, 200);
    assert.equal((await system('GET', '/tile/entries/000')).status, 200);
    const tenant = tileHandler(log.tenantTiles('north'), { cache: 'private' });
    const own = Buffer.from((await tenant('GET', '/checkpoint')).body).toString();
    const { vkey } = signerFromSeed(`${ORIGIN}/tenants/north`, seed).signer;
    const verdict = verifyCheckpoint(own, vkey);
    assert.ok(verdict.kind === 'valid');
    assert.equal(verdict.head.size, 301n);
    assert.equal((await tenant('GET', '/tile/0/000')).status, 200);
    assert.equal((await tenant('GET', '/tile/entries/001.p/45')).status, 200);
    assert.equal((await tenant('GET', '/tile/0/002')).status, 404);
    await log.close();
  });

  test('an erased person is gone from every file, and every proof is as it was', async () => {
    const dir = folder();
    let log = await open(dir);
    const done = await log.record(
      'service.audit',
      { a: 1 },
      { scope: { tenant: 'north', private: [ann] } },
    );
    assert.ok(done.kind === 'durable');
    await log.core.publish();
    const { bytes } = await log.core.read(done.index);
    const fields = await log.privacy.reveal(bytes);
    assert.deepEqual(
      fields
        .map((f) =>
          f.kind === 'shown' ? `${f.name} ${typeof f.value === 'string' ? f.value : ''}` : f.kind,
        )
        .sort(byText),
      ['born 1970-01-02', 'name Ann Example'],
    );
    const before = await log.core.prove(done.index);
    const basis = { code: 'gdpr-17-1-b', ref: 'case-7' } as const;
    const report = await log.privacy.erase({ tenant: 'north', subject: ann.subject, basis });
    assert.ok(report.index > done.index);
    const gone = await log.privacy.reveal(bytes);
    assert.ok(gone.length === 2 && gone.every((f) => f.kind === 'redacted' && f.by === 'erasure'));
    assert.equal(verifyProof(before, bytes, log.core.vkey).kind, 'valid');
    assert.equal((await log.core.read(done.index)).bytes.length, bytes.length);
    await log.close();
    for (const file of filesBelow(dir)) {
      assert.ok(!readFileSync(file).includes('Ann Example'), file);
      assert.ok(!readFileSync(file).includes('p-17'), file);
    }
    log = await open(dir);
    const again = await log.privacy.reveal(bytes);
    assert.ok(again.every((f) => f.kind === 'redacted'));
    assert.deepEqual(log.core.openIntents(), []);
    await log.close();
    assert.equal((await verifyLedgerDir(dir, signer.vkey)).kind, 'intact');
  });

  test('EL3: an access event outlives its private fields and says so', async () => {
    const log = await open(folder());
    await log.record('service.audit', { n: 1 }, { scope: { tenant: 'north', private: [ann] } });
    const scope = {
      tenant: 'north',
      private: [{ subject: 'patient:p-18', fields: { bad: Number.NaN } }],
    };
    await assert.rejects(log.record('service.audit', { n: 2 }, { scope }));
    await log.record('service.audit', { n: 3 }, { scope, wait: 'queued' });
    await log.core.publish();
    const entries = await log.tenantEntries('north', 0, 10);
    const texts = entries.map(({ bytes }) => Buffer.from(bytes).toString());
    assert.equal(texts.length, 3);
    assert.ok(texts[2]?.includes('"detail":{"n":3},"privateFieldsLost":1}'), texts[2] ?? '');
    await log.close();
  });

  test('an intent that must be witnessed gets its receipt only then', async () => {
    const dir = folder();
    const witness = await startWitness({
      dir: join(dir, '..', 'witness'),
      name: 'witness.test/w1',
      logs: [{ origin: ORIGIN, vkeys: [signer.vkey] }],
      port: 0,
    });
    const [vkey = ''] = witness.vkeys;
    const reading = parsePolicy(
      `log ${signer.vkey}\nwitness w1 ${vkey} ${witness.address.url}\nquorum w1\n`,
    );
    assert.ok(reading.kind === 'valid', JSON.stringify(reading));
    const { policy } = reading;
    const cosigners = [generateSigner(ORIGIN, 'ml-dsa-44').signer];
    const log = await open(dir, { policy, cosigners });
    const intent = await log.intent({
      kind: 'heal.quarantine',
      subject: 'north',
      detail: {},
      wait: 'witnessed',
    });
    const text = log.publisher.witnessed() ?? '';
    const verdict = verifyCheckpointUnderPolicy(text, policy);
    assert.equal(verdict.kind, 'valid', inspect(verdict));
    assert.ok(text.includes('witness.test/w1'));
    await intent.outcome({ result: 'succeeded', detail: {} });
    await witness.close();
    await assert.rejects(
      log.intent({
        kind: 'heal.x',
        subject: 's',
        detail: {},
        wait: 'witnessed',
        levelDeadlineMs: 300,
      }),
      { code: 'KIN_LEDGER_DEADLINE' },
    );
    // What missed its level is closed: nobody acts on it.
    while (log.core.openIntents().length > 0) await new Promise((done) => setTimeout(done, 5));
    await log.close();
  });

  test('OE1: another map key, or a folder rolled back behind a witness, is refused', async () => {
    const dir = folder();
    const log = await open(dir);
    await log.record('service.audit', {}, { scope: { tenant: 'north' } });
    await log.close();
    await assert.rejects(open(dir, { mapKey: randomBytes(32) }), { code: 'KIN_LEDGER_WRONG_KEY' });
    await (await open(dir)).close();
  });

  test('retention gives up a tenant’s old entries; what is left still proves', async () => {
    const dir = folder();
    let log = await open(dir);
    for (let i = 0; i < 1_200; i += 1) {
      const scope = { tenant: i % 2 === 0 ? 'north' : 'south' };
      await log.record('service.audit', { i, pad: 'x'.repeat(150) }, { scope, wait: 'queued' });
    }
    await log.core.publish();
    const basis = { code: 'retention-schedule', ref: 'one-year' } as const;
    const kept = await log.retain('north', 700, basis);
    assert.ok(kept > 300, `${kept}`);
    assert.throws(() => log.tenants.positions('north', 5, 1), { code: 'KIN_LEDGER_PRUNED' });
    assert.equal((await log.tenantEntries('south', 5, 1)).length, 1);
    await log.retain('south', 700, basis);
    await log.core.publish();
    const pruned = await log.core.prune({ first: log.tenants.prunableBelow(), basis: 'one year' });
    assert.equal(pruned.kind, 'pruned', JSON.stringify(pruned));
    await log.record('service.audit', { late: true }, { scope: { tenant: 'north' } });
    await log.close();
    log = await open(dir);
    assert.ok(log.core.stats().first > 0);
    await log.record('service.audit', { later: true }, { scope: { tenant: 'north' } });
    await log.core.publish();
    const size = log.tenants.head('north')?.size ?? 0;
    const made = await log.tenantProof({
      tenant: 'north',
      about: { kind: 'entry', index: size - 1 },
    });
    assert.ok(made.kind === 'proof', JSON.stringify(made));
    const [last] = await log.tenantEntries('north', size - 1, 1);
    const trust = { vkey: log.core.vkey };
    const verdict = verifyTenantProof(made.text, last?.bytes ?? new Uint8Array(0), {
      trust,
      tenant: 'north',
    });
    assert.equal(verdict.kind, 'valid', inspect(verdict));
    await log.close();
    const report = await verifyLedgerDir(dir, signer.vkey, { files: nodeFiles() });
    assert.equal(report.kind, 'intact', JSON.stringify(report));
  });
});
