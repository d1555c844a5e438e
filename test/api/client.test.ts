import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { KinError } from '../../src/model/errors.ts';
import { controlClient } from '../../src/api/client.ts';
import { exitCodeOf, failureClass, httpStatusOf } from '../../src/api/failure.ts';
import { status } from './fake.ts';
import { rig } from './harness.ts';

test('CL1. a refusal arrives as the KinError that it was', async (t) => {
  const { api, token, control } = await rig(t);
  const client = controlClient({ url: api.url, token, actor: 'alice' });
  assert.deepEqual(await client.status(), JSON.parse(JSON.stringify(status())));
  control.failWith = new KinError('KIN_DRILL_REFUSED', 'this is production', 'use a copy');
  await assert.rejects(client.drill('kill', 'records-1'), {
    code: 'KIN_DRILL_REFUSED',
    message: 'this is production',
    fix: 'use a copy',
  });
  assert.equal(control.calls.at(-1)?.actor?.name, 'operator:alice');
});

test('CL1. names that need escaping reach the port as they are', async (t) => {
  const { api, token, control } = await rig(t);
  const client = controlClient({ url: api.url, token });
  await client.revokeKey('k/1?x=#ü'.slice(0, 7));
  assert.deepEqual(control.calls.at(-1)?.args, ['k/1?x=#']);
});

test('CL1. nobody there is KIN_API_UNREACHABLE, and exits 69', async () => {
  const client = controlClient({ url: 'http://127.0.0.1:1', token: 'kin_op_secret' });
  await assert.rejects(client.status(), (error) => {
    assert.ok(error instanceof KinError);
    assert.equal(error.code, 'KIN_API_UNREACHABLE');
    assert.equal(exitCodeOf(error.code), 69);
    assert.ok(!error.message.includes('kin_op_secret'));
    return true;
  });
});

test('CL1. another program on the control port is not mistaken for the control API', async (t) => {
  const other = createServer((_request, answer) => {
    answer.statusCode = 404;
    answer.end('<html>nginx</html>');
  });
  await new Promise<void>((resolve) => {
    other.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => other.close());
  const { port } = other.address() as AddressInfo;
  const client = controlClient({ url: `http://127.0.0.1:${port}`, token: 'x' });
  await assert.rejects(client.status(), { code: 'KIN_API_UNREACHABLE' });
});

test('CL2. the token is never sent to anything but loopback', () => {
  for (const url of ['http://evil.example:8081', 'https://127.0.0.1:8081', 'http://127.0.0.1.x']) {
    assert.throws(() => controlClient({ url, token: 'x' }), { code: 'KIN_STATE_FILE_INVALID' });
  }
});

test('FA1. every class of failure has its status and its exit code', () => {
  const rows = [
    ['KIN_NOT_RUNNING', 'not-running', 503, 3],
    ['KIN_DRILL_REFUSED', 'refused', 403, 4],
    ['KIN_ROLLBACK_INELIGIBLE', 'refused', 403, 4],
    ['KIN_MANIFEST_INVALID', 'configuration', 422, 78],
    ['KIN_PORT_TAKEN', 'configuration', 422, 78],
    ['KIN_STATE_NOT_WRITABLE', 'configuration', 422, 78],
    ['KIN_STORE_FENCED', 'unavailable', 503, 69],
    ['KIN_LEDGER_FULL', 'unavailable', 503, 69],
    ['KIN_LEDGER_RANGE', 'missing', 404, 1],
    ['KIN_SERVICE_UNKNOWN', 'missing', 404, 1],
    ['KIN_USAGE', 'bad-request', 400, 2],
    ['KIN_API_UNAUTHORIZED', 'unauthorized', 401, 4],
    ['KIN_API_TOO_LARGE', 'bad-request', 413, 2],
    ['KIN_ANYTHING', 'failed', 409, 1],
  ] as const;
  for (const [code, kind, http, exit] of rows) {
    assert.deepEqual(
      [failureClass(code), httpStatusOf(code), exitCodeOf(code)],
      [kind, http, exit],
    );
  }
});
