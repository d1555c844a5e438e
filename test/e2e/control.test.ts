// What does a running controller answer to the people who run it? A small shop brought up by the
// real command, then changed, drilled and ended: `apply.ts`, `port.ts`, `drills.ts`,
// `controller.ts` of src/main, with nothing stood in for.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { controlClient } from '../../src/api/client.ts';
import type { ControlClient } from '../../src/api/client.ts';
import type { LedgerEntry } from '../../src/api/contract.ts';
import { readFailedFile, readRunFile } from '../../src/api/state-folder.ts';
import { readOperatorToken } from '../../src/api/token.ts';
import { openShop } from './bad/shop.ts';
import type { Shop } from './bad/shop.ts';
import { REPOSITORY, run } from './bad/run.ts';
import { until } from './bad/wait.ts';

const linux = process.platform === 'linux' ? false : 'the shop looks for leftovers in /proc';
let shop: Shop;
let client: ControlClient;

function connect(): ControlClient {
  const url = readRunFile(shop.state)?.controlUrl;
  const token = readOperatorToken(shop.state);
  assert.ok(url !== undefined && token !== undefined);
  return controlClient({ url, token, actor: 'ada' });
}

if (linux === false) {
  before(async () => {
    shop = await openShop();
    await shop.up();
    client = connect();
  });
  after(() => shop.close());
}

async function entriesFrom(from: number): Promise<readonly LedgerEntry[]> {
  return await client.ledgerEntries(from, 500);
}

/** `detail` of an entry, as text: what is looked for stands in it or does not. */
const said = (entry: LedgerEntry): string => JSON.stringify(entry.body);

async function runEnded(id: string): Promise<string> {
  let state = '';
  await until('the run ended', async () => {
    ({ state } = (await client.run(id)).run);
    return !['running', 'waiting', 'undoing'].includes(state);
  });
  return state;
}

test(
  'CP1 a change is a run with an intent before and an outcome after it; CP2 who asked',
  {
    skip: linux,
  },
  async () => {
    const { size } = await client.ledgerHead();
    const answer = await client.scale('web', 2);
    assert.ok(answer.run !== undefined);
    assert.equal(await runEnded(answer.run), 'done');
    await until('two replicas', async () => {
      const { services } = await client.status();
      return services.find((s) => s.name === 'web')?.ready === 2;
    });
    const id = answer.run;
    let kinds: string[] = [];
    await until('its outcome is written', async () => {
      const mine = (await entriesFrom(size)).filter((e) => said(e).includes(id));
      kinds = mine.map((e) => e.kind);
      assert.ok(mine.length === 0 || said(mine[0] as LedgerEntry).includes('ada'));
      return kinds.length >= 2;
    });
    assert.equal(kinds.length, 2, 'one intent and one outcome');
    await assert.rejects(client.scale('web', 9), { code: 'KIN_SCALE_RANGE' });
  },
);

test(
  'AM1 a manifest with an error changes nothing; AM2 a dry run changes nothing that runs',
  {
    skip: linux,
  },
  async () => {
    const path = shop.manifest;
    const good = readFileSync(path, 'utf8');
    const pids = await shop.pids();
    const broken = { path, text: good.replace('gateway:', 'gatway:') };
    await assert.rejects(client.applyManifest(broken, false), { code: 'KIN_MANIFEST_INVALID' });
    const more = { path, text: good.replace('umbra: {}', 'umbra: {}, third: {}') };
    const dry = await client.applyManifest(more, true);
    assert.deepEqual(
      dry.changes.map((c) => [c.kind, c.what, c.name]),
      [['add', 'tenant', 'third']],
    );
    assert.ok(!(await client.tenants()).some((t) => t.id === 'third'));
    await client.applyManifest(more, false);
    assert.ok((await client.tenants()).some((t) => t.id === 'third'));
    assert.deepEqual(await shop.pids(), pids);
    await client.applyManifest({ path, text: good }, false);
  },
);

test(
  'AM3 a source that changed is a change: said by the dry run, rolled out by the other',
  {
    skip: linux,
  },
  async () => {
    const path = shop.manifest;
    const text = readFileSync(path, 'utf8');
    assert.deepEqual((await client.applyManifest({ path, text }, true)).changes, []);
    const server = join(shop.base, 'stock/server.mjs');
    writeFileSync(server, `${readFileSync(server, 'utf8')}// changed\n`);
    const dry = await client.applyManifest({ path, text }, true);
    assert.deepEqual(
      dry.changes.map((c) => [c.what, c.name]),
      [['release', 'stock']],
    );
    const before = (await client.releases('stock')).releases.find((r) => r.current)?.id;
    await client.applyManifest({ path, text }, false);
    await until('rolled out', async () => {
      const { releases } = await client.releases('stock');
      const now = releases.find((r) => r.current);
      const { services } = await client.status();
      const { length } = services.find((s) => s.name === 'stock')?.replicas ?? [];
      const proved = now?.verdict.kind === 'proved' && now.id !== before;
      return proved && length === 1;
    });
    await shop.assertWhole();
  },
);

test(
  'DR2 a drill hits what it names and nothing else, and is written before it happens',
  {
    skip: linux,
  },
  async () => {
    const before = await client.status();
    const [victim] = before.services.find((s) => s.name === 'web')?.replicas ?? [];
    assert.ok(victim !== undefined);
    const size = before.ledger.size;
    const drilled = await client.drill('kill', victim.id);
    assert.match(drilled.did, /SIGKILL/u);
    const mine = (await entriesFrom(size)).filter((e) => said(e).includes('drills kill'));
    assert.equal(mine.length, 1);
    await until('healed', async () => {
      const now = await client.status();
      const web = now.services.find((s) => s.name === 'web');
      return web?.ready === 2 && !web.replicas.some((r) => r.id === victim.id);
    });
    const stock = (s: typeof before): unknown =>
      s.services.find((x) => x.name === 'stock')?.replicas.map((r) => r.pid);
    assert.deepEqual(stock(await client.status()), stock(before));
    await assert.rejects(client.drill('nonsense', 'web'), { code: 'KIN_DRILL_UNKNOWN' });
    await assert.rejects(client.drill('kill', 'web-999'), { code: 'KIN_TARGET_UNKNOWN' });
  },
);

test(
  'CT2 SIGTERM ends the controller alone: pids stay, the next one adopts them',
  {
    skip: linux,
  },
  async () => {
    const pids = await shop.pids();
    const before = readRunFile(shop.state);
    assert.ok(before !== undefined);
    process.kill(before.pid, 'SIGTERM');
    await until('another controller', async () => {
      const now = readRunFile(shop.state);
      return now !== undefined && now.pid !== before.pid;
    });
    client = connect();
    await until('it acts', async () => (await client.status()).instance.mode === 'acting');
    assert.deepEqual(await shop.pids(), pids);
    await shop.assertWhole();
  },
);

test(
  'CT1 what cannot be opened is one clear error in failed.json and on stderr',
  {
    skip: linux,
  },
  async () => {
    const main = join(REPOSITORY, 'src/main.ts');
    const ran = await run(process.execPath, [main, 'controller', '--state', shop.state]);
    assert.equal(ran.code, 69);
    assert.match(ran.err, /^error KIN_STORE_LOCKED: /mu);
    assert.equal(readFailedFile(shop.state)?.code, 'KIN_STORE_LOCKED');
  },
);

test('DR1 production has no drills', { skip: linux }, async () => {
  await shop.down();
  const ran = await run(
    process.execPath,
    [
      join(REPOSITORY, 'bin/kintsugi.mjs'),
      '--state',
      shop.state,
      ...shop.ports,
      'up',
      shop.manifest,
      '--detach',
    ],
    { cwd: shop.base, env: { KINTSUGI_PRODUCTION: '1' } },
  );
  assert.equal(ran.code, 0, ran.err);
  client = connect();
  assert.deepEqual(await client.drills(), []);
  await assert.rejects(client.drill('kill', 'web-1'), { code: 'KIN_DRILL_REFUSED' });
});
