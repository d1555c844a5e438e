import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manifestFromJson, manifestToJson } from '../../src/manifest/index.ts';
import { ManifestErrors } from '../../src/manifest/index.ts';
import { observeRule } from '../../src/main/observe.ts';
import { folder } from './fixture.ts';

const base = (gateway: string): string =>
  `name: hello\nservices: { web: { command: node server.js } }\n` +
  `secrets: { collector: { generate: 32 } }\ngateway: ${gateway}\n`;

type Load = Awaited<ReturnType<typeof folder>>['load'];

async function problems(load: Load, gateway: string): Promise<string[]> {
  try {
    await load(base(gateway));
    return [];
  } catch (error) {
    if (!(error instanceof ManifestErrors)) throw error;
    return error.problems.map(({ code, path }) => `${code} ${path}`);
  }
}

const OTLP = 'https://otel.example/v1/traces';

test('CO1: spans go over TLS or stay here, and what authorises them is a secret', async (t) => {
  const { load } = await folder(t);
  const tracing = (text: string): Promise<string[]> => problems(load, `{ tracing: { ${text} } }`);
  const range = ['KIN_MANIFEST_RANGE gateway.tracing.otlpUrl'];
  assert.deepEqual(await tracing(`otlpUrl: ${OTLP}`), []);
  assert.deepEqual(await tracing('otlpUrl: "http://127.0.0.1:4318"'), []);
  assert.deepEqual(await tracing('otlpUrl: "http://otel.example:4318"'), range);
  assert.deepEqual(await tracing('otlpUrl: "https://a:b@otel.example"'), range);
  assert.deepEqual(await tracing('otlpUrl: "ftp://otel.example"'), range);
  assert.deepEqual(await tracing('otlpUrl: nowhere'), range);
  const header = (text: string): Promise<string[]> =>
    tracing(`otlpUrl: "${OTLP}", headers: { authorization: '${text}' }`);
  const at = 'gateway.tracing.headers.authorization';
  assert.deepEqual(await header('Bearer ${secret:collector}'), []);
  assert.deepEqual(await header('Bearer abc'), [`KIN_MANIFEST_RANGE ${at}`]);
  assert.deepEqual(await header('${secret:none}'), [`KIN_MANIFEST_REFERENCE ${at}`]);
  assert.deepEqual(await tracing(`headers: { authorization: '\${secret:collector}' }`), [
    'KIN_MANIFEST_CONFLICT gateway.tracing.headers',
  ]);
});

test('CO1: a literal credential is not shown in the message that refuses it', async (t) => {
  const { load } = await folder(t);
  const text = `{ tracing: { otlpUrl: "${OTLP}", headers: { authorization: hunter2 } } }`;
  await assert.rejects(load(base(text)), (error: Error) => !error.message.includes('hunter2'));
});

test('CO2: a header with a credential cannot be listed for the access log', async (t) => {
  const { load } = await folder(t);
  const listed = (names: string): Promise<string[]> =>
    problems(load, `{ accessLog: { headers: [${names}] } }`);
  assert.deepEqual(await listed('user-agent, X-Case'), []);
  assert.deepEqual(
    await listed('Authorization, cookie, x-api-key, X-Kintsugi-Tenant'),
    [0, 1, 2, 3].map((i) => `KIN_MANIFEST_RANGE gateway.accessLog.headers[${i}]`),
  );
});

test('the rule for gateways has the secrets in place and nothing that is off', async (t) => {
  const { load } = await folder(t);
  const inputs = {
    env: {},
    secrets: new Map([['collector', 'v4lue']]),
    ports: new Map<string, number>(),
    stateDir: '/state',
  };
  const { manifest } = await load(
    base(`
  accessLog: { query: [page], headers: [User-Agent], sample: 50%, maxBytes: 1MiB }
  tracing:
    otlpUrl: ${OTLP}
    headers: { authorization: 'Bearer \${secret:collector}' }
  serverTiming: never`),
  );
  assert.deepEqual(observeRule(manifest, inputs), {
    accessLog: {
      query: ['page'],
      headers: ['user-agent'],
      mask: [],
      paths: 'folded',
      sample: 0.5,
      maxBytes: 1_048_576,
      files: 5,
    },
    tracing: { ratio: 0.1, otlpUrl: OTLP, otlpHeaders: { authorization: 'Bearer v4lue' } },
    serverTiming: 'never',
  });
  assert.deepEqual(manifestFromJson(manifestToJson(manifest)), manifest);
  assert.ok(!manifestToJson(manifest).includes('v4lue'));
  const off = await load(base('{ accessLog: { enabled: false } }'));
  assert.deepEqual(observeRule(off.manifest, inputs), {
    tracing: { ratio: 0.1 },
    serverTiming: 'on-demand',
  });
});

test('a manifest that was stored before there was an access log has none', async (t) => {
  const { load } = await folder(t);
  const { manifest } = await load(base('{}'));
  const { host, port, workers, jwt, retryBudget } = manifest.gateway;
  const before = { ...manifest, gateway: { host, port, workers, jwt, retryBudget } };
  const stored = manifestFromJson(manifestToJson(before));
  assert.deepEqual(stored.gateway, before.gateway);
  const inputs = { env: {}, secrets: new Map(), ports: new Map(), stateDir: '/state' };
  assert.equal(observeRule(stored, inputs).accessLog, undefined);
});
