// What the controller adds to the evidence: what counts as trouble, what anchors remember, how long
// entries are kept, and how the API reaches it. Over real ledgers in temporary folders.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { LedgerSpec } from '../../src/model/manifest.ts';
import { tenantId } from '../../src/model/ids.ts';
import { STANDARD_LEDGER } from '../../src/manifest/index.ts';
import { openAnchors } from '../../src/main/anchors.ts';
import { startChores, tellOutage } from '../../src/main/chores.ts';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import { evidencePort } from '../../src/main/evidence-port.ts';
import { troublesOf } from '../../src/main/evidence-troubles.ts';
import { openLedgerIn, originOf } from '../../src/main/ledger.ts';
import type { OpenedLedger } from '../../src/main/ledger.ts';
import { retainAsSaid } from '../../src/main/retention.ts';
import { openClock } from '../../src/world/real/clock.ts';
import { openRandom } from '../../src/world/real/random.ts';

const base = mkdtempSync(join(tmpdir(), 'kin-main-evidence-'));
after(() => rmSync(base, { recursive: true, force: true }));

const DAY_MS = 86_400_000;
const silent = { info() {}, warn() {}, error() {}, debug() {} };
const log = silent as unknown as Parameters<typeof openAnchors>[4]['log'];
const world = { clock: openClock(), random: openRandom(), log };
const actor = { name: 'operator', requestId: 'r' };
let folders = 0;

function folder(): string {
  folders += 1;
  return join(base, `case-${folders}`);
}

async function withLedger(
  work: (opened: OpenedLedger, dir: string) => Promise<void>,
): Promise<void> {
  const dir = folder();
  const opened = await openLedgerIn(dir, 'unit', undefined);
  try {
    await work(opened, dir);
  } finally {
    await opened.ledger.close();
  }
}

async function openFileAnchors(
  dir: string,
  path: string,
): Promise<Awaited<ReturnType<typeof openAnchors>>> {
  const ledger: LedgerSpec = { ...STANDARD_LEDGER, highWater: path, anchorEveryMs: 1_000 };
  return openAnchors(dir, originOf('unit'), ledger, [], world, () => undefined);
}

describe('troubles', () => {
  test('ET1: an intent past its deadline is one until it has its outcome', async () => {
    await withLedger(async ({ ledger, evidence }) => {
      const terms = { deadlineMs: 1_000, level: 'durable', tenant: undefined } as const;
      const { index } = await ledger.intent('replica:a-1', { run: 'r' }, terms);
      assert.deepEqual(troublesOf(evidence), []);
      const [found, ...more] = troublesOf(evidence, Date.now() + 5_000);
      assert.equal(found?.part, `intent ${index}`);
      assert.match(found?.detail ?? '', /replica:a-1: no outcome by /u);
      assert.equal(more.length, 0);
      await ledger.outcome(index, 'succeeded', {});
      assert.deepEqual(troublesOf(evidence, Date.now() + 5_000), []);
    });
  });

  test('ET2: a ledger that takes nothing any more is one', async () => {
    const { ledger, evidence } = await openLedgerIn(folder(), 'unit', undefined);
    await ledger.close();
    const state = { kind: 'failed', reason: 'the disk is gone' } as const;
    const core = { openIntents: () => [], stats: () => ({ state, lostQueuedEntries: 0 }) };
    const broken = { core, publisher: evidence.publisher } as unknown as typeof evidence;
    const [found] = troublesOf(broken);
    assert.equal(found?.part, 'ledger');
    assert.match(found?.detail ?? '', /^the disk is gone; no act begins/u);
  });
});

describe('anchors', () => {
  test('AN1 ML2: an anchor’s memory refuses a rolled back folder', async () => {
    const dir = folder();
    const file = join(base, 'heads.log');
    const first = await openLedgerIn(dir, 'unit', undefined);
    await first.evidence.record('system.note', { n: 1 });
    await first.log.publish();
    const head = first.evidence.publisher.published() ?? '';
    await first.ledger.close();
    const anchors = await openFileAnchors(dir, file);
    anchors.offer(head);
    while (anchors.anchoredSize() === 0) await new Promise((done) => setTimeout(done, 10));
    await anchors.close();
    assert.ok(readFileSync(file, 'utf8').includes('unit.kintsugi.invalid'));
    const again = await openFileAnchors(dir, file);
    assert.ok((again.highWater?.size ?? 0) >= 2);
    // Another folder with the same name, younger than what was anchored.
    const younger = folder();
    await assert.rejects(openLedgerIn(younger, 'unit', again.highWater), {
      code: /KIN_LEDGER_(?:ROLLED_BACK|FORKED)/u,
    });
    await again.close();
    const away = await openFileAnchors(dir, join(base, 'nobody', 'heads.log')).catch(
      () => undefined,
    );
    assert.ok(away === undefined || away.highWater === undefined);
    await away?.close();
  });
});

describe('retention', () => {
  const keep = (keepMs: number | undefined, days: number): LedgerSpec => ({
    ...STANDARD_LEDGER,
    retention: { keepMs, tenantsMs: new Map([[tenantId('north'), days * DAY_MS]]) },
  });

  test('RT1: entries are given up by age, for each tenant; RT2: none without a limit', async () => {
    await withLedger(async ({ evidence }) => {
      for (const tenant of ['north', 'south', 'north']) {
        await evidence.record('service.audit', {}, { scope: { tenant } });
      }
      const size = evidence.tenants.head('north')?.size ?? 0;
      await retainAsSaid(evidence, STANDARD_LEDGER, Date.now() + 400 * DAY_MS);
      await retainAsSaid(evidence, keep(undefined, 30), Date.now() + 29 * DAY_MS);
      assert.equal(evidence.tenants.minimum('north'), 0);
      await retainAsSaid(evidence, keep(undefined, 30), Date.now() + 31 * DAY_MS);
      assert.equal(evidence.tenants.minimum('north'), size);
      assert.equal(evidence.tenants.minimum('south'), 0);
    });
  });
});

describe('the API’s evidence', () => {
  test('EV1: a tenant’s calls reach its log alone; an unknown one has none', async () => {
    await withLedger(async ({ evidence }, dir) => {
      const anchors = await openFileAnchors(dir, join(dir, 'heads.log'));
      const port = evidencePort({ evidence, anchors });
      const person = { subject: 'user:ann', fields: { actor: 'user:ann' } };
      const scope = { tenant: 'north', private: [person] };
      await evidence.record('service.audit', { action: 'x' }, { scope });
      await evidence.record('service.audit', { action: 'y' }, { scope: { tenant: 'south' } });
      await port.publishNow(actor);
      const ask = { tenant: 'north', from: 0, limit: 50, reveal: true };
      const [, own, ...more] = await port.tenantEntries(ask, actor);
      assert.equal(more.length, 0);
      assert.equal(own?.private[0]?.kind, 'shown');
      const sealed = await port.tenantEntries({ ...ask, reveal: false }, actor);
      assert.equal(sealed[1]?.private[0]?.kind, 'sealed');
      const head = await port.tenantHead('north', actor);
      assert.equal(head.size, 2);
      const tile = await port.tiles({ kind: 'tenant', tenant: 'north' }, 'checkpoint', actor);
      assert.equal(tile.status, 200);
      assert.match(Buffer.from(tile.body).toString(), /\/tenants\/north\n2\n/u);
      for (const tenant of ['nobody', '../north', 'NORTH', 'north/', '']) {
        await assert.rejects(port.tenantHead(tenant, actor), { code: 'KIN_LEDGER_TENANT_UNKNOWN' });
      }
      const basis = { code: 'because', ref: 'c-1' };
      await assert.rejects(port.erase({ tenant: 'north', subject: 'user:ann', basis }, actor), {
        code: 'KIN_API_BAD_REQUEST',
      });
      await anchors.close();
    });
  });
});

describe('an outage of the ledger', () => {
  test('EO1: is marked outside of it, and said in it once it takes entries again', async () => {
    await withLedger(async ({ ledger, log: core, evidence }) => {
      const disk = memoryDisk();
      disk.lease = { owner: 'me', epoch: 1, untilMs: 2 ** 50 };
      const store = memoryStore(disk);
      const lease = { epoch: 1 };
      const failed = { kind: 'failed', reason: 'its folder is gone' } as const;
      const broken = { ...core, size: core.size, stats: () => ({ state: failed }) };
      const gateways = { onSignal: () => () => undefined };
      const parts = { world: { ...world, store, ledger, gateways }, lease, evidence };
      const away = { ...parts, log: { ...broken, checkpoint: () => core.checkpoint() } };
      await startChores(away as unknown as Parameters<typeof startChores>[0]).end();
      assert.ok(disk.settings.get('ledger.outage') !== undefined);
      const back = parts as unknown as Parameters<typeof tellOutage>[0];
      await tellOutage(back);
      await tellOutage(back);
      const entries = await core.entries({ from: 0, limit: 50 });
      const told = entries.filter(
        ({ decoded }) => decoded.type === 'plain' && decoded.entry.kind === 'evidence.outage',
      );
      assert.equal(told.length, 1);
    });
  });
});
