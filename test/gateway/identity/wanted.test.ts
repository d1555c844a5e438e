// What the controller does when a gateway meets an unknown key: it looks again, and not too often.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { refreshWhenWanted } from '../../../src/main/jwks.ts';
import type { JwtRule } from '../../../src/model/routing.ts';
import type { GatewaySignal } from '../../../src/world/gateways.ts';
import { pairOf } from './rig.ts';

type Controller = Parameters<typeof refreshWhenWanted>[0];

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 5_000;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `never happened: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function openController(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'kin-wanted-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'jwks.json');
  const write = (...keys: readonly unknown[]): void =>
    writeFileSync(path, JSON.stringify({ keys }));
  const issuer = { issuer: 'https://id.test', audience: 'api', tenantClaim: 'org', jwks: path };
  const seen = { tables: 0, nowMs: 1_000, stopped: 0 };
  const listeners: ((signal: GatewaySignal) => void)[] = [];
  const silent = (): void => undefined;
  const settings: { manifest: unknown; jwt: readonly JwtRule[] } = {
    manifest: { baseDir: folder, gateway: { jwt: [issuer] } },
    jwt: [],
  };
  const controller = {
    settings,
    lease: { epoch: 1 },
    loop: { state: { book: { publish: async () => void (seen.tables += 1) } } },
    world: {
      clock: { monotonicMs: () => seen.nowMs, nowMs: () => 0 },
      log: { debug: silent, info: silent, warn: silent, error: silent },
      store: { putSetting: async () => undefined },
      gateways: {
        onSignal(listener: (signal: GatewaySignal) => void) {
          listeners.push(listener);
          return () => void (seen.stopped += 1);
        },
      },
    },
  } as unknown as Controller;
  const tell = (event: unknown): void => {
    for (const listener of listeners) listener({ kind: 'event', event } as GatewaySignal);
  };
  const want = (): void => tell({ kind: 'keys-wanted', issuer: 'https://id.test' });
  return { controller, settings, seen, write, want, tell };
}

test('JQ1 JQ2: a wish for keys brings a new table at once, the next not within 10 s', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { controller, settings, seen, write, want, tell } = openController(t);
  const first = pairOf('EdDSA', 'one').jwk;
  const second = pairOf('EdDSA', 'two').jwk;
  write(first);
  const stop = refreshWhenWanted(controller);
  tell({ kind: 'returned', replica: 'x' });
  want();
  await until('the first look', () => seen.tables === 1);
  write(first, second);
  for (let i = 0; i < 100; i += 1) want();
  assert.equal(settings.jwt[0]?.jwks.keys.length, 1);
  // The wish that came too soon is kept: its key is newer than the last look.
  seen.nowMs += 10_000;
  t.mock.timers.tick(10_000);
  await until('the second look', () => seen.tables === 2);
  assert.equal(settings.jwt[0]?.jwks.keys.length, 2);
  seen.nowMs += 20_000;
  want();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(seen.tables, 2, 'the same keys are no new table');
  stop();
  assert.equal(seen.stopped, 1);
});
