// The SQL store on a real PostgreSQL server: the contract, and what only a server can do wrong.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openStore } from '../../src/store/open.ts';
import { SILENT } from '../../src/world/real/log.ts';
import type { Store } from '../../src/world/store.ts';
import { storeContract } from '../contract/store.ts';
import * as make from '../contract/store-values.ts';
import { query, startServer } from './postgres-server.ts';
import type { TestServer } from './postgres-server.ts';

const isCode = (code: string) => (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === code;
const open = (url: string): Promise<Store> =>
  openStore({ url, dir: '/nonexistent', log: SILENT, keep: make.KEEP_SOME });

const given = process.env['KINTSUGI_TEST_DATABASE_URL'];
const answer = given === undefined ? await startServer() : undefined;

if (given !== undefined) suite(async () => given);
else if (answer?.kind === 'server') {
  const { server } = answer;
  suite(() => server.database());
  onServer(server);
} else test('the store on a server', { skip: answer?.reason ?? 'no server' }, () => undefined);

function suite(database: () => Promise<string>): void {
  storeContract('on a server', async () => {
    const url = await database();
    await query(url, 'drop schema if exists kintsugi cascade');
    let store: Store | undefined;
    return {
      async reopen() {
        await store?.close();
        store = await open(url);
        return store;
      },
      second: () => open(url),
      end: async () => store?.close(),
    };
  });
}

function onServer(server: TestServer): void {
  describe('the store on a server that misbehaves', () => {
    let url = '';
    before(async () => {
      url = await server.database();
    });
    after(() => server.end());

    test('MG1: two first starts at once make one schema', async () => {
      const stores = await Promise.all([open(url), open(url), open(url)]);
      const rows = await query(url, 'select count(*)::int as n from kintsugi.migration');
      assert.deepEqual(rows, [{ n: 2 }]);
      for (const store of stores) await store.close();
    });

    test('MG2: a schema of a newer version is left alone', async () => {
      await (await open(url)).close();
      await query(url, `insert into kintsugi.migration values ('999-later', 'x')`);
      await assert.rejects(open(url), isCode('KIN_STORE_NEWER'));
      await query(url, `delete from kintsugi.migration where name = '999-later'`);
      await (await open(url)).close();
    });

    test('a wrong password, no server: a code, and never the password', async () => {
      const wrong = url.replace(/:[0-9a-f]+@/u, ':sesame@');
      await assert.rejects(open(wrong), (error) => {
        assert.ok(isCode('KIN_STORE_REFUSED')(error));
        assert.doesNotMatch(JSON.stringify([String(error), (error as Error).stack]), /sesame/u);
        return true;
      });
      const nowhere = 'postgres://a:sesame@127.0.0.1:1/x';
      await assert.rejects(open(nowhere), (error) => {
        assert.ok(isCode('KIN_STORE_UNREACHABLE')(error));
        assert.doesNotMatch(String(error), /sesame/u);
        return true;
      });
    });

    test('a role whose commits may be lost is refused', async () => {
      const name = new URL(url).pathname.slice(1);
      await query(url, `alter database ${name} set synchronous_commit = off`);
      await assert.rejects(open(url), isCode('KIN_STORE_NOT_DURABLE'));
      await query(url, `alter database ${name} reset synchronous_commit`);
    });

    test('ST1: a server that dies under us: an error, and later the store goes on', async () => {
      const store = await open(url);
      const lease = await store.lease('a', 0, 1000);
      assert.ok(lease.kind === 'held');
      await store.putSetting('kept', 1, lease.epoch);
      await server.interrupt();
      await assert.rejects(
        store.putSetting('kept', 2, lease.epoch),
        isCode('KIN_STORE_UNREACHABLE'),
      );
      await server.resume();
      assert.equal(await store.setting('kept'), 1);
      await store.putSetting('kept', 3, lease.epoch);
      await store.close();
    });
  });
}
