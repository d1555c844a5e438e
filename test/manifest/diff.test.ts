import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import {
  changesText,
  diffManifest,
  manifestFromJson,
  manifestToJson,
} from '../../src/manifest/index.ts';
import { buildManifest } from '../../src/manifest/build.ts';
import { MANIFEST } from '../../src/manifest/keys.ts';
import type { Draft } from '../../src/manifest/keys.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { arbitraryOf } from './arbitrary.ts';
import { folder, structure } from './fixture.ts';

const BEFORE = `name: clinic
secrets: { db: { generate: 32 }, kept: { generate: 32 } }
services:
  database: { kind: stateful, command: [node, server.js], env: { PASSWORD: '\${secret:db}' } }
  records:
    command: [node, server.js]
    env: { LOG_LEVEL: info, API_KEY: one, DB: '\${secret:db}' }
    replicas: { min: 3, max: 6, spares: 1 }
  old: { command: [node, server.js] }
tenants: { northside: { region: eu }, gone: {} }
`;
const AFTER = `name: clinic
gateway: { workers: 4, retryBudget: 30% }
control: { port: 9000 }
secrets: { db: { file: ./db }, kept: { generate: 64 } }
services:
  database:
    kind: stateful
    command: [node, server.js, --fast]
    env: { PASSWORD: '\${secret:db}' }
  records:
    command: [node, server.js]
    env: { LOG_LEVEL: debug, API_KEY: two, DB: '\${secret:db}' }
    replicas: { min: 4, max: 8, spares: 0 }
    readiness: { http: /readyz, interval: 1s }
    resources: { memory: 256MiB }
  new: { command: [node, server.js], replicas: { min: 2, spares: 1 } }
tenants: { northside: { region: us, quotas: { rate: 50/s } }, joined: {} }
healing: { mode: suggest, approvalDeadline: 1h }
`;

async function both(t: TestContext): Promise<readonly [Manifest, Manifest]> {
  const { load } = await folder(t);
  return [(await load(BEFORE)).manifest, (await load(AFTER)).manifest];
}

test('DF1: the text of a plan names every change and what it does to replicas', async (t) => {
  const [before, after] = await both(t);
  assert.equal(
    changesText('clinic', diffManifest(before, after)),
    `clinic: 25 changes

~ gateway
    workers: 2 → 4                                        replaces the gateway workers one by one
    retryBudget: 20% → 30%                                live
~ control
    port: 8081 → 9000                                     restarts the control plane only
~ secret db
    generate: 32 → (none)                                 restarts database, rolls records (4)
    file: (none) → ./db                                   restarts database, rolls records (4)
~ secret kept
    generate: 32 → 64                                     live
~ service database
    command: [node, server.js] → [node, server.js, --fast]  restarts database
~ service records
    env.LOG_LEVEL: info → debug                           rolls records (4)
    env.API_KEY: (not shown) → (not shown)                rolls records (4)
    replicas.min: 3 → 4                                   starts 1 replica
    replicas.max: 6 → 8                                   live
    replicas.spares: 1 → 0                                stops 1 spare
    readiness.tcp: true → (none)                          live
    readiness.interval: 500ms → 1s                        live
    readiness.http: (none) → /readyz                      live
    resources.memory: (none) → 256MiB                     rolls records (4)
- service old                                             stops 2 replicas
+ service new                                             starts 2 replicas, 1 spare
~ tenant northside
    region: eu → us                                       live
    quotas.rate: 100/s → 50/s                             live
    quotas.burst: 200 → 100                               live
- tenant gone                                             live
+ tenant joined                                           live
~ healing
    mode: automatic → suggest                             live
    approvalDeadline: 15m → 1h                            live

Rolled one by one, capacity kept: records (4).
Restarted in place, a short gap: database.
Stopped replicas are drained first.
`,
  );
});

test('DF1: nothing runs yet: all that is wanted is added', async (t) => {
  const [before] = await both(t);
  assert.equal(
    changesText('clinic', diffManifest(undefined, before)),
    `clinic: 7 changes

+ secret db                                               live
+ secret kept                                             live
+ service database                                        starts 1 replica
+ service records                                         starts 3 replicas, 1 spare
+ service old                                             starts 2 replicas
+ tenant northside                                        live
+ tenant gone                                             live

No running replica is touched.
`,
  );
});

test('DF1: equal manifests have no change, whatever is in them', async (t) => {
  const [before, after] = await both(t);
  assert.deepEqual(diffManifest(before, before), []);
  assert.equal(changesText('clinic', diffManifest(after, after)), 'clinic: nothing to change\n');
});

test('DF2: a value that may be a secret is named and not shown', async (t) => {
  const [before, after] = await both(t);
  const change = diffManifest(before, after).find((c) => c.field === 'env.API_KEY');
  assert.deepEqual([change?.from, change?.to], ['(not shown)', '(not shown)']);
});

const anyManifest = arbitraryOf(MANIFEST).map((value) => {
  const { draft } = structure(stringify(value, { aliasDuplicateObjects: false }));
  return completed(draft as Draft);
});

const KEY = 'witness.example/w+26e44a48+BAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH';

/** Random drafts may lack what only the cross-checks demand. */
function completed(draft: Draft): Manifest {
  const secrets = new Map(
    [...draft.secrets].map(([name, s]) => [name, { ...s, generate: s.generate ?? 32 }]),
  );
  const dependencies = new Map(
    [...draft.dependencies].map(([name, d]) => [name, { ...d, url: d.url ?? 'tcp://h:1' }]),
  );
  const day = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' };
  const freezeWindows = draft.healing.freezeWindows.map((window) => ({ ...window, ...day }));
  const healing = { ...draft.healing, freezeWindows };
  const { witnesses } = draft.ledger;
  const list = [{ name: undefined, key: KEY, url: 'https://w.example' }];
  const whole = { policy: witnesses?.policy, require: 1, list: witnesses?.list ?? list };
  const ledger = { ...draft.ledger, witnesses: witnesses === undefined ? undefined : whole };
  return buildManifest({ ...draft, secrets, dependencies, healing, ledger }, '/base');
}

test('MJ1: any manifest comes back from JSON as it was', () => {
  fc.assert(
    fc.property(anyManifest, anyManifest, (a, b) => {
      assert.deepEqual(manifestFromJson(manifestToJson(a)), a);
      assert.equal(manifestToJson(manifestFromJson(manifestToJson(a))), manifestToJson(a));
      assert.deepEqual(diffManifest(a, manifestFromJson(manifestToJson(a))), []);
      if (manifestToJson(a) !== manifestToJson(b)) diffManifest(a, b);
    }),
    { numRuns: 60 },
  );
});

test('MJ2: a text of another version or shape is refused', async (t) => {
  const [before] = await both(t);
  const good = manifestToJson(before);
  const bad = [
    '',
    '{}',
    'null',
    '[1]',
    good.replace('"v":1', '"v":2'),
    good.slice(0, -9),
    '{"v":1,"manifest":{}}',
    good.replace('"northside"', '"North Side"'),
  ];
  for (const text of bad) {
    assert.throws(() => manifestFromJson(text), { code: 'KIN_MANIFEST_STORED' }, text.slice(0, 40));
  }
});
