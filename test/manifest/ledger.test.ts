// What a manifest may say of the ledger: what comes out, what each mistake looks like, and that
// neither a key nor an address with a key is ever shown.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { AnchorSpec } from '../../src/drivers/anchors/open.ts';
import {
  STANDARD_LEDGER,
  changesText,
  diffManifest,
  manifestFromJson,
  manifestToJson,
  resolveAnchors,
} from '../../src/manifest/index.ts';
import { readVkey } from '../../src/manifest/vkey.ts';
import { SERVER, folder } from './fixture.ts';
import type { Folder } from './fixture.ts';

/** A verifier key as c2sp.org/signed-note makes it. */
function vkeyOf(name: string, seed: number, type = 4, length = 32): string {
  const key = Buffer.concat([Buffer.of(type), Buffer.alloc(length, seed)]);
  const id = createHash('sha256').update(`${name}\n`).update(key).digest('hex').slice(0, 8);
  return `${name}+${id}+${key.toString('base64')}`;
}

const NORTH = vkeyOf('north.example/w', 1);
const SOUTH = vkeyOf('south.example/w', 2, 6, 1312);
const ADDRESS = `0x${'ab'.repeat(20)}`;
const FILES = {
  'server.js': '',
  'tsa.pem': '-----BEGIN CERTIFICATE-----\n',
  'policy/witnesses.txt': 'quorum none\n',
  'worm/readme': '',
  'state/readme': '',
};

async function prepared(t: TestContext): Promise<Folder> {
  const made = await folder(t, FILES);
  await writeFile(join(made.dir, 'evm.key'), `0x${'1'.repeat(64)}\n`, { mode: 0o600 });
  await writeFile(join(made.dir, 'open.key'), `0x${'1'.repeat(64)}\n`, { mode: 0o600 });
  await chmod(join(made.dir, 'open.key'), 0o644);
  return made;
}

const CHAIN = `{ kind: evm, name: chain, rpcUrl: 'https://rpc.example/\${secret:rpc}', \
chainId: 10, contract: '${ADDRESS}', owner: '${ADDRESS}'`;

const ledgerOf = (keys: string): string =>
  `name: hello\n${SERVER}\nsecrets: { rpc: { env: RPC_KEY } }\n` +
  'tenants: { north: {}, south: {} }\n' +
  `ledger: { ${keys} }\n`;

const FULL = ledgerOf(`
  publishEvery: 5s,
  witnesses: { require: 1, list: [
    { name: north.example/w, key: '${NORTH}', url: 'https://w.example/x' },
    { key: '${SOUTH}', url: 'http://127.0.0.1:9001' } ] },
  witnessFor: [promote, rollback, promote],
  anchorEveryMs: 60000, anchorEntries: 5000,
  anchors: [
    { kind: rfc3161, name: tsa, url: 'http://tsa.example/tsr', certificatesFile: ./tsa.pem },
    ${CHAIN}, keyFile: evm.key, maxFeeGwei: 0.5, confirmations: 3, poll: 1s },
    { kind: opentimestamps, name: bitcoin, calendars: ['https://cal.example'], timeout: 3s },
    { kind: file, name: worm, path: worm, layout: objects } ],
  retention: { keep: 2190d, tenants: { north: 30d } },
  highWater: worm/mark`);

test('a manifest that says nothing of the ledger has all of its defaults', async (t) => {
  const { load } = await folder(t);
  const { manifest } = await load(`name: hello\n${SERVER}\n`);
  assert.deepEqual(manifest.ledger, {
    publishEveryMs: 1000,
    witnesses: { kind: 'none' },
    witnessFor: [],
    anchorEveryMs: 600_000,
    anchorEntries: 0,
    anchors: [],
    retention: { keepMs: undefined, tenantsMs: new Map() },
    highWater: undefined,
  });
  assert.deepEqual(STANDARD_LEDGER, manifest.ledger);
});

test('a full ledger comes out in plain units, paths are absolute, names are in keys', async (t) => {
  const { load, dir } = await prepared(t);
  const { manifest, warnings } = await load(FULL);
  const { ledger } = manifest;
  assert.deepEqual(warnings, []);
  const { anchors, ...rest } = ledger;
  assert.deepEqual(rest, {
    publishEveryMs: 5000,
    witnesses: {
      kind: 'list',
      require: 1,
      list: [
        { name: 'north.example/w', key: NORTH, url: 'https://w.example/x' },
        { name: 'south.example/w', key: SOUTH, url: 'http://127.0.0.1:9001' },
      ],
    },
    witnessFor: ['promote', 'rollback'],
    anchorEveryMs: 60_000,
    anchorEntries: 5000,
    retention: { keepMs: 2190 * 86_400_000, tenantsMs: new Map([['north', 30 * 86_400_000]]) },
    highWater: join(dir, 'worm/mark'),
  });
  assert.deepEqual(anchors[0], {
    kind: 'rfc3161',
    name: 'tsa',
    url: 'http://tsa.example/tsr',
    certificatesFile: join(dir, 'tsa.pem'),
    timeoutMs: 15_000,
  });
  assert.deepEqual(anchors[1], {
    kind: 'evm',
    name: 'chain',
    rpcUrl: 'https://rpc.example/${secret:rpc}',
    chainId: 10,
    contract: ADDRESS,
    owner: ADDRESS,
    keyFile: join(dir, 'evm.key'),
    fromBlock: 0,
    timeoutMs: 10_000,
    maxFeeGwei: 0.5,
    confirmations: 3,
    pollMs: 1000,
    stuckMs: 120_000,
    waitMs: 1_800_000,
  });
  assert.deepEqual(anchors[2], {
    kind: 'opentimestamps',
    name: 'bitcoin',
    calendars: ['https://cal.example'],
    upgradeFrom: [],
    timeoutMs: 3000,
  });
  const path = join(dir, 'worm');
  assert.deepEqual(anchors[3], { kind: 'file', name: 'worm', path, layout: 'objects' });
});

test('anchors are what their drivers take once the references have their values', async (t) => {
  const { load } = await prepared(t);
  const { manifest } = await load(FULL);
  const specs: readonly AnchorSpec[] = resolveAnchors(
    manifest.ledger,
    { name: 'hello' },
    {
      env: {},
      secrets: new Map([['rpc', 'hunter2']]),
      ports: new Map(),
      stateDir: '/state',
      nodeDir: '/node',
    },
  );
  const evm = specs.find((spec) => spec.kind === 'evm');
  assert.equal(evm?.rpcUrl, 'https://rpc.example/hunter2');
  assert.ok(!manifestToJson(manifest).includes('hunter2'));
});

test('a policy is taken from inside the folder, or from anywhere by its whole path', async (t) => {
  const { load, dir } = await prepared(t);
  const file = join(dir, 'policy/witnesses.txt');
  for (const text of ['./policy/witnesses.txt', file]) {
    const { manifest } = await load(ledgerOf(`witnesses: { policy: '${text}' }`));
    assert.deepEqual(manifest.ledger.witnesses, { kind: 'policy', file });
  }
});

const witness = (keys: string): string =>
  ledgerOf(`witnesses: { require: 1, list: [{ ${keys} }] }`);
const anchor = (keys: string): string => ledgerOf(`anchors: [{ ${keys} }]`);
const good = `key: '${NORTH}', url: 'https://w.example'`;
const HTTP_URL = 'http://w.example/a?key=hunter2';
const DAMAGED = NORTH.replace('AQEB', 'AQEC');
const OTS = 'kind: opentimestamps, name: b';
const TSA = "kind: rfc3161, name: t, url: 'https://t'";

/** What is wrong → the manifest, `code path` of each problem, and the suggestions. */
const BAD: Readonly<
  Record<string, readonly [string, readonly string[], readonly (string | undefined)[]]>
> = {
  'publishing too often': [ledgerOf('publishEvery: 100ms'), ['RANGE .publishEvery'], [undefined]],
  'publishing without a unit': [ledgerOf('publishEvery: 5'), ['UNIT .publishEvery'], ['5s']],
  'a retention of years': [
    ledgerOf('retention: { keep: 6y }'),
    ['UNIT .retention.keep'],
    ['2190d'],
  ],
  'a retention of hours': [
    ledgerOf('retention: { keep: 23h }'),
    ['RANGE .retention.keep'],
    [undefined],
  ],
  'a tenant that is not there': [
    ledgerOf('retention: { tenants: { nort: 30d } }'),
    ['REFERENCE .retention.tenants.nort'],
    ['north'],
  ],
  'a key of another name': [ledgerOf('witnesess: {}'), ['UNKNOWN_KEY '], ['witnesses']],
  'a word of another file': [
    ledgerOf('anchorEveryEntries: 5'),
    ['UNKNOWN_KEY '],
    ['anchorEntries'],
  ],
  'witnesses without a form': [
    ledgerOf('witnesses: {}'),
    ['MISSING .witnesses'],
    ['{ policy: ./witnesses.policy }'],
  ],
  'both forms of witnesses': [
    ledgerOf(`witnesses: { policy: policy/witnesses.txt, require: 1, list: [{ ${good} }] }`),
    ['CONFLICT .witnesses'],
    [undefined],
  ],
  'a list without its quorum': [
    ledgerOf(`witnesses: { list: [{ ${good} }] }`),
    ['MISSING .witnesses.require'],
    ['require: 1'],
  ],
  'a quorum of nobody': [
    ledgerOf('witnesses: { require: 1 }'),
    ['MISSING .witnesses.list'],
    [undefined],
  ],
  'an empty list': [
    ledgerOf('witnesses: { require: 1, list: [] }'),
    ['MISSING .witnesses.list'],
    [undefined],
  ],
  'a quorum above the list': [
    ledgerOf(`witnesses: { require: 2, list: [{ ${good} }] }`),
    ['CONFLICT .witnesses.require'],
    ['1'],
  ],
  'a quorum of zero': [
    ledgerOf(`witnesses: { require: 0, list: [{ ${good} }] }`),
    ['RANGE .witnesses.require'],
    [undefined],
  ],
  'more than 32 witnesses': [
    ledgerOf(
      `witnesses: { require: 1, list: [${Array.from(
        { length: 33 },
        (_, i) => `{ key: '${vkeyOf(`w${i}`, i)}', url: 'https://w' }`,
      ).join(', ')}] }`,
    ),
    ['RANGE .witnesses.list'],
    [undefined],
  ],
  'a policy that is not there': [
    ledgerOf('witnesses: { policy: none.txt }'),
    ['NOT_FOUND .witnesses.policy'],
    [undefined],
  ],
  'a policy that is a folder': [
    ledgerOf('witnesses: { policy: policy }'),
    ['NOT_FOUND .witnesses.policy'],
    [undefined],
  ],
  'a key that is none': [
    witness("key: abc, url: 'https://w'"),
    ['RANGE .witnesses.list[0].key'],
    [undefined],
  ],
  'a key with a wrong character': [
    witness(`key: '${DAMAGED}', url: 'https://w'`),
    ['RANGE .witnesses.list[0].key'],
    [undefined],
  ],
  'the key of a log': [
    witness(`key: '${vkeyOf('log', 3, 1)}', url: 'https://w'`),
    ['RANGE .witnesses.list[0].key'],
    [undefined],
  ],
  'a key of an unknown type': [
    witness(`key: '${vkeyOf('log', 3, 9)}', url: 'https://w'`),
    ['RANGE .witnesses.list[0].key'],
    [undefined],
  ],
  'another name than in the key': [
    witness(`name: south, ${good}`),
    ['CONFLICT .witnesses.list[0].name'],
    ['north.example/w'],
  ],
  'a witness without an address': [
    witness(`key: '${NORTH}'`),
    ['MISSING .witnesses.list[0].url'],
    [undefined],
  ],
  'a witness over plain http': [
    witness(`key: '${NORTH}', url: '${HTTP_URL}'`),
    ['RANGE .witnesses.list[0].url'],
    ['https://w.example/…'],
  ],
  'a witness by host alone': [
    witness(`key: '${NORTH}', url: w.example:9001`),
    ['RANGE .witnesses.list[0].url'],
    ['https://w.example:9001'],
  ],
  'a reference in an address': [
    witness(`key: '${NORTH}', url: 'https://\${env:HOST}'`),
    ['RANGE .witnesses.list[0].url'],
    [undefined],
  ],
  'a password in an address': [
    witness(`key: '${NORTH}', url: 'https://u:hunter2@w'`),
    ['RANGE .witnesses.list[0].url'],
    [undefined],
  ],
  'an unknown playbook': [
    ledgerOf(`witnessFor: [promot], witnesses: { require: 1, list: [{ ${good} }] }`),
    ['REFERENCE .witnessFor[0]'],
    ['promote'],
  ],
  'waiting for witnesses that are not there': [
    ledgerOf('witnessFor: [promote]'),
    ['CONFLICT .witnessFor'],
    ['[]'],
  ],
  'an anchor without a kind': [anchor('name: a'), ['MISSING .anchors[0].kind'], [undefined]],
  'an anchor with a type': [anchor('type: file, name: a'), ['UNKNOWN_KEY .anchors[0]'], ['kind']],
  'an anchor of an unknown kind': [
    anchor('kind: rfc3116'),
    ['RANGE .anchors[0].kind'],
    ['rfc3161'],
  ],
  'an anchor that is a text': [ledgerOf('anchors: [worm]'), ['TYPE .anchors[0]'], [undefined]],
  'a key of another kind of anchor': [
    anchor('kind: file, name: a, path: worm/x, chainId: 1'),
    ['UNKNOWN_KEY .anchors[0]'],
    [undefined],
  ],
  'a name that receipts cannot carry': [
    anchor('kind: file, name: My Worm, path: worm/x'),
    ['RANGE .anchors[0].name'],
    ['my-worm'],
  ],
  'two anchors of one name': [
    ledgerOf(
      'anchors: [{ kind: file, name: a, path: worm/x }, { kind: file, name: a, path: worm/y }]',
    ),
    ['CONFLICT .anchors[1].name'],
    ['a-2'],
  ],
  'certificates that are not there': [
    anchor(`${TSA}, certificatesFile: no.pem`),
    ['NOT_FOUND .anchors[0].certificatesFile'],
    [undefined],
  ],
  'an authority at no address': [
    anchor("kind: rfc3161, name: t, url: 'ftp://t', certificatesFile: tsa.pem"),
    ['RANGE .anchors[0].url'],
    [undefined],
  ],
  'an endless question': [
    anchor(`${TSA}, certificatesFile: tsa.pem, timeout: 1h`),
    ['RANGE .anchors[0].timeout'],
    [undefined],
  ],
  'no calendar': [anchor(`${OTS}, calendars: []`), ['MISSING .anchors[0].calendars'], [undefined]],
  'a calendar with a password': [
    anchor(`${OTS}, calendars: ['https://c', 'https://u:hunter2@c']`),
    ['RANGE .anchors[0].calendars[1]'],
    [undefined],
  ],
  'a calendar with a token': [
    anchor(`${OTS}, calendars: ['https://hunter2@c']`),
    ['RANGE .anchors[0].calendars[0]'],
    [undefined],
  ],
  'a node with a secret for a user': [
    ledgerOf(`anchors: [${CHAIN.replace('https://', 'https://${secret:rpc}@')} }]`),
    ['RANGE .anchors[0].rpcUrl'],
    [undefined],
  ],
  'an account without quotes': [
    anchor(`${CHAIN.slice(2, CHAIN.lastIndexOf(', owner'))}, owner: ${ADDRESS}`),
    ['TYPE .anchors[0].owner'],
    [`"${ADDRESS}"`],
  ],
  'a chain of number zero': [
    ledgerOf(`anchors: [${CHAIN.replace('chainId: 10', 'chainId: 0')} }]`),
    ['RANGE .anchors[0].chainId'],
    [undefined],
  ],
  'a fee without a unit': [
    ledgerOf(`anchors: [${CHAIN}, maxFee: 100 }]`),
    ['UNIT .anchors[0].maxFee'],
    ['100gwei'],
  ],
  'a fee in words': [
    ledgerOf(`anchors: [${CHAIN}, maxFeeGwei: lots }]`),
    ['UNIT .anchors[0].maxFeeGwei'],
    [undefined],
  ],
  'no confirmation at all': [
    ledgerOf(`anchors: [${CHAIN}, confirmations: 0 }]`),
    ['RANGE .anchors[0].confirmations'],
    [undefined],
  ],
  'giving up before trying again': [
    ledgerOf(`anchors: [${CHAIN}, wait: 1m }]`),
    ['CONFLICT .anchors[0].stuck'],
    [undefined],
  ],
  'a node over plain http': [
    ledgerOf(`anchors: [${CHAIN.replace('https:', 'http:')} }]`),
    ['RANGE .anchors[0].rpcUrl'],
    ['https://rpc.example'],
  ],
  'a node that speaks something else': [
    ledgerOf(`anchors: [${CHAIN.replace('https:', 'wss:')} }]`),
    ['RANGE .anchors[0].rpcUrl'],
    [undefined],
  ],
  'an unknown secret in the address of a node': [
    ledgerOf(`anchors: [${CHAIN.replace('secret:rpc', 'secret:rcp')} }]`),
    ['REFERENCE .anchors[0].rpcUrl'],
    ['${secret:rpc}'],
  ],
  'a key file that is not there': [
    ledgerOf(`anchors: [${CHAIN}, keyFile: no.key }]`),
    ['NOT_FOUND .anchors[0].keyFile'],
    [undefined],
  ],
  'a reference for a file': [
    ledgerOf("highWater: '${state}/mark'"),
    ['RANGE .highWater'],
    [undefined],
  ],
  'a file in a folder that is not there': [
    anchor('kind: file, name: a, path: none/x'),
    ['NOT_FOUND .anchors[0].path'],
    [undefined],
  ],
  'objects in no folder': [
    anchor('kind: file, name: a, path: worm/none, layout: objects'),
    ['NOT_FOUND .anchors[0].path'],
    [undefined],
  ],
  'lines in a folder': [
    anchor('kind: file, name: a, path: worm'),
    ['RANGE .anchors[0].path'],
    [undefined],
  ],
  'a mark that is a folder': [ledgerOf('highWater: worm'), ['RANGE .highWater'], [undefined]],
};

for (const [what, [text, expected, suggestions]] of Object.entries(BAD)) {
  test(`bad input: ${what}`, async (t) => {
    const { problems } = await prepared(t);
    const found = await problems(text);
    const seen = found.all.map((p) => `${p.code.slice(13)} ${p.path.replace(/^ledger/u, '')}`);
    assert.deepEqual(seen, expected, found.text);
    assert.deepEqual(
      found.all.map((p) => p.suggestion),
      suggestions,
      found.text,
    );
    for (const problem of found.all) assert.ok(problem.line >= 5 && problem.column > 1);
    assert.ok(!found.text.includes('hunter2'), found.text);
  });
}

test('the second spelling of a key wants a plain number, and says so', async (t) => {
  const { problems } = await prepared(t);
  const found = await problems(ledgerOf(`anchors: [${CHAIN}, maxFeeGwei: 5gwei }]`));
  assert.match(found.text, /expected a plain number such as 1 or 0\.5/);
});

test('PR1: mistakes in nested lists are told at their own line and column', async (t) => {
  const { problems } = await prepared(t);
  const found = await problems(`name: hello
${SERVER}
ledger:
  witnesses:
    require: 3
    list:
      - { key: '${NORTH}', url: 'https://w' }
      - key: '${SOUTH}'
        url: http://w.example
  anchors:
    - kind: file
      name: worm
      path: none/x
    - kind: evn
`);
  assert.deepEqual(found.short, [
    'CONFLICT ledger.witnesses.require 5:14',
    'RANGE ledger.witnesses.list[1].url 9:14',
    'NOT_FOUND ledger.anchors[0].path 13:13',
    'RANGE ledger.anchors[1].kind 14:13',
  ]);
  const [require] = found.text.split('\n').slice(2);
  assert.equal(
    require,
    '  ledger.witnesses.require: found 3, ' +
      'expected at most 2, as many as there are in the list',
  );
});

test('CL1: one witness under two names or two keys does not count twice', async (t) => {
  const { problems } = await prepared(t);
  const listed = (...keys: string[]): string =>
    ledgerOf(
      `witnesses: { require: 2, list: [${keys
        .map((key) => `{ key: '${key}', url: 'https://w' }`)
        .join(', ')}] }`,
    );
  const sameKey = await problems(listed(NORTH, SOUTH, vkeyOf('other.example', 1)));
  assert.match(sameKey.text, /list\[2\]\.key: found the key of list\[0\] again/);
  const sameName = await problems(listed(NORTH, vkeyOf('north.example/w', 9)));
  assert.match(sameName.text, /list\[1\]\.key: found the name of list\[0\] again/);
});

test('CL2: http is for this machine, and for media whose answers prove themselves', async (t) => {
  const { problems } = await prepared(t);
  const urls = ['http://localhost:1', 'http://127.0.0.1/x', 'http://[::1]:80/', 'https://w:1/a'];
  for (const url of urls) {
    const rpc = CHAIN.replace(/'https:[^']*'/u, `'${url}'`);
    const text = `witnesses: { require: 1, list: [{ key: '${NORTH}', url: '${url}' }] }`;
    assert.deepEqual((await problems(ledgerOf(`${text}, anchors: [${rpc} }]`))).short, [], url);
  }
  for (const url of [
    'http://127.0.0.1.evil.example',
    'http://localhost@evil.example',
    'http://1',
  ]) {
    assert.equal((await problems(witness(`key: '${NORTH}', url: '${url}'`))).all.length, 1, url);
  }
  const tsa = "kind: rfc3161, name: t, url: 'http://tsa', certificatesFile: tsa.pem";
  assert.deepEqual((await problems(anchor(tsa))).short, []);
});

test('LF1: a policy does not leave the folder by dots or by a link', async (t) => {
  const { dir, problems } = await prepared(t);
  const other = await folder(t, { 'p.txt': '' });
  await symlink(join(other.dir, 'p.txt'), join(dir, 'link.txt'));
  await mkdir(join(dir, 'sub'));
  for (const policy of ['../p.txt', './link.txt', 'sub/../../p.txt']) {
    const found = await problems(ledgerOf(`witnesses: { policy: '${policy}' }`));
    assert.deepEqual(found.short, ['RANGE ledger.witnesses.policy 5:32'], policy);
    assert.match(found.text, /which leads out of the folder/);
  }
});

test('LF2: the high-water mark is refused inside the state folder, by any way', async (t) => {
  const { dir, problems, load } = await prepared(t);
  await symlink(join(dir, 'state'), join(dir, 'alias'));
  const options = { stateDir: join(dir, 'state') };
  for (const path of ['state/mark', 'worm/../state/mark', 'alias/mark', join(dir, 'state/a/b')]) {
    const found = await problems(ledgerOf(`highWater: '${path}'`), options);
    assert.deepEqual(found.short, ['CONFLICT ledger.highWater 5:22'], path);
  }
  const standard = await problems(ledgerOf('highWater: .kintsugi/mark'));
  assert.deepEqual(standard.short, ['CONFLICT ledger.highWater 5:22'], standard.text);
  await load(ledgerOf('highWater: state/mark'), { stateDir: join(dir, 'other') });
  const { warnings } = await load(anchor('kind: file, name: a, path: state/x'), options);
  assert.deepEqual(
    warnings.map((w) => `${w.kind} ${w.path} ${w.line}`),
    ['anchor-inside ledger.anchors[0].path 5'],
  );
});

test('LF3: a key in place of its file, or in a file for others, is refused unseen', async (t) => {
  const { dir, problems } = await prepared(t);
  const key = 'c0ffee'.repeat(11).slice(0, 64);
  for (const text of [`'${key}'`, `'0x${key}'`, `0x${key}`]) {
    const found = await problems(ledgerOf(`anchors: [${CHAIN}, keyFile: ${text} }]`));
    assert.equal(found.all.length, 1, found.text);
    assert.equal(found.all[0]?.path, 'ledger.anchors[0].keyFile');
    assert.ok(!found.text.includes('c0ffee'), found.text);
  }
  const open = await problems(ledgerOf(`anchors: [${CHAIN}, keyFile: open.key }]`));
  assert.equal(open.all[0]?.suggestion, `chmod 600 ${join(dir, 'open.key')}`);
  await symlink(join(dir, 'evm.key'), join(dir, 'link.key'));
  const link = await problems(ledgerOf(`anchors: [${CHAIN}, keyFile: link.key }]`));
  assert.match(link.text, /found something that is not a file/);
});

test('PR2: a private key is never shown, nor an address that holds a key', async (t) => {
  const { problems, load } = await prepared(t);
  const secret = 'hunter2hunter2hunter2';
  const texts = [
    witness(`key: 'PRIVATE+KEY+w+26e44a48+${secret}', url: 'https://w'`),
    witness(`key: [${secret}], url: 'https://w'`),
    witness(`key: '${NORTH}', url: 'http://w.example/${secret}'`),
    witness(`key: '${NORTH}', url: [${secret}]`),
    ledgerOf(`anchors: [${CHAIN.replace(/'https:[^']*'/u, `'http://h/${secret}'`)} }]`),
    ledgerOf(`anchors: [${CHAIN.replace(/'https:[^']*'/u, `'ftp://h/${secret}'`)} }]`),
    ledgerOf(`anchors: [${CHAIN.replace(/'https:[^']*'/u, `'https://h/${secret}\${nope}'`)} }]`),
    anchor(`${OTS}, calendars: 'https://c/${secret}'`),
  ];
  for (const text of texts) {
    const found = await problems(text);
    assert.ok(found.all.length > 0, text);
    assert.ok(!found.text.includes('hunter2'), found.text);
  }
  const literal = ledgerOf(`anchors: [${CHAIN.replace('${secret:rpc}', secret)} }]`);
  const { warnings } = await load(literal);
  assert.deepEqual(
    warnings.map((w) => `${w.kind} ${w.path}`),
    ['secret-literal ledger.anchors[0].rpcUrl'],
  );
  assert.ok(!JSON.stringify(warnings).includes('hunter2'));
});

test('DF1, DF2: a plan names what changes and shows no address with a key', async (t) => {
  const { load } = await prepared(t);
  const before = (await load(ledgerOf('publishEvery: 1s'))).manifest;
  const after = (
    await load(
      ledgerOf(`publishEvery: 10s,
  witnesses: { require: 1, list: [{ ${good} }] },
  witnessFor: [promote], anchorEvery: 1h,
  anchors: [
    { kind: file, name: worm, path: worm/x },
    ${CHAIN.replace('${secret:rpc}', 'v3/hunter2hunter2hunter2')} }],
  retention: { keep: 30d, tenants: { north: 2190d } }`),
    )
  ).manifest;
  const text = changesText('hello', diffManifest(before, after));
  assert.ok(!text.includes('hunter2'), text);
  const lines = text.split('\n').map((line) => line.trim().replaceAll(/ {2,}/gu, ' | '));
  const later = 'restarts the control plane only';
  for (const line of [
    `publishEvery: 1s → 10s | ${later}`,
    `witnesses.require: (none) → 1 | ${later}`,
    `witnesses.list[0].key: (none) → ${NORTH.slice(0, 59)}… | ${later}`,
    'witnessFor: [] → [promote] | live',
    `anchorEvery: 10m → 1h | ${later}`,
    `anchors[0].kind: (none) → file | ${later}`,
    `anchors[0].name: (none) → worm | ${later}`,
    `anchors[1].rpcUrl: (none) → (not shown) | ${later}`,
    `anchors[1].maxFee: (none) → 100gwei | ${later}`,
    'retention.keep: (none) → 30d | live',
    'retention.tenants.north: (none) → 2190d | live',
  ]) {
    assert.ok(lines.includes(line), `${line}\n${text}`);
  }
  const other = changesText('hello', diffManifest(after, before));
  assert.match(other, /witnesses\.require: 1 → \(none\)/);
  assert.ok(!/witnesses\.kind/.test(`${text}${other}`), 'only keys of the manifest are named');
});

test('MJ1: the ledger comes back from JSON, also where none was stored', async (t) => {
  const { load } = await prepared(t);
  const { manifest } = await load(FULL);
  assert.deepEqual(manifestFromJson(manifestToJson(manifest)), manifest);
  const stored = JSON.parse(manifestToJson(manifest)) as { manifest: { ledger?: unknown } };
  delete stored.manifest.ledger;
  const old = manifestFromJson(JSON.stringify(stored));
  assert.deepEqual(old, { ...manifest, ledger: STANDARD_LEDGER });
});

test('each single wrong character of a verifier key is noticed', () => {
  assert.equal(readVkey(NORTH).fault, undefined);
  assert.equal(readVkey(SOUTH).fault, undefined);
  for (let i = 0; i < NORTH.length; i += 1) {
    const other = NORTH[i] === 'A' ? 'B' : 'A';
    const text = `${NORTH.slice(0, i)}${other}${NORTH.slice(i + 1)}`;
    assert.equal(readVkey(text).fault, 'damaged', `${i}`);
  }
});
