// Is there always a good table on disk, and never more written than what changed?
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { TableOfParts } from '../../../src/gateway/routes.ts';
import { loadTable, openTableFile, tablePath } from '../../../src/gateway/table-file.ts';
import type { LoadAnswer } from '../../../src/gateway/table-file.ts';
import type { RoutingTable } from '../../../src/model/routing.ts';
import { EMPTY, PEPPER, service, tenant, tenants } from './tables.ts';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0).toReversed()) clean();
});

function folderOf(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kin-saved-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const fail = (error: unknown): void => assert.fail(String(error));
const packsIn = (folder: string): string[] =>
  readdirSync(folder).filter((name) => name.endsWith('.pack'));
const bytesIn = (folder: string): number =>
  packsIn(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

async function save(folder: string, ...tables: readonly RoutingTable[]): Promise<void> {
  const file = openTableFile(folder, 'w', fail);
  for (const table of tables) {
    file.save({ table, pepper: PEPPER });
    await file.settled();
  }
}

function versionOf(answer: LoadAnswer): number {
  assert.ok(answer.kind === 'loaded', answer.kind === 'unusable' ? answer.reason : answer.kind);
  return answer.saved.table.version;
}

const TABLE = { ...EMPTY, tenants: tenants(2_000), services: [service('web'), service('api')] };
const NEXT = { ...TABLE, version: 2, services: [service('web'), service('api', { slowMs: 1 })] };

describe('the saved table', () => {
  test('TF1: all files are for their owner only; it loads as it was saved', async () => {
    const folder = folderOf();
    await save(folder, TABLE);
    for (const name of readdirSync(folder)) {
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    }
    const loaded = loadTable(folder, 'w');
    assert.ok(loaded.kind === 'loaded' && loaded.saved.table instanceof TableOfParts);
    assert.equal(loaded.saved.pepper, PEPPER);
    assert.equal(loaded.fault, undefined);
    assert.equal(loaded.saved.table.routes.key('key0tenant-77')?.tenant.id, 'tenant-77');
    assert.equal(loaded.saved.table.routes.findEntry('/api/x')?.service.name, 'api');
    assert.equal(loadTable(folder, 'another').kind, 'none');
  });

  test('TF1: what did not change is not written again', async () => {
    const folder = folderOf();
    await save(folder, TABLE);
    const [first] = packsIn(folder);
    assert.ok(first);
    const before = bytesIn(folder);
    await save(folder, NEXT);
    assert.ok(packsIn(folder).includes(first));
    assert.equal(packsIn(folder).length, 2);
    assert.ok(bytesIn(folder) - before < 2_000);
    await save(folder, { ...NEXT, version: 3 });
    assert.equal(packsIn(folder).length, 2);
    assert.equal(versionOf(loadTable(folder, 'w')), 3);
  });

  test('TF2: with the newest one torn, the table before is used, and it is told', async () => {
    const folder = folderOf();
    await save(folder, TABLE, NEXT);
    const path = tablePath(folder, 'w');
    const text = readFileSync(path, 'utf8');
    const spoiled = [
      '',
      'x',
      text.slice(0, 100),
      text.slice(0, -1),
      text.replace('"v":2', '"v":3'),
    ];
    const body = '{"v":2,"version":9,"packs":[["../w.pack",5]],"families":{}}';
    spoiled.push(`${hash('sha256', body)}\n${body}`, `${hash('sha256', '[]')}\n[]`);
    for (const bad of spoiled) {
      writeFileSync(path, bad);
      const loaded = loadTable(folder, 'w');
      assert.equal(versionOf(loaded), 1, bad.slice(0, 20));
      assert.ok(loaded.kind === 'loaded' && loaded.fault !== undefined);
    }
    rmSync(path);
    assert.equal(versionOf(loadTable(folder, 'w')), 1);
    // What cannot be read is no table before: the good one stays beside the next.
    writeFileSync(path, 'torn');
    await save(folder, { ...NEXT, version: 5 });
    assert.equal(versionOf(loadTable(folder, 'w')), 5);
    writeFileSync(path, 'torn');
    assert.equal(versionOf(loadTable(folder, 'w')), 1);
  });

  test('TF2: a pack that is torn, changed or gone spoils the tables that need it', async () => {
    const folder = folderOf();
    await save(folder, TABLE, NEXT);
    const small = packsIn(folder).toSorted(
      (a, b) => statSync(join(folder, a)).size - statSync(join(folder, b)).size,
    )[0];
    assert.ok(small);
    const path = join(folder, small);
    const whole = readFileSync(path);
    truncateSync(path, whole.length - 3);
    assert.equal(versionOf(loadTable(folder, 'w')), 1);
    const changed = Buffer.from(whole);
    changed[whole.length - 20] = 0x41;
    writeFileSync(path, changed);
    assert.equal(versionOf(loadTable(folder, 'w')), 1);
    writeFileSync(path, whole);
    assert.equal(versionOf(loadTable(folder, 'w')), 2);
    renameSync(path, join(folder, 'elsewhere'));
    symlinkSync('elsewhere', path);
    assert.equal(versionOf(loadTable(folder, 'w')), 1);
    for (const name of packsIn(folder)) rmSync(join(folder, name));
    const none = loadTable(folder, 'w');
    assert.equal(none.kind, 'unusable');
  });

  test('TF3: what nobody needs any more is removed, what others have is not', async () => {
    const folder = folderOf();
    await save(folder, TABLE);
    const path = tablePath(folder, 'w');
    writeFileSync(join(folder, 'table-w.0123456789abcdef.pack'), 'of a writer that died');
    writeFileSync(`${path}.new-1`, 'of a writer that died');
    writeFileSync(join(folder, 'table-w2.0123456789abcdef.pack'), 'of another worker');
    await save(folder, NEXT);
    const names = readdirSync(folder);
    assert.ok(!names.includes('table-w.0123456789abcdef.pack'));
    assert.ok(!names.some((name) => name.includes('.new-')));
    assert.ok(names.includes('table-w2.0123456789abcdef.pack'));
  });

  test('TF3: many small changes do not pile up', async () => {
    const folder = folderOf();
    const file = openTableFile(folder, 'w', fail);
    for (let version = 1; version <= 80; version += 1) {
      const services = [service('web', { slowMs: version })];
      file.save({ table: { ...TABLE, version, services }, pepper: PEPPER });
      await file.settled();
      assert.ok(packsIn(folder).length <= 64);
    }
    assert.equal(versionOf(loadTable(folder, 'w')), 80);
    assert.ok(bytesIn(folder) < 1_500_000, String(bytesIn(folder)));
  });

  test('TF4: a table of the format before is read, and written in the new one', async () => {
    const folder = folderOf();
    const table = { ...EMPTY, version: 41, tenants: [tenant('acme')] };
    const body = JSON.stringify({ v: 1, table, pepper: PEPPER });
    writeFileSync(tablePath(folder, 'w'), `${hash('sha256', body)}\n${body}`);
    const loaded = loadTable(folder, 'w');
    assert.ok(loaded.kind === 'loaded');
    assert.equal(loaded.saved.table.tenants[0]?.id, 'acme');
    await save(folder, { ...loaded.saved.table, version: 42 });
    const next = loadTable(folder, 'w');
    assert.ok(next.kind === 'loaded' && next.saved.table instanceof TableOfParts);
    assert.equal(next.saved.table.version, 42);
  });

  test('a folder that cannot be written is told, and stops nothing', async () => {
    const folder = join(folderOf(), 'not-there');
    const faults: unknown[] = [];
    const file = openTableFile(folder, 'w', (error) => faults.push(error));
    file.save({ table: TABLE, pepper: PEPPER });
    await file.settled();
    assert.equal(faults.length, 1);
  });
});
