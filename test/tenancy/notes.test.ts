import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRecorded, openNotes } from '../../src/tenancy/notes.ts';
import type { Principal, Resource } from '../../src/tenancy/principal.ts';

const auditor: Principal = { kind: 'auditor', name: 'anna' };
const acme: Principal = { kind: 'tenant', tenant: 'acme' };
const log = (tenant: string): Resource => ({ kind: 'tenant', tenant });

function book(): {
  readonly lines: { kind: string; tenant: string | undefined; times: unknown; log: unknown }[];
  readonly clock: { ms: number };
  readonly notes: ReturnType<typeof openNotes>;
} {
  const lines: { kind: string; tenant: string | undefined; times: unknown; log: unknown }[] = [];
  const clock = { ms: 1_000_000 };
  const notes = openNotes(
    (kind, tenant, detail) => {
      lines.push({ kind, tenant, times: detail['times'], log: detail['log'] });
    },
    () => clock.ms,
  );
  return { lines, clock, notes };
}

test('EN1. a thousand tiles in a minute are one record and one count', () => {
  const { lines, clock, notes } = book();
  for (let i = 0; i < 1_000; i += 1) notes.read(auditor, 'ReadTenantLog', log('acme'), 'p');
  assert.deepEqual(lines, [
    { kind: 'evidence.read', tenant: 'acme', times: 1, log: 'tenant:acme' },
  ]);
  clock.ms += 60_000;
  notes.flush(false);
  assert.equal(lines[1]?.times, 999);
  notes.read(auditor, 'ReadTenantLog', log('acme'), 'p');
  assert.equal(lines.length, 3);
  notes.flush(true);
  assert.equal(lines.length, 3, 'a single read leaves no count behind');
});

test('EN1. another principal, log or action is a record of its own', () => {
  const { lines, notes } = book();
  notes.read(auditor, 'ReadTenantLog', log('acme'), 'p');
  notes.read(acme, 'ReadTenantLog', log('acme'), 'p');
  notes.read(auditor, 'ReadTenantLog', log('other'), 'p');
  notes.read(auditor, 'RevealPrivate', log('acme'), 'p');
  assert.equal(lines.length, 4);
});

test('EN1. two acts in a minute are two records', () => {
  const { lines, notes } = book();
  notes.acted('operator:alice', 'Erase', log('acme'), 'p');
  notes.acted('operator:alice', 'Erase', log('acme'), 'p');
  assert.deepEqual(
    lines.map(({ kind, tenant }) => [kind, tenant]),
    [
      ['evidence.act', 'acme'],
      ['evidence.act', 'acme'],
    ],
  );
});

test('EN2. a refusal stands in the log of who asked, and a thousand names are one record', () => {
  const { lines, notes } = book();
  const why = { reason: 'other-tenant', policy: 'own-log-only' };
  for (let i = 0; i < 1_000; i += 1) {
    notes.denied(acme, { action: 'ReadTenantLog', log: `tenant:x${i}` }, why);
  }
  notes.denied(auditor, { action: 'Erase', log: 'tenant:acme' }, why);
  notes.denied(undefined, { action: 'enter', log: 'api' }, why);
  assert.deepEqual(
    lines.map(({ tenant }) => tenant),
    ['acme', undefined, undefined],
  );
  notes.flush(true);
  assert.equal(lines.at(-1)?.times, 999);
});

test('EN3. a record that fails stops nothing', () => {
  const notes = openNotes(
    () => {
      throw new Error('full');
    },
    () => 1,
  );
  notes.read(auditor, 'ReadTenantLog', log('acme'), 'p');
  notes.flush(true);
});

test('EN4. a reveal waits for its own record, and fails with it', async () => {
  const nothing = (): void => undefined;
  const now = (): number => 1;
  const without = openNotes(nothing, now);
  await assert.rejects(without.revealing('tenant:acme', log('acme'), 'p'), {
    code: 'KIN_ACCESS_UNRECORDED',
  });
  const failing = openNotes(nothing, now, async () => {
    throw new Error('full');
  });
  await assert.rejects(failing.revealing('tenant:acme', log('acme'), 'p'), /full/u);
  const kept: unknown[] = [];
  const good = openNotes(nothing, now, async (...record) => {
    kept.push(record);
  });
  await good.revealing('operator:eva', log('acme'), 'p');
  await good.revealing('operator:eva', log('acme'), 'p');
  const detail = { log: 'tenant:acme', action: 'RevealPrivate', policy: 'p', times: 1 };
  const one = ['evidence.read', 'acme', { principal: 'operator:eva', ...detail }];
  assert.deepEqual(kept, [one, one]);
});

test('a clock that goes back keeps no count for ever', () => {
  const { lines, clock, notes } = book();
  notes.read(auditor, 'Prove', log('acme'), 'p');
  notes.read(auditor, 'Prove', log('acme'), 'p');
  clock.ms -= 3_600_000;
  notes.flush(false);
  assert.equal(lines.length, 2);
});

test('the operator is not recorded for the system log, everybody else is', () => {
  assert.equal(isRecorded({ kind: 'operator' }, { kind: 'system' }), false);
  assert.equal(isRecorded({ kind: 'operator' }, log('acme')), true);
  assert.equal(isRecorded(auditor, { kind: 'system' }), true);
});
