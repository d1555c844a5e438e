import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { makeRelease } from '../../examples/clinic/drills/make-release.ts';
import { openClinic, openFolder, startProcess, until } from './clinic-processes.ts';
import type { Clinic, Process, Reply } from './clinic-processes.ts';

describe('drills', () => {
  let clinic: Clinic;
  let folder: string;

  before(async () => {
    clinic = await openClinic();
    folder = openFolder();
    await clinic.startDatabase();
  });
  after(async () => {
    await clinic.end();
    rmSync(folder, { recursive: true, force: true });
  });

  const readyStatus = async (service: Process): Promise<number> =>
    (await clinic.call(service, 'records', { path: '/readyz' })).status;
  const list = (service: Process): Promise<Reply> =>
    clinic.call(service, 'records', { tenant: 'northside', path: '/records/patients' });

  describe('switched on', () => {
    let service: Process;
    beforeEach(async () => {
      service = await clinic.startService('records', { CLINIC_DRILLS: '1' });
      await until('ready', async () => (await readyStatus(service)) === 200);
    });
    afterEach(async () => {
      if (service.child.exitCode === null) await service.stop('SIGKILL');
    });
    const drill = (name: string, headers: Record<string, string> = {}): Promise<Reply> =>
      clinic.call(service, 'records', { method: 'POST', path: `/__drill/${name}`, headers });

    it('X1 takes no command that came through a proxy or gateway, or is no POST', async () => {
      for (const header of ['x-kintsugi-assertion', 'x-forwarded-for', 'forwarded', 'via']) {
        assert.equal((await drill('exit', { [header]: 'x' })).status, 404, header);
      }
      const get = await clinic.call(service, 'records', { path: '/__drill/exit' });
      assert.equal(get.status, 405);
      assert.equal((await drill('unknown')).status, 404);
      assert.equal((await list(service)).status, 200);
    });

    it('X2 X3 errors and slowness leave the probes green and end with off', async () => {
      assert.equal((await drill('errors?rate=1&after=1')).status, 200);
      assert.equal((await list(service)).status, 200);
      assert.equal((await list(service)).status, 500);
      assert.equal(await readyStatus(service), 200);
      await drill('off');
      assert.equal((await list(service)).status, 200);
      await drill('slow?ms=300');
      const startedMs = performance.now();
      assert.equal((await list(service)).status, 200);
      assert.ok(performance.now() - startedMs >= 290);
    });

    it('X2 lies on the probe alone: the business goes on', async () => {
      await drill('probe-lie');
      assert.equal(await readyStatus(service), 404);
      assert.equal((await list(service)).status, 200);
      await drill('off');
      assert.equal(await readyStatus(service), 200);
    });

    it('poison crashes the replica that serves it, by an error that nobody catches', async () => {
      const request = { tenant: 'northside', path: '/records/patients?poison=1' };
      await assert.rejects(clinic.call(service, 'records', request));
      assert.equal(await service.exit, 1);
      assert.match(service.output(), /this request crashes whatever serves it/);
    });

    it('poison works in a body too; off is the antidote', async () => {
      const body = { poison: true };
      const request = { tenant: 'northside', method: 'POST', path: '/records/patients', body };
      await drill('off');
      assert.equal((await clinic.call(service, 'records', request)).status, 400);
      await drill('poison');
      await assert.rejects(clinic.call(service, 'records', request));
      assert.equal(await service.exit, 1);
    });

    it('leaks for real: the memory stays taken until off', async (t) => {
      if (process.platform !== 'linux') return t.skip('reads /proc');
      const residentPages = (): number =>
        Number(readFileSync(`/proc/${service.pid}/statm`, 'utf8').split(' ')[1]);
      const before = residentPages();
      await drill('leak?mbPerSecond=100');
      await until('40 MiB more', () => residentPages() > before + (40 * 1_048_576) / 4_096);
      assert.equal(await readyStatus(service), 200);
      await drill('off');
    });

    it('busy: the event loop stands still for a while, then goes on', async () => {
      await drill('busy?ms=400');
      const startedMs = performance.now();
      assert.equal((await list(service)).status, 200);
      assert.ok(performance.now() - startedMs > 200);
    });

    it('hangs without an answer, and exits when told', async () => {
      await drill('hang');
      const open = list(service).then(
        () => 'answered',
        () => 'cut',
      );
      await until('it is inside', async () => {
        const { json } = await clinic.call(service, 'records', { path: '/readyz' });
        return json['inFlight'] === 1;
      });
      await drill('exit?code=7');
      assert.equal(await service.exit, 7);
      assert.equal(await open, 'cut');
    });
  });

  describe('releases', () => {
    it('a good release stands on its own, away from the repository', async (t) => {
      const out = join(folder, 'good');
      makeRelease({ service: 'records', kind: 'good', out, label: 'a' });
      const socket = join(folder, 'controller.sock');
      let heard = '';
      const controller = createServer((peer) => {
        peer.on('data', (chunk) => (heard += chunk.toString('utf8')));
        peer.on('error', () => undefined);
      }).listen(socket);
      t.after(() => controller.close());
      const service = await clinic.startService('records', { KINTSUGI_SOCKET: socket }, out);
      await until('ready', async () => (await readyStatus(service)) === 200);
      assert.equal((await list(service)).status, 200);
      // The heartbeat thread works as JavaScript too, and audit events reach the controller.
      await until('it is heard', () => /"t":"ready"/.test(heard) && /"t":"hb"/.test(heard));
      await until('the access', () => /"t":"audit".*"action":"patient.list"/.test(heard));
      assert.equal(await service.stop(), 0);
      assert.throws(
        () => makeRelease({ service: 'records', kind: 'good', out, label: 'a' }),
        /exists already/,
      );
    });

    it('one crashes at its start', async () => {
      const out = join(folder, 'crash');
      makeRelease({ service: 'records', kind: 'crash-at-start', out, label: 'a' });
      const run = startProcess({ script: 'services/records.ts', port: 0, cwd: out, env: {} });
      assert.equal(await run.exit, 1);
    });

    it('one becomes ready and answers 500 only once traffic has come', async () => {
      const out = join(folder, 'errors');
      makeRelease({ service: 'records', kind: 'errors-under-traffic', out, label: 'a' });
      const service = await clinic.startService('records', {}, out);
      await until('ready', async () => (await readyStatus(service)) === 200);
      const statuses: number[] = [];
      for (let i = 0; i < 25; i += 1) statuses.push((await list(service)).status);
      assert.equal(statuses.lastIndexOf(200), 19);
      assert.equal(statuses.indexOf(500), 20);
      assert.equal(await readyStatus(service), 200);
      await service.stop();
    });
  });
});
