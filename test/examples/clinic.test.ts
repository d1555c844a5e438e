import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { TENANT_TABLES } from '../../examples/clinic/services/postgres/migrations.ts';
import { CLINIC, openClinic, until, type Clinic, type Process } from './clinic-processes.ts';

const idOf = (json: Readonly<Record<string, unknown>>): string => String(json['id']);
const itemsOf = (json: Readonly<Record<string, unknown>>): Record<string, unknown>[] =>
  json['items'] as Record<string, unknown>[];

describe('the clinic', () => {
  let clinic: Clinic;
  let records: Process;
  let billing: Process;
  let scheduling: Process;

  before(async () => {
    clinic = await openClinic();
    await clinic.startDatabase();
    [records, billing, scheduling] = await Promise.all([
      clinic.startService('records'),
      clinic.startService('billing'),
      clinic.startService('scheduling'),
    ]);
    for (const service of [records, billing, scheduling]) {
      await until('ready', async () => {
        const reply = await clinic.call(service, '', { path: '/readyz' });
        return reply.status === 200;
      });
    }
  });
  after(() => clinic.end());

  const admit = async (tenant: string, familyName = 'Test'): Promise<string> => {
    const body = { familyName, givenName: 'Ada', birthDate: '1990-02-28' };
    const request = { tenant, method: 'POST', path: '/records/patients', body };
    const reply = await clinic.call(records, 'records', request);
    assert.equal(reply.status, 201, JSON.stringify(reply.json));
    assert.equal(reply.headers.get('location'), `/records/patients/${idOf(reply.json)}`);
    return idOf(reply.json);
  };

  describe('tenants', () => {
    it('D1 one tenant sees nothing of another, by id or in a list', async () => {
      const id = await admit('northside', 'Hidden');
      const path = `/records/patients/${id}`;
      const own = await clinic.call(records, 'records', { tenant: 'northside', path });
      assert.deepEqual([own.status, own.json['familyName']], [200, 'Hidden']);
      const foreign = await clinic.call(records, 'records', { tenant: 'lakeview', path });
      assert.equal(foreign.status, 404);
      const list = await clinic.call(records, 'records', {
        tenant: 'lakeview',
        path: '/records/patients?limit=100',
      });
      assert.ok(itemsOf(list.json).length >= 2, 'the seed is there: empty would prove nothing');
      assert.ok(!itemsOf(list.json).some((item) => item['id'] === id));
      const change = { version: 1, familyName: 'Stolen' };
      const request = { tenant: 'lakeview', method: 'PATCH', path, body: change };
      assert.equal((await clinic.call(records, 'records', request)).status, 404);
      const note = { author: 'x', body: 'y' };
      const noted = { tenant: 'lakeview', method: 'POST', path: `${path}/notes`, body: note };
      assert.equal((await clinic.call(records, 'records', noted)).status, 404);
    });

    it('nobody gets in without a valid assertion', async () => {
      const path = '/records/patients';
      assert.equal((await clinic.call(records, 'records', { path })).status, 401);
      const plain = { path, headers: { 'x-kintsugi-tenant': 'northside' } };
      assert.equal((await clinic.call(records, 'records', plain)).status, 401);
      const other = { path, tenant: 'northside' };
      assert.equal((await clinic.call(records, 'billing', other)).status, 401);
    });

    it('B1 every table with a tenant column has row-level security, on and forced', async () => {
      const owner = await clinic.connect('clinic_owner');
      const { rows } = await owner.query<{ name: string; on: boolean; forced: boolean }>(
        `select c.relname as name, c.relrowsecurity as on, c.relforcerowsecurity as forced
         from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relkind in ('r', 'p') and a.attname = 'tenant_id' and not a.attisdropped
           and c.relnamespace = 'public'::regnamespace`,
      );
      assert.deepEqual(rows.map((row) => row.name).toSorted(), [...TENANT_TABLES].toSorted());
      for (const row of rows) assert.ok(row.on && row.forced, row.name);
      // Forced: even the owner sees nothing without a tenant.
      for (const table of TENANT_TABLES) {
        const found = await owner.query(`select 1 from ${table}`);
        assert.equal(found.rows.length, 0, table);
      }
      await owner.end();
    });

    it('B1 the application role, with SQL of its own, reaches one tenant or none', async () => {
      const app = await clinic.connect('clinic_app');
      for (const table of TENANT_TABLES) {
        assert.equal((await app.query(`select 1 from ${table}`)).rows.length, 0, table);
      }
      await app.query(`begin`);
      await app.query(`select set_config('app.tenant', 'lakeview', true)`);
      const seen = await app.query<{ tenant_id: string }>(
        'select distinct tenant_id from patients',
      );
      assert.deepEqual(seen.rows, [{ tenant_id: 'lakeview' }]);
      const insert = `insert into patients (tenant_id, id, family_name, given_name, birth_date)
        values ('northside', gen_random_uuid(), 'a', 'b', '2000-01-01')`;
      await assert.rejects(app.query(insert), { code: '42501' });
      await app.query('rollback');
      const orphan = `insert into patients (id, family_name, given_name, birth_date)
        values (gen_random_uuid(), 'a', 'b', '2000-01-01')`;
      await assert.rejects(app.query(orphan), { code: /42501|23502/ });
      await app.end();
    });

    it('B3 the application role can change rows, and nothing about the rules', async () => {
      const app = await clinic.connect('clinic_app');
      const forbidden = [
        'alter table patients disable row level security',
        'alter table patients no force row level security',
        'drop policy tenant_isolation on patients',
        'truncate patients',
        'delete from patients',
        "update notes set body = 'x'",
        'create table mine (id integer)',
        'select * from schema_migrations',
        'set role clinic_owner',
        'set row_security = off; select * from patients',
      ];
      for (const sql of forbidden) await assert.rejects(app.query(sql), { code: '42501' }, sql);
      const { rows } = await app.query(
        'select rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname = current_user',
      );
      assert.deepEqual(rows, [{ rolsuper: false, rolbypassrls: false, rolcreaterole: false }]);
      await app.end();
    });
  });

  describe('writes', () => {
    const invoice = async (amountMinor: number): Promise<string> => {
      const body = { patientId: await admit('sunrise'), currency: 'USD', amountMinor };
      const request = { tenant: 'sunrise', method: 'POST', path: '/billing/invoices', body };
      const reply = await clinic.call(billing, 'billing', request);
      assert.equal(reply.status, 201);
      return idOf(reply.json);
    };
    const pay = (id: string, amountMinor: number, key: string | undefined) =>
      clinic.call(billing, 'billing', {
        tenant: 'sunrise',
        method: 'POST',
        path: `/billing/invoices/${id}/payments`,
        body: { amountMinor, method: 'card' },
        headers: key === undefined ? {} : { 'idempotency-key': key },
      });

    it('M2 a payment needs its key', async () => {
      assert.equal((await pay(await invoice(500), 100, undefined)).status, 400);
      assert.equal((await pay(await invoice(500), 100, 'has space')).status, 400);
    });

    it('K1 M2 five payments at once with one key are one payment, one answer', async () => {
      const id = await invoice(10_000);
      const replies = await Promise.all(Array.from({ length: 5 }, () => pay(id, 100, 'once')));
      assert.deepEqual(
        replies.map((reply) => reply.status),
        [201, 201, 201, 201, 201],
      );
      assert.equal(new Set(replies.map((reply) => idOf(reply.json))).size, 1);
      const replayed = replies.filter((r) => r.headers.get('idempotency-replayed') === 'true');
      assert.equal(replayed.length, 4);
      const path = `/billing/invoices/${id}`;
      const after = await clinic.call(billing, 'billing', { tenant: 'sunrise', path });
      assert.equal(after.json['paidMinor'], 100);
    });

    it('K2 the same key with another amount is refused and does nothing', async () => {
      const id = await invoice(10_000);
      assert.equal((await pay(id, 100, 'k2')).status, 201);
      assert.equal((await pay(id, 200, 'k2')).status, 422);
      const path = `/billing/invoices/${id}/payments`;
      const after = await clinic.call(billing, 'billing', { tenant: 'sunrise', path });
      assert.equal(itemsOf(after.json).length, 1);
    });

    it('K3 a refused write gives its key back', async () => {
      const id = await invoice(100);
      assert.equal((await pay(id, 101, 'k3')).status, 409);
      assert.equal((await pay(id, 100, 'k3')).status, 201);
    });

    it('K1 a key belongs to its tenant: another clinic may use the same', async () => {
      const body = { familyName: 'Same', givenName: 'Key', birthDate: '1990-01-01' };
      const headers = { 'idempotency-key': 'shared-key' };
      const send = (tenant: string) =>
        clinic.call(records, 'records', {
          ...{ tenant, method: 'POST', path: '/records/patients', body, headers },
        });
      const [a, b] = [await send('northside'), await send('lakeview')];
      assert.notEqual(idOf(a.json), idOf(b.json));
      const again = await send('northside');
      assert.equal(idOf(again.json), idOf(a.json));
      assert.equal(again.headers.get('location'), a.headers.get('location'));
    });

    it('M1 M3 two payments at once never overpay; money is whole minor units', async () => {
      const id = await invoice(100);
      const both = await Promise.all([pay(id, 80, 'm3-a'), pay(id, 80, 'm3-b')]);
      assert.deepEqual(
        both.map((reply) => reply.status).toSorted((a, b) => a - b),
        [201, 409],
      );
      assert.equal((await pay(id, 0.5, 'm3-c')).status, 400);
    });

    it('G1 a practitioner is booked once, also if two ask at the same moment', async () => {
      const patientId = await admit('lakeview');
      const book = (startsAt: string, endsAt: string, tenant = 'lakeview', patient = patientId) =>
        clinic.call(scheduling, 'scheduling', {
          tenant,
          method: 'POST',
          path: '/scheduling/appointments',
          body: { patientId: patient, practitioner: 'Dr. X', startsAt, endsAt, reason: 'visit' },
        });
      const slot = ['2027-03-01T09:00:00Z', '2027-03-01T09:30:00Z'] as const;
      const both = await Promise.all([book(...slot), book(...slot)]);
      assert.deepEqual(
        both.map((reply) => reply.status).toSorted((a, b) => a - b),
        [201, 409],
      );
      assert.equal((await book('2027-03-01T09:15:00Z', '2027-03-01T10:00:00Z')).status, 409);
      assert.equal(
        (await book('2027-03-01T10:30:00+01:00', '2027-03-01T11:00:00+01:00')).status,
        201,
      );
      const other = await admit('northside');
      assert.equal((await book(...slot, 'northside', other)).status, 201);
      const winner = both.find((reply) => reply.status === 201);
      const path = `/scheduling/appointments/${idOf(winner?.json ?? {})}`;
      const cancel = { tenant: 'lakeview', method: 'DELETE', path };
      assert.equal((await clinic.call(scheduling, 'scheduling', cancel)).status, 204);
      assert.equal((await book(...slot)).status, 201);
    });

    it('a foreign patient cannot be invoiced', async () => {
      const patientId = await admit('northside');
      const body = { patientId, currency: 'EUR', amountMinor: 5 };
      const request = { tenant: 'lakeview', method: 'POST', path: '/billing/invoices', body };
      assert.equal((await clinic.call(billing, 'billing', request)).status, 422);
    });

    it('nobody overwrites a change that he has not seen', async () => {
      const id = await admit('northside');
      const change = (familyName: string) =>
        clinic.call(records, 'records', {
          tenant: 'northside',
          method: 'PATCH',
          path: `/records/patients/${id}`,
          body: { version: 1, familyName },
        });
      assert.equal((await change('First')).status, 200);
      assert.equal((await change('Second')).status, 409);
    });
  });

  describe('input', () => {
    const post = (body: unknown, headers: Record<string, string> = {}) =>
      clinic.call(records, 'records', {
        ...{ tenant: 'northside', method: 'POST', path: '/records/patients', body, headers },
      });
    const read = (path: string, method = 'GET') =>
      clinic.call(records, 'records', { tenant: 'northside', path, method });

    it('F1 F2 names every wrong field, and never repeats its value', async () => {
      const reply = await post({ familyName: '', birthDate: '2026-02-30', emial: 'secret@x' });
      assert.equal(reply.status, 400);
      assert.equal(reply.headers.get('content-type'), 'application/problem+json');
      const errors = reply.json['errors'] as { field: string }[];
      assert.deepEqual(
        errors.map((error) => error.field),
        ['familyName', 'givenName', 'birthDate', 'emial'],
      );
      assert.ok(!JSON.stringify(reply.json).includes('secret@x'));
    });

    it('P1 answers 400, 404, 405, 413 and 415 as problems', async () => {
      assert.equal((await post('{')).status, 400);
      assert.equal((await post([])).status, 400);
      assert.equal((await post({}, { 'content-type': 'text/plain' })).status, 415);
      assert.equal((await post({ familyName: 'x'.repeat(70_000) })).status, 413);
      assert.equal((await read('/records/nothing')).status, 404);
      assert.equal((await read('/records/patients/not-an-id')).status, 404);
      const wrong = await read('/records/patients', 'DELETE');
      assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'GET, POST']);
    });

    it('pages through everything once, within limits', async () => {
      for (const limit of ['0', '101', 'x', '1.5']) {
        assert.equal((await read(`/records/patients?limit=${limit}`)).status, 400);
      }
      for (let i = 0; i < 5; i += 1) await admit('northside', 'Paged');
      const seen: unknown[] = [];
      let after = '';
      for (let page = 0; page < 10; page += 1) {
        const { json } = await read(`/records/patients?familyName=Paged&limit=2${after}`);
        seen.push(...itemsOf(json).map((item) => item['id']));
        if (json['next'] === null) break;
        after = `&after=${json['next'] as string}`;
      }
      assert.deepEqual([seen.length, new Set(seen).size], [5, 5]);
    });

    it('P2 reports who touched what, also for refusals, without personal data', async () => {
      const id = await admit('northside', 'Unspoken');
      await read(`/records/patients/${id}`);
      await clinic.call(records, 'records', {
        tenant: 'lakeview',
        path: `/records/patients/${id}`,
      });
      const events = await until('both events', () => {
        const found = records
          .output()
          .split('\n')
          .filter((line) => line.includes('"msg":"patient.read"'))
          .map((line) => (JSON.parse(line) as { event: Record<string, unknown> }).event);
        const ours = found.slice(-2);
        return ours[0]?.['tenant'] === 'northside' && ours[1]?.['tenant'] === 'lakeview' && ours;
      });
      assert.equal(events[0]?.['outcome'], 'allowed');
      assert.deepEqual(events[0]?.['resource'], { type: 'patient', id });
      assert.equal(events[1]?.['outcome'], 'denied');
      assert.ok(!records.output().includes('Unspoken'));
    });
  });

  it('P3 the fault switches are dead when they are not switched on', async () => {
    for (const drill of ['exit', 'errors', 'hang', 'busy', 'probe-lie', 'poison']) {
      const request = { method: 'POST', path: `/__drill/${drill}` };
      assert.equal((await clinic.call(records, 'records', request)).status, 401, drill);
      const signed = { ...request, tenant: 'northside' };
      assert.equal((await clinic.call(records, 'records', signed)).status, 404, drill);
    }
    const poison = { tenant: 'northside', path: '/records/patients?poison=1' };
    assert.equal((await clinic.call(records, 'records', poison)).status, 200);
    assert.equal(records.child.exitCode, null);
  });

  it('the OpenAPI file describes the routes that exist, all of them and no others', () => {
    const document = parse(readFileSync(join(CLINIC, 'openapi.yaml'), 'utf8')) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations)
        .filter((method) => method !== 'parameters')
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routed = ['records', 'billing', 'scheduling'].flatMap((name) => {
      const source = readFileSync(join(CLINIC, 'services', `${name}.ts`), 'utf8');
      return [...source.matchAll(/method: '(\w+)',\s+pattern: '([^']+)'/g)].map(
        ([, method, pattern]) => `${method} ${pattern?.replaceAll(/:(\w+)/g, '{$1}')}`,
      );
    });
    assert.ok(routed.length >= 15, `${routed.length} routes were found`);
    assert.deepEqual(described.toSorted(), routed.toSorted());
  });
});
