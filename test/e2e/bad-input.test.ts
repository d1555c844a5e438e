// What happens to a running system, and to its folder, when somebody gets something wrong? One
// clear error (code, cause, fix, exit status), and nothing is lost: after each of these the
// tenants' keys still serve and every entry of the ledger is byte for byte what it was.
//
// The tests are one story on one system and run in this order: first while it runs, then on its
// folder while it is stopped.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownProcesses } from '../../src/cli/up/own.ts';
import { createInbox } from '../../src/loop/observe/inbox.ts';
import { startWatch } from '../../src/loop/observe/watch.ts';
import type { WatchPorts } from '../../src/loop/observe/watch.ts';
import { tellSignal } from '../../src/loop/tell.ts';
import type { LoopState } from '../../src/loop/state.ts';
import type { Signal } from '../../src/model/signal.ts';
import { openSimClock } from '../../src/world/sim/clock.ts';
import { BAD_COMMANDS, BAD_MANIFESTS } from './bad/cases.ts';
import { flipMiddle, tearTail } from './bad/ledger-damage.ts';
import { assertRefused, kintsugi, REPOSITORY, run } from './bad/run.ts';
import type { Ran } from './bad/run.ts';
import { openShop } from './bad/shop.ts';
import type { Shop } from './bad/shop.ts';

const CONFIGURATION = 78;
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
const linux = process.platform === 'linux' ? false : 'the shop looks for leftovers in /proc';

let shop: Shop;
if (linux === false) {
  before(async () => {
    shop = await openShop();
    await shop.up();
  });
  after(() => shop.close());
}

const upWith = (manifest: string): Promise<Ran> => shop.cli('up', manifest, '--detach');

/** A refused start: one error, and no process is left behind. */
async function assertStartRefused(refusal: Parameters<typeof assertRefused>[1]): Promise<void> {
  const ran = await upWith(shop.manifest);
  assertRefused(ran, refusal);
  assert.deepEqual(ownProcesses(shop.state), []);
}

test('a manifest that cannot be used changes nothing of what runs', { skip: linux }, async (t) => {
  const pids = await shop.pids();
  for (const { title, text, code, says } of BAD_MANIFESTS) {
    await t.test(title, async () => {
      assertRefused(await upWith(shop.write(text)), { code, exit: CONFIGURATION, says });
    });
  }
  await t.test('a manifest that is not there', async () => {
    const says = [/nowhere\.yaml/u, /no such file/u];
    const refusal = { code: 'KIN_MANIFEST_NOT_FOUND', exit: CONFIGURATION, says };
    assertRefused(await upWith(join(shop.base, 'nowhere.yaml')), refusal);
  });
  assert.deepEqual(await shop.pids(), pids);
  await shop.assertWhole();
});

test('a wrong name, number or path in a command changes nothing', { skip: linux }, async (t) => {
  const pids = await shop.pids();
  for (const { args, ...refusal } of BAD_COMMANDS) {
    await t.test(args.join(' '), async () => assertRefused(await shop.cli(...args), refusal));
  }
  assert.deepEqual(await shop.pids(), pids);
  await shop.assertWhole();
});

test('a release whose link leads out of its folder is not taken in', { skip: linux }, async () => {
  const folder = join(shop.base, 'escape');
  mkdirSync(folder);
  const releases = join(shop.state, 'releases/web');
  const kept = readdirSync(releases);
  for (const goal of ['/etc/passwd', '../web']) {
    rmSync(join(folder, 'out'), { force: true });
    symlinkSync(goal, join(folder, 'out'));
    const ran = await shop.cli('deploy', 'web', '--release', folder);
    const says = [/the link out leads out of the folder/u];
    assertRefused(ran, { code: 'KIN_RELEASE_ESCAPES', exit: 1, says });
  }
  assert.deepEqual(readdirSync(releases), kept);
  await shop.assertWhole();
});

test('a second controller on the same state is refused by the store', { skip: linux }, async () => {
  const pids = await shop.pids();
  const main = join(REPOSITORY, 'src/main.ts');
  const ran = await run(process.execPath, [main, 'controller', '--state', shop.state]);
  const says = [/in use by process \d+/u, /^fix: .*kintsugi down/mu];
  assertRefused(ran, { code: 'KIN_STORE_LOCKED', exit: 69, says });
  assert.deepEqual(await shop.pids(), pids);
  await shop.assertWhole();
});

test('a port that is taken is named with who has it', { skip: linux }, async (t) => {
  const stranger = createServer().listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  const strange = String((stranger.address() as AddressInfo).port);
  const other = join(shop.base, 'other-state');
  const [, gateway = '', , control = ''] = shop.ports;
  const attempt = (gatewayPort: string, controlPort: string): Promise<Ran> =>
    kintsugi([
      ...['--state', other, '--gateway-port', gatewayPort, '--control-port', controlPort],
      ...['up', shop.manifest, '--detach'],
    ]);
  const refusal = (who: RegExp) => ({
    code: 'KIN_PORT_TAKEN',
    exit: CONFIGURATION,
    says: [who, /^fix: .*--(?:gateway|control)-port PORT/mu],
  });
  await t.test('two states, one gateway port', async () => {
    assertRefused(await attempt(gateway, '0'), refusal(/for the gateway is taken by pid \d+/u));
  });
  await t.test('two states, one control port', async () => {
    assertRefused(await attempt('0', control), refusal(/control API is taken by pid \d+/u));
  });
  await t.test('a stranger on the port', async () => {
    const says = new RegExp(`${strange} for the gateway is taken by pid ${process.pid} `, 'u');
    assertRefused(await attempt(strange, '0'), refusal(says));
  });
  stranger.close();
  assert.deepEqual(ownProcesses(other), []);
  await shop.assertWhole();
});

test('an operator token that others may read is not used', { skip: linux }, async () => {
  const token = join(shop.state, 'operator.token');
  chmodSync(token, 0o644);
  const says = [/operator\.token/u, /mode 644/u, /^fix: .*chmod 600/mu];
  const refusal = { code: 'KIN_STATE_FILE_INVALID', exit: CONFIGURATION, says };
  assertRefused(await shop.cli('status'), refusal);
  assertRefused(await upWith(shop.manifest), refusal);
  chmodSync(token, 0o600);
  await shop.pids();
  await shop.assertWhole();
});

test('a folder that this user may not write is refused', { skip: linux }, async (t) => {
  const closed = join(shop.base, 'closed');
  mkdirSync(closed, { mode: 0o555 });
  chmodSync(shop.base, 0o755);
  const probe = ['-e', `require('node:fs').accessSync(${JSON.stringify(REPOSITORY)}, 5)`];
  if (
    isRoot &&
    (await run(process.execPath, probe, { uid: NOBODY }).catch(() => undefined))?.code
  ) {
    t.skip('uid nobody cannot reach this repository');
    return;
  }
  const args = ['--state', join(closed, 'state'), ...shop.ports, 'up', shop.manifest, '--detach'];
  const ran = await kintsugi(args, isRoot ? { uid: NOBODY } : {});
  const says = [/closed\/state cannot be written: EACCES/u, /^fix: .*--state DIR/mu];
  assertRefused(ran, { code: 'KIN_STATE_NOT_WRITABLE', exit: CONFIGURATION, says });
  await shop.assertWhole();
});

test('a stopped state does not go on under another name', { skip: linux }, async () => {
  await shop.down();
  shop.copy('ledger', 'ledger.old');
  const text = readFileSync(shop.manifest, 'utf8').replace('name: shop', 'name: other');
  const ran = await upWith(shop.write(text, 'other.yaml'));
  const says = [/belongs to another manifest/u, /shop\.kintsugi/u];
  assertRefused(ran, { code: 'KIN_MANIFEST_OTHER', exit: CONFIGURATION, says });
  assert.deepEqual(ownProcesses(shop.state), []);
});

test('a service that refuses to run is named with its last words', { skip: linux }, async () => {
  // As the clinic's database does without its binary, and as any service may for its own reasons.
  const refuses = 'command: [node, -e, "console.error(\'no binary here\'); process.exit(78)"]';
  const good = readFileSync(shop.manifest, 'utf8');
  const manifest = shop.write(
    good.replace('source: stock\n    command: [node, server.mjs]', `source: stock\n    ${refuses}`),
    'refusing.yaml',
  );
  const ran = await upWith(manifest);
  const says = [/no replica of stock/u, /no binary here/u];
  assertRefused(ran, { code: 'KIN_START_FAILED', exit: 1, says });
  assert.deepEqual(ownProcesses(shop.state), []);
});

test(
  'a torn last write of the ledger is dropped, and that is recorded',
  { skip: linux },
  async () => {
    const at = tearTail(shop.segment);
    await shop.up();
    const ran = await shop.cli('--json', 'ledger', 'entries', '--from', '0', '-n', '200');
    assert.equal(ran.code, 0, ran.err);
    assert.match(ran.out, /ledger\.recovered/u);
    assert.match(ran.out, new RegExp(`tail-dropped.{1,200}${at}`, 'u'));
    await shop.down();
    const verified = await shop.cli('ledger', 'verify');
    assert.match(verified.out, /^intact: /u, verified.err);
    shop.copy('ledger', 'ledger.good');
    shop.copy('store', 'store.good');
  },
);

test('a damaged entry in the middle is refused with its place', { skip: linux }, async () => {
  const { offset, firstIndex } = flipMiddle(shop.segment);
  const damaged = readFileSync(shop.segment);
  const place = new RegExp(`\\.wal is damaged at byte ${offset} \\(entry ${firstIndex}\\)`, 'u');
  await assertStartRefused({ code: 'KIN_LEDGER_CORRUPT', exit: 1, says: [place] });
  assert.ok(readFileSync(shop.segment).equals(damaged), 'the evidence of the damage is kept');
  shop.restore(join(shop.base, 'ledger.good'), 'ledger');
});

test('an older copy of the ledger is refused by the high-water mark', { skip: linux }, async () => {
  shop.restore(join(shop.base, 'ledger.old'), 'ledger');
  const says = [/has \d+ entries, but \d+ were acknowledged/u];
  await assertStartRefused({ code: 'KIN_LEDGER_ROLLED_BACK', exit: 1, says });
  shop.restore(join(shop.base, 'ledger.good'), 'ledger');
});

test('a store of garbage is refused and left as it is', { skip: linux }, async () => {
  const control = join(shop.state, 'store/data/global/pg_control');
  const garbage = Buffer.alloc(readFileSync(control).length, 'garbage ');
  writeFileSync(control, garbage);
  const ran = await upWith(shop.manifest);
  const says = [/the store in .+ cannot be opened/u, /^fix: Nothing was deleted\./mu];
  assertRefused(ran, { code: 'KIN_STORE_CORRUPT', exit: ran.code === 69 ? 69 : 78, says });
  assert.deepEqual(ownProcesses(shop.state), []);
  assert.ok(readFileSync(control).equals(garbage));
});

test('moved aside, as that error advises: new keys, the same ledger', { skip: linux }, async () => {
  renameSync(join(shop.state, 'store'), join(shop.base, 'store.aside'));
  const ran = await shop.cli('--json', 'up', shop.manifest, '--detach');
  assert.equal(ran.code, 0, ran.err + ran.out);
  const { keys } = JSON.parse(ran.out) as { readonly keys: readonly { tenant: string }[] };
  assert.deepEqual(keys.map(({ tenant }) => tenant).toSorted(), ['acme', 'umbra']);
  shop.assertLedger();
  await shop.down();
  shop.restore(join(shop.base, 'store.good'), 'store');
});

test('after all of that a good start finds everything again', { skip: linux }, async () => {
  await shop.up();
  await shop.down();
  const verified = await shop.cli('ledger', 'verify');
  assert.equal(verified.code, 0, verified.err + verified.out);
});

/**
 * Nothing steps the clock of one process from outside, so here the parts that notice it are given
 * a clock that can be stepped.
 */
test('a clock that jumps is told once, wakes the loop, and moves no judgement', async () => {
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const clock = openSimClock({ startMs: 1_000_000, wallMs: 1_700_000_000_000, settle });
  const inbox = createInbox(clock);
  const none = (): (() => void) => () => undefined;
  const ledger = { troubles: () => [] };
  const world = { clock, ledger, runtime: { onEvent: none }, gateways: { onSignal: none } };
  const ports = {
    world,
    manifest: () => ({ dependencies: new Map(), compliance: { checks: [] } }),
    fleet: () => ({ replicas: new Map() }),
    put: (signal: Signal): void => inbox.put(signal),
  } as unknown as WatchPorts;
  const watch = startWatch(ports);
  for (const byMs of [3_600_000, -7_200_000]) {
    clock.stepWall(byMs);
    for (let second = 0; second < 5; second += 1) {
      await clock.runUntil(clock.monotonicMs() + 1_000);
      watch.look();
    }
    // Does not wait: somebody has to look at once.
    await inbox.wait(60_000, new AbortController().signal);
    const told = inbox.take().filter(({ kind }) => kind !== 'evidence');
    assert.equal(told.length, 1, 'a jump is one fact, not one a look');
    const [signal] = told;
    assert.ok(signal?.kind === 'clock-jumped');
    assert.equal(signal.byMs, byMs);
    const facts: { readonly entry: string | undefined; readonly text: string }[] = [];
    const recorder = { tell: (fact: (typeof facts)[number]) => void facts.push(fact) };
    tellSignal({ recorder } as unknown as LoopState, signal);
    assert.deepEqual(
      facts.map(({ entry }) => entry),
      ['clock.jumped'],
    );
    assert.match(facts[0]?.text ?? '', new RegExp(`jumped by ${byMs / 1000}\\.0 s`, 'u'));
  }
  assert.equal(clock.monotonicMs(), 1_010_000, 'the clock of judgements saw ten seconds');
  watch.close();
});
