// Row-level security on a real PostgreSQL with the clinic's schema: every fault is planted, found,
// healed where it may be, and proved. Covers src/drivers/postgres/{catalogue,controls,enforce}.ts.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Client } from 'pg';
import { openControls } from '../../src/drivers/postgres/controls.ts';
import type { OpenControls } from '../../src/drivers/postgres/controls.ts';
import * as ids from '../../src/model/ids.ts';
import type { CheckSpec } from '../../src/model/manifest.ts';
import { mintReceipt } from '../../src/model/receipt.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import type { CheckResult } from '../../src/model/signal.ts';
import { SILENT } from '../../src/world/real/log.ts';
import { query, startServer } from '../store/postgres-server.ts';
import type { TestServer } from '../store/postgres-server.ts';

const CHECK = ids.checkId('rls');
const SPEC: CheckSpec = {
  id: CHECK,
  kind: 'rls-enforced',
  dependency: ids.dependencyName('db'),
  schema: 'public',
  tables: ['patients', 'notes', 'invoices', 'payments', 'appointments', 'idempotency_keys'],
  tenantColumn: 'tenant_id',
  setting: 'app.tenant',
  intervalMs: 1000,
  heal: 'automatic',
  frameworks: [],
};
const TENANTS = ['nobody', 'northside', 'lakeview', 'sunrise'];
const receipt = mintReceipt(ids.planId('plan_x'), 'digest', 1, 'leaf');

const answer = await startServer();
if (answer.kind === 'none') test('PostgreSQL controls', { skip: answer.reason }, () => undefined);
else suite(answer.server);

function subjects(result: CheckResult): readonly string[] {
  assert.ok(result.kind === 'not-satisfied', JSON.stringify(result));
  return result.violations.map(({ subject }) => subject);
}

function suite(server: TestServer): void {
  const urls = (): { appUrl: string; adminUrl: string } => ({
    appUrl: server.appUrl,
    adminUrl: server.ownerUrl,
  });
  const open = (change: Partial<CheckSpec> = {}): OpenControls =>
    openControls({ checks: [{ ...SPEC, ...change }], urls, tenants: TENANTS, log: SILENT });
  const asOwner = (text: string): Promise<unknown> => query(server.ownerUrl, text);
  const asSuper = (text: string): Promise<unknown> => query(server.superUrl('clinic'), text);
  const controls = open();

  describe('row-level security of a real database', () => {
    before(() => asSuper('alter database clinic set lock_timeout = 0'));
    beforeEach(async () => {
      for (const table of ['patients', 'invoices', 'notes']) {
        await asOwner(`alter table ${table} enable row level security, force row level security`);
      }
    });
    after(() => server.end());

    test('as the example makes it: satisfied, with its population, and proved', async () => {
      const measured = await controls.measure(CHECK);
      assert.ok(measured.kind === 'satisfied', JSON.stringify(measured));
      assert.equal(measured.population, 6);
      const proved = await controls.prove(CHECK);
      assert.ok(proved.kind === 'satisfied', JSON.stringify(proved));
      assert.equal(proved.population, 6);
    });

    test('CT1: switched off and not forced are found, healed and proved again', async () => {
      await asOwner('alter table patients disable row level security');
      await asOwner('alter table invoices no force row level security');
      const found = subjects(await controls.measure(CHECK));
      assert.deepEqual(found, ['public.invoices:force-off', 'public.patients:rls-disabled']);
      const red = subjects(await controls.prove(CHECK));
      assert.deepEqual(red, [
        'public.patients:readable-without-tenant',
        'public.patients:cross-tenant',
      ]);
      const healed = await controls.enforce(CHECK, found, receipt);
      assert.equal(healed.kind, 'enforced', JSON.stringify(healed));
      assert.equal((await controls.measure(CHECK)).kind, 'satisfied');
      assert.equal((await controls.prove(CHECK)).kind, 'satisfied');
      const again = await controls.enforce(CHECK, found, receipt);
      assert.deepEqual(again, { kind: 'enforced', detail: 'it was in force already' });
    });

    test('CO1: only the named tables change, and what is not named stays as it is', async () => {
      await asOwner('alter table patients disable row level security, no force row level security');
      await controls.enforce(CHECK, ['public.patients:rls-disabled'], receipt);
      assert.deepEqual(subjects(await controls.measure(CHECK)), ['public.patients:force-off']);
    });

    test('CO1: other violations, other tables and forged names are for a person', async () => {
      await asOwner('create table elsewhere (tenant_id text)');
      const refused = [
        'public.patients:no-policy',
        'public.elsewhere:rls-disabled',
        'public.gone:rls-disabled',
        'other.patients:rls-disabled',
        'public.patients"; drop table notes; --:rls-disabled',
        'patients:constructor',
        'public.:rls-disabled',
        '',
      ];
      for (const subject of refused) {
        const result = await controls.enforce(CHECK, [subject], receipt);
        assert.ok(result.kind === 'failed' && !result.retryable, JSON.stringify(result));
      }
      assert.equal((await controls.enforce(CHECK, [], receipt)).kind, 'failed');
      await asOwner('drop table elsewhere');
      assert.equal((await controls.measure(CHECK)).kind, 'satisfied');
    });

    test('CO1: an act without a receipt stops', async () => {
      const forged = { ...receipt } as Receipt;
      const subject = 'public.patients:force-off';
      await assert.rejects(controls.enforce(CHECK, [subject], forged), /receipt/u);
    });

    test('CO2: a table without a tenant policy is found, and not switched on', async () => {
      await asOwner('alter table notes disable row level security');
      await asOwner('drop policy tenant_isolation on notes');
      const wanted = ['public.notes:rls-disabled', 'public.notes:no-policy'];
      assert.deepEqual(subjects(await controls.measure(CHECK)), wanted);
      const result = await controls.enforce(CHECK, ['public.notes:rls-disabled'], receipt);
      assert.ok(result.kind === 'failed' && !result.retryable, JSON.stringify(result));
      assert.match(result.detail, /no policy/u);
      await asOwner(`create policy tenant_isolation on notes
        using (tenant_id = nullif(current_setting('app.tenant', true), ''))`);
      const healed = await controls.enforce(CHECK, ['public.notes:rls-disabled'], receipt);
      assert.equal(healed.kind, 'enforced');
    });

    test('CT1: a second, open policy is found by measure and by proof', async () => {
      await asOwner('create policy debugging on patients using (true)');
      assert.deepEqual(subjects(await controls.measure(CHECK)), ['public.patients:open-policy']);
      assert.ok(subjects(await controls.prove(CHECK)).includes('public.patients:cross-tenant'));
      await asOwner('drop policy debugging on patients');
    });

    test('CT1: an application that may bypass or own is found', async () => {
      await asSuper('alter role clinic_app bypassrls');
      const found = subjects(await controls.measure(CHECK));
      assert.deepEqual(found, ['role.clinic_app:bypasses-rls']);
      assert.equal((await controls.prove(CHECK)).kind, 'not-satisfied');
      await asSuper('alter role clinic_app nobypassrls');
      await asSuper('grant clinic_owner to clinic_app');
      assert.ok(subjects(await controls.measure(CHECK)).includes('public.patients:owned-by-app'));
      await asSuper('revoke clinic_owner from clinic_app');
      assert.equal((await controls.measure(CHECK)).kind, 'satisfied');
    });

    test('CT2: a listed table that is missing or has no tenant is a violation', async () => {
      const listed = open({ tables: ['patients', 'ghosts', 'schema_migrations'] });
      const found = subjects(await listed.measure(CHECK));
      assert.ok(found.includes('public.ghosts:missing'));
      assert.ok(found.includes('public.schema_migrations:no-tenant-column'));
    });

    test('a new table with the tenant column is seen unlisted, a partition too', async () => {
      const all = open({ tables: [] });
      assert.equal((await all.measure(CHECK)).kind, 'satisfied');
      await asOwner('create table fresh (tenant_id text)');
      assert.ok(subjects(await all.measure(CHECK)).includes('public.fresh:rls-disabled'));
      await asOwner(`drop table fresh;
        create table logs (tenant_id text, at date) partition by range (at);
        create table logs_now partition of logs default`);
      const found = subjects(await open({ tables: ['logs'] }).measure(CHECK));
      assert.ok(found.includes('public.logs_now:rls-disabled'));
      await asOwner('drop table logs');
    });

    test('CO3: empty is not green: no table, no readable table, no two tenants', async () => {
      const none = await open({ tables: [], tenantColumn: 'nowhere' }).measure(CHECK);
      assert.equal(none.kind, 'not-evaluated');
      const unreadable = await open({ tables: ['schema_migrations'] }).prove(CHECK);
      assert.equal(unreadable.kind, 'not-evaluated');
      for (const tenants of [[], ['northside'], ['northside', 'nobody']]) {
        const alone = openControls({ checks: [SPEC], urls, tenants, log: SILENT });
        assert.equal((await alone.prove(CHECK)).kind, 'not-evaluated', tenants.join());
      }
      const unknown = ids.checkId('unknown');
      assert.equal((await controls.measure(unknown)).kind, 'error');
    });

    test('CO4: a lock that is held: failed, to be tried again, and nothing changed', async () => {
      await asOwner('alter table patients no force row level security');
      const holder = new Client({ connectionString: server.appUrl });
      await holder.connect();
      await holder.query('begin; select count(*) from patients');
      const subject = 'public.patients:force-off';
      const result = await controls.enforce(CHECK, [subject], receipt);
      assert.ok(result.kind === 'failed' && result.retryable, JSON.stringify(result));
      await holder.end();
      assert.equal((await controls.enforce(CHECK, [subject], receipt)).kind, 'enforced');
    });

    test('CO4: no address, no admin, no server: values without a password', async () => {
      const appUrl = 'postgres://clinic_app:sesame@127.0.0.1:1/clinic';
      const lost = openControls({ checks: [SPEC], log: SILENT });
      assert.equal((await lost.measure(CHECK)).kind, 'error');
      const subject = 'public.patients:force-off';
      const noAdmin = await lost.enforce(CHECK, [subject], receipt);
      assert.ok(noAdmin.kind === 'failed' && !noAdmin.retryable);
      lost.configure([SPEC], () => ({ appUrl, adminUrl: appUrl }), TENANTS);
      const results = [
        await lost.measure(CHECK),
        await lost.prove(CHECK),
        await lost.enforce(CHECK, [subject], receipt),
      ];
      assert.deepEqual(
        results.map(({ kind }) => kind),
        ['error', 'error', 'failed'],
      );
      assert.ok(results[2]?.kind === 'failed' && results[2].retryable);
      assert.doesNotMatch(JSON.stringify(results), /sesame/u);
    });
  });
}
