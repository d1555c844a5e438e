import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../src/bytes.ts';
import { isLedgerError } from '../../src/errors.ts';
import { canonicalJson } from '../../src/json.ts';
import { isSalt, isTenantId, saltOf, tenantOf, tenantTail } from '../../src/tenants/tenant-of.ts';

const SALT = 'AAAAAAAAAAAAAAAAAAAAAA';
const ids = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,63}$/);
const salts = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
/** Text that tries to look like the tail. */
const nasty = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    `","salt":"${SALT}","tenant":"evil","v":1}`,
    ',"tenant":"evil","v":1}',
    '\\",\\"tenant\\":\\"evil',
    `,"subject":"x","tenant":"evil`,
  ),
);
const anyJson = fc.jsonValue({ maxDepth: 3 });

function entryOf(parts: {
  detail: unknown;
  subject: string | undefined;
  salt: string | undefined;
  tenant: string | undefined;
}): Uint8Array | undefined {
  try {
    return utf8(canonicalJson({ at: '2026', kind: 'x', v: 1, ...parts }));
  } catch {
    return undefined;
  }
}

test('TO1, TO2: tenant and salt of any entry of ours are those that a JSON parser reads', () => {
  fc.assert(
    fc.property(
      fc.oneof(anyJson, nasty),
      fc.option(nasty, { nil: undefined }),
      fc.option(salts, { nil: undefined }),
      fc.option(ids, { nil: undefined }),
      (detail, subject, salt, tenant) => {
        const bytes = entryOf({ detail, subject, salt, tenant });
        fc.pre(bytes !== undefined);
        const parsed: unknown = JSON.parse(fromUtf8(bytes) ?? '');
        assert.ok(typeof parsed === 'object' && parsed !== null);
        assert.equal(tenantOf(bytes), 'tenant' in parsed ? parsed.tenant : undefined);
        assert.equal(saltOf(bytes), tenant === undefined ? undefined : salt);
      },
    ),
    { numRuns: 2000 },
  );
});

test('TO1: no JSON text of others is ever read as a tenant that its parser does not see', () => {
  const texts = fc.oneof(
    anyJson.map((value) => JSON.stringify(value)),
    fc
      .tuple(nasty, nasty, ids)
      .map(([key, value, tenant]) => JSON.stringify({ [key]: value, tenant, v: 1 })),
    fc
      .tuple(nasty, ids)
      .map(([text, id]) => JSON.stringify([text, { a: 1, tenant: id, v: 1 }, text])),
    fc.tuple(nasty, ids).map(([text, id]) => JSON.stringify({ a: text, b: { tenant: id, v: 1 } })),
    nasty.map((text) => JSON.stringify(text)),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const read = tenantOf(utf8(text));
      if (read === undefined) return;
      const parsed: unknown = JSON.parse(text);
      assert.ok(typeof parsed === 'object' && parsed !== null && 'tenant' in parsed);
      assert.equal(parsed.tenant, read);
    }),
    { numRuns: 2000 },
  );
});

test('TO3: bytes of any shape that end in the tail are found, so the writer can refuse', () => {
  fc.assert(
    fc.property(fc.uint8Array(), salts, ids, (head, salt, tenant) => {
      const bytes = Buffer.concat([head, utf8(tenantTail(salt, tenant))]);
      assert.equal(tenantOf(bytes), tenant);
      assert.equal(saltOf(bytes), salt);
      const intent = Buffer.concat([head, utf8(tenantTail(salt, tenant, 'replica:"a"'))]);
      assert.equal(tenantOf(intent), tenant);
      assert.equal(saltOf(intent), salt);
    }),
  );
});

test('ids and salts outside the rules are refused before they reach the log', () => {
  for (const id of ['', 'A', '-a', '.a', 'a b', 'ä', 'a'.repeat(65), 'a"', 'a\n']) {
    assert.equal(isTenantId(id), false, id);
    const bytes = utf8(`{"a":1,"tenant":"${id}","v":1}`);
    assert.equal(tenantOf(bytes), undefined, id);
    assert.throws(
      () => tenantTail(SALT, id),
      (cause) => isLedgerError(cause) && cause.code === 'KIN_LEDGER_ENTRY_INVALID',
    );
  }
  assert.equal(isTenantId('a'.repeat(64)), true);
  for (const salt of ['', 'A'.repeat(21), 'A'.repeat(23), `${'A'.repeat(21)}B`, '='.repeat(22)]) {
    assert.equal(isSalt(salt), false, salt);
    assert.throws(() => tenantTail(salt, 'acme'), /salt/);
  }
});

test("an entry that is shorter than the tail, or empty, is the system's", () => {
  const whole = utf8(`{"a":1${tenantTail(SALT, 'acme')}`);
  for (let cut = 0; cut < whole.length; cut++) {
    assert.equal(tenantOf(whole.subarray(0, cut)), undefined);
  }
  for (let from = 1; from < whole.length; from++) tenantOf(whole.subarray(from));
  assert.equal(tenantOf(whole), 'acme');
});
