import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { utf8 } from '../../src/bytes.ts';
import {
  epochEntry,
  logStartEntry,
  mapKeyEntry,
  mayBeEpoch,
  mayBeLogStart,
  mayBeMapKey,
  mayBeMinimum,
  minimumEntry,
  readEpoch,
  readLogStart,
  readMapKey,
  readMinimum,
} from '../../src/tenants/tenant-entries.ts';
import { saltOf, tenantOf } from '../../src/tenants/tenant-of.ts';
import { AT, saltAt } from './model.ts';
import { vectors } from './vectors.ts';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

test('the published vectors are those that this code makes', async () => {
  const file = readFileSync(new URL('vectors.json', import.meta.url), 'utf8');
  assert.ok(file.length > 5000);
  const published: unknown = JSON.parse(file);
  assert.deepEqual(published, JSON.parse(JSON.stringify(await vectors())));
});

test('TE1: what the ledger writes about logs reads back, and in one spelling only', () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const id = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,63}$/);
  fc.assert(
    fc.property(
      hash,
      id,
      fc.maxSafeNat(),
      fc.maxSafeNat(),
      fc.nat(500),
      (map, tenant, a, b, at) => {
        const owner = { at: AT, salt: saltAt(a), tenant };
        const written = {
          log: logStartEntry({ ...owner, position: map }),
          minimum: minimumEntry({ ...owner, index: a }),
          epoch: epochEntry(AT, { logs: a, map, size: b }),
          key: mapKeyEntry(AT, map),
        };
        assert.deepEqual(readLogStart(written.log), { ...owner, position: map });
        assert.deepEqual(readMinimum(written.minimum), { ...owner, index: a });
        assert.deepEqual(readEpoch(written.epoch), { logs: a, map, size: b });
        assert.deepEqual(readMapKey(written.key), map);
        assert.ok(mayBeLogStart(written.log, tenant) && mayBeMinimum(written.minimum, tenant));
        assert.ok(mayBeEpoch(written.epoch) && mayBeMapKey(written.key));
        assert.equal(tenantOf(written.log), tenant);
        assert.equal(saltOf(written.minimum), owner.salt);
        assert.equal(tenantOf(written.epoch), undefined);
        for (const entry of Object.values(written)) {
          assert.deepEqual(
            JSON.stringify(JSON.parse(Buffer.from(entry).toString())),
            Buffer.from(entry).toString(),
          );
          const changed = Uint8Array.from(entry);
          const place = at % changed.length;
          changed[place] = (changed[place] ?? 0) ^ 0x01;
          const log = readLogStart(changed);
          if (log !== undefined) assert.deepEqual(logStartEntry(log), changed);
          const minimum = readMinimum(changed);
          if (minimum !== undefined) assert.deepEqual(minimumEntry(minimum), changed);
        }
      },
    ),
    { numRuns: 300 },
  );
  for (const wrong of ['{}', '', 'x'.repeat(5000), `{"at":"${AT}","kind":"ledger.epoch","v":1}`]) {
    const bytes = utf8(wrong);
    assert.equal(readEpoch(bytes) ?? readLogStart(bytes) ?? readMapKey(bytes), undefined);
  }
});

test('MK1: the verifier reaches node:* through crypto.ts only: it runs in a browser', () => {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const source = readFileSync(path, 'utf8');
    const imports = [...source.matchAll(/^(?:import|export)[^;]*? from '([^']+)';/gms)];
    for (const [statement, from = ''] of imports) {
      if (statement.startsWith('import type') || statement.startsWith('export type')) continue;
      if (from.startsWith('.')) visit(fileURLToPath(new URL(from, `file://${path}`)));
      else assert.match(path, /\/crypto\.ts$/, `${path} imports ${from}`);
    }
  };
  assert.throws(() => visit(`${SRC}tenants/compact-tree.ts`), /imports node:crypto/);
  visit(`${SRC}tenants/tenant-verify.ts`);
  visit(`${SRC}tenants/map-key.ts`);
  assert.ok(seen.size >= 12, [...seen].join('\n'));
});
