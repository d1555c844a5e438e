// Do certificates change without anybody noticing, and does a broken one change nothing?
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KinError } from '../../../src/model/errors.ts';
import { printOf, readPem } from '../../../src/gateway/tls/files.ts';
import { readMaterial } from '../../../src/gateway/tls/pair.ts';
import type { CertificateFiles } from '../../../src/gateway/tls/settings.ts';
import { readTls } from '../../../src/gateway/tls/settings.ts';
import { dns, GET, openAuthority, openClient, openFront } from './rig.ts';
import type { Authority, TestFront } from './rig.ts';

const DAY_MS = 86_400_000;
let authority: Authority;
let made = 0;

before(() => {
  authority = openAuthority();
});
after(() => authority.close());

function issueOne(options: Parameters<Authority['issue']>[1] = {}): CertificateFiles {
  made += 1;
  return authority.issue(`pair${made}`, options);
}

/** Puts the files of one in the place of those of another, as an atomic writer does. */
function replace(place: CertificateFiles, by: Partial<CertificateFiles>): void {
  for (const part of ['cert', 'key'] as const) {
    const from = by[part];
    if (from === undefined) continue;
    copyFileSync(from, `${place[part]}.new`);
    chmodSync(`${place[part]}.new`, 0o600);
    renameSync(`${place[part]}.new`, place[part]);
  }
}

function lookTwice(front: TestFront): void {
  front.certificates?.look();
  front.certificates?.look();
}

async function served(front: TestFront, servername = 'api.example'): Promise<string> {
  const options = { servername, checkServerIdentity: () => undefined };
  const client = await openClient(front.port, authority, options);
  const { CN } = client.socket.getPeerCertificate().subject;
  client.socket.destroy();
  return String(CN);
}

const codeOf = (act: () => unknown): string => {
  try {
    act();
    return 'nothing thrown';
  } catch (error) {
    if (error instanceof KinError) return error.code;
    throw error;
  }
};

test('TL3. a new certificate is for new connections; the old connection goes on', async () => {
  const place = issueOne();
  const front = await openFront(authority, [place]);
  const old = await openClient(front.port, authority);
  const first = await served(front);
  const next = issueOne();
  replace(place, next);
  lookTwice(front);
  const second = await served(front);
  assert.notEqual(second, first);
  old.socket.write(GET);
  await old.until(/hello/u);
  assert.equal(front.told.at(-1)?.trouble, undefined);
  old.socket.destroy();
  await front.close();
});

test('CT2. a certificate that came before its key waits for it, without an alarm', async () => {
  const place = issueOne();
  const front = await openFront(authority, [place]);
  const first = await served(front);
  const next = issueOne();
  replace(place, { cert: next.cert });
  front.certificates?.look();
  replace(place, { key: next.key });
  front.certificates?.look();
  assert.equal(await served(front), first);
  front.certificates?.look();
  assert.notEqual(await served(front), first);
  assert.ok(front.told.every((state) => state.trouble === undefined));
  await front.close();
});

test('CT1. a broken pair changes nothing and is told: each way of being broken', async () => {
  const place = issueOne();
  const front = await openFront(authority, [place]);
  const first = await served(front);
  const stranger = issueOne();
  const breakages: readonly (readonly [RegExp, () => void])[] = [
    [
      /KIN_TLS_CERTIFICATE: the key .* does not belong/u,
      () => replace(place, { key: stranger.key }),
    ],
    [/KIN_TLS_EXPIRED/u, () => replace(place, issueOne({ days: -1 }))],
    [/KIN_TLS_CERTIFICATE: .* holds only from/u, () => replace(place, issueOne({ fromDays: 2 }))],
    [/KIN_TLS_CERTIFICATE: no certificate/u, () => writeFileSync(place.cert, 'garbage')],
    [/KIN_TLS_CERTIFICATE: no certificate/u, () => writeFileSync(place.cert, '')],
    [
      /KIN_TLS_KEY_OPEN: .* mode is 0644/u,
      () => {
        replace(place, stranger);
        chmodSync(place.key, 0o644);
      },
    ],
    [/KIN_TLS_KEY_OPEN: .* mode is 0640/u, () => chmodSync(place.key, 0o640)],
    [/KIN_TLS_FILE: .* ENOENT/u, () => rmSync(place.key)],
    [/KIN_TLS_FILE: .* not a file/u, () => mkdirSync(place.key)],
  ];
  for (const [trouble, act] of breakages) {
    const { length } = front.told;
    act();
    lookTwice(front);
    lookTwice(front);
    assert.match(front.told.at(-1)?.trouble ?? '', trouble);
    assert.equal(front.told.length, length + 1, 'told once');
    assert.equal(await served(front), first);
    assert.doesNotMatch(front.told.at(-1)?.trouble ?? '', /PRIVATE|BEGIN/u);
  }
  rmSync(place.key, { recursive: true });
  replace(place, stranger);
  lookTwice(front);
  assert.equal(front.told.at(-1)?.trouble, undefined);
  assert.notEqual(await served(front), first);
  await front.close();
});

test('CT3. one broken pair does not keep another from being renewed', async () => {
  const [one, two] = [issueOne(), issueOne({ alt: [dns('two.example')] })];
  const front = await openFront(authority, [one, two]);
  const before = [await served(front), await served(front, 'two.example')];
  writeFileSync(one.cert, 'garbage');
  replace(two, issueOne({ alt: [dns('two.example'), dns('more.example')] }));
  lookTwice(front);
  assert.equal(await served(front), before[0]);
  assert.notEqual(await served(front, 'two.example'), before[1]);
  assert.equal(await served(front, 'more.example'), await served(front, 'two.example'));
  await front.close();
});

test('TF4. the swap of a linked folder, as Kubernetes does it, is taken up', async () => {
  const mount = join(authority.folder, 'mount');
  const [old, next] = [issueOne(), issueOne()];
  for (const [name, files] of [
    ['..1', old],
    ['..2', next],
  ] as const) {
    mkdirSync(join(mount, name), { recursive: true, mode: 0o755 });
    copyFileSync(files.cert, join(mount, name, 'tls.crt'));
    copyFileSync(files.key, join(mount, name, 'tls.key'));
    chmodSync(join(mount, name, 'tls.key'), 0o600);
    // Neither size nor time tells them apart.
    for (const file of ['tls.crt', 'tls.key']) utimesSync(join(mount, name, file), 1, 1);
  }
  symlinkSync('..1', join(mount, '..data'));
  symlinkSync('..data/tls.crt', join(mount, 'tls.crt'));
  symlinkSync('..data/tls.key', join(mount, 'tls.key'));
  const place = { cert: join(mount, 'tls.crt'), key: join(mount, 'tls.key'), hosts: [] };
  const front = await openFront(authority, [place]);
  const first = await served(front);
  symlinkSync('..2', join(mount, '..data_tmp'));
  renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
  lookTwice(front);
  assert.notEqual(await served(front), first);
  await front.close();
});

test('the end of a certificate is told in days, each day once', async () => {
  let nowMs = Date.now();
  const place = issueOne({ days: 90 });
  const front = await openFront(authority, [place], { nowMs: () => nowMs });
  assert.equal(front.told[0]?.daysLeft, 89);
  nowMs += 50 * DAY_MS;
  lookTwice(front);
  assert.equal(front.told.length, 1, 'far away is no news');
  nowMs += 20 * DAY_MS;
  lookTwice(front);
  assert.equal(front.told.at(-1)?.daysLeft, 19);
  assert.equal(front.told.length, 2);
  nowMs += DAY_MS;
  lookTwice(front);
  assert.equal(front.told.at(-1)?.daysLeft, 18);
  nowMs += 30 * DAY_MS;
  lookTwice(front);
  assert.equal(front.told.at(-1)?.daysLeft, -12);
  replace(place, issueOne({ days: 200 }));
  lookTwice(front);
  assert.deepEqual([front.told.at(-1)?.daysLeft, front.told.length], [98, 5]);
  await front.close();
});

test('an expired certificate is served at a start, and told', async () => {
  const front = await openFront(authority, [issueOne({ days: -1 })]);
  assert.match(front.told[0]?.trouble ?? '', /KIN_TLS_EXPIRED/u);
  await assert.rejects(openClient(front.port, authority), /CERT_HAS_EXPIRED/u);
  const client = await openClient(front.port, authority, { rejectUnauthorized: false });
  client.socket.write(GET);
  await client.until(/hello/u);
  client.socket.destroy();
  await front.close();
});

test('PR1. a start with a pair that does not fit ends with a code', async () => {
  const files = { ...issueOne(), key: issueOne().key };
  assert.equal(
    codeOf(() => readMaterial(files)),
    'KIN_TLS_CERTIFICATE',
  );
  await assert.rejects(openFront(authority, [files]), { code: 'KIN_TLS_CERTIFICATE' });
  const gone = { ...files, cert: join(authority.folder, 'nothing') };
  await assert.rejects(openFront(authority, [gone]), { code: 'KIN_TLS_FILE' });
});

test('TF1. TF3. a key is read only if nobody else can, from a plain file of bounded size', () => {
  const { key, cert } = issueOne();
  assert.match(readPem(key, 'key').toString(), /PRIVATE KEY/u);
  for (const mode of [0o604, 0o640, 0o620, 0o601]) {
    chmodSync(key, mode);
    assert.equal(
      codeOf(() => readPem(key, 'key')),
      'KIN_TLS_KEY_OPEN',
    );
  }
  chmodSync(key, 0o400);
  assert.match(readPem(key, 'key').toString(), /PRIVATE KEY/u);
  chmodSync(cert, 0o644);
  assert.match(readPem(cert, 'certificate').toString(), /BEGIN/u);
  writeFileSync(cert, Buffer.alloc(1_048_577));
  assert.equal(
    codeOf(() => readPem(cert, 'certificate')),
    'KIN_TLS_FILE',
  );
});

test('TF2. a key in a folder where others may exchange it is not used', () => {
  const { key } = issueOne();
  const folder = join(authority.folder, 'open');
  mkdirSync(folder);
  const moved = join(folder, 'tls.key');
  copyFileSync(key, moved);
  chmodSync(moved, 0o600);
  chmodSync(folder, 0o777);
  assert.equal(
    codeOf(() => readPem(moved, 'key')),
    'KIN_TLS_FILE',
  );
  // A link in a safe folder that leads there is no better.
  const link = join(authority.folder, 'link.key');
  symlinkSync(moved, link);
  assert.equal(
    codeOf(() => readPem(link, 'key')),
    'KIN_TLS_FILE',
  );
  chmodSync(folder, 0o1777);
  assert.match(readPem(link, 'key').toString(), /PRIVATE KEY/u, 'sticky: only the owner can');
  assert.notEqual(printOf([link]), printOf([moved, moved]));
  assert.match(printOf([join(folder, 'none')]), /ENOENT/u);
  assert.equal(statSync(moved).mode & 0o777, 0o600);
});

test('TS1. TS2. settings that are not understood stop the worker', () => {
  const good = {
    certificates: [{ cert: '/c', key: '/k', hosts: ['a.example'] }] as const,
    clientCa: undefined,
    clientAuth: 'none' as const,
    minVersion: '1.2' as const,
    redirectPort: 0,
  };
  assert.deepEqual(readTls(JSON.stringify(good)), good);
  const bad: readonly unknown[] = [
    'text',
    [],
    {},
    { ...good, certificates: [] },
    { ...good, certificates: [{ cert: 'c', key: '/k', hosts: [] }] },
    { ...good, certificates: [{ cert: '/c', key: '/k', hosts: [1] }] },
    { ...good, clientAuth: 'maybe' },
    { ...good, clientAuth: 'required' },
    { ...good, clientAuth: 'optional' },
    { ...good, minVersion: '1.1' },
    { ...good, minVersion: 1.2 },
    { ...good, redirectPort: 65_536 },
    { ...good, redirectPort: '80' },
    { ...good, clientCa: 'ca.pem' },
  ];
  for (const value of bad)
    assert.equal(
      codeOf(() => readTls(JSON.stringify(value))),
      'KIN_TLS_SETTING',
    );
  assert.equal(
    codeOf(() => readTls('{')),
    'KIN_TLS_SETTING',
  );
});
