// Who is a client by its certificate, and can anybody pass for somebody, by a foreign authority, an
// old session, or a name inside a name?
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { after, before, test } from 'node:test';
import { peerFrom, peerOf, splitNames } from '../../../src/gateway/tls/peer.ts';
import { EPOCH_MS, openTickets } from '../../../src/gateway/tls/tickets.ts';
import type { CertificateFiles } from '../../../src/gateway/tls/settings.ts';
import { dns, GET, openAuthority, openClient, openFront } from './rig.ts';
import type { Authority, FrontOptions, SecureClient, TestFront } from './rig.ts';

let authority: Authority;
let foreign: Authority;
let one: CertificateFiles;

before(() => {
  authority = openAuthority();
  foreign = openAuthority();
  one = authority.issue('one');
});
after(() => {
  authority.close();
  foreign.close();
});

const ALT = [{ kind: 'uri', value: 'spiffe://kin/acme' }, dns('Acme.Client.Example')] as const;

function keyPair({ cert, key }: CertificateFiles): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

async function ask(client: SecureClient): Promise<void> {
  client.socket.write(GET);
  await client.until(/hello/u);
}

function mutual(options: Partial<FrontOptions> = {}): Promise<TestFront> {
  return openFront(authority, [one], {
    clientCa: authority.ca,
    clientAuth: 'required',
    ...options,
  });
}

async function comesIn(front: TestFront, options: object): Promise<boolean> {
  try {
    const client = await openClient(front.port, authority, options);
    client.socket.write(GET);
    await client.until(/hello/u);
    client.socket.destroy();
    return true;
  } catch {
    return false;
  }
}

test('TL2. required: nobody without a certificate, with a foreign or an expired one', async () => {
  const front = await mutual();
  const good = keyPair(authority.issue('client', { alt: ALT }));
  assert.equal(await comesIn(front, good), true);
  assert.equal(await comesIn(front, {}), false);
  assert.equal(await comesIn(front, { maxVersion: 'TLSv1.2' }), false);
  const stranger = keyPair(foreign.issue('client', { alt: ALT }));
  assert.equal(await comesIn(front, stranger), false);
  assert.equal(await comesIn(front, keyPair(authority.issue('late', { days: -1 }))), false);
  assert.equal(front.views.length, 1);
  await front.close();
});

test('TL2. optional: without one nobody in particular, a foreign one is refused', async () => {
  const front = await mutual({ clientAuth: 'optional' });
  assert.equal(await comesIn(front, {}), true);
  assert.equal(front.views[0]?.peer, undefined);
  assert.equal(await comesIn(front, keyPair(foreign.issue('other', { alt: ALT }))), false);
  assert.equal(await comesIn(front, keyPair(authority.issue('mine', { alt: ALT }))), true);
  assert.equal(front.views.length, 2);
  await front.close();
});

test('the hooks see who the certificate is for, also in a resumed session', async () => {
  const files = authority.issue('seen', { alt: ALT });
  const front = await mutual();
  const first = await openClient(front.port, authority, keyPair(files));
  await ask(first);
  await first.until(/hello/u);
  while (first.session === undefined) await new Promise((resolve) => setImmediate(resolve));
  const again = await openClient(front.port, authority, {
    ...keyPair(files),
    session: first.session,
  });
  assert.equal(again.socket.isSessionReused(), true);
  await ask(again);
  const leaf = new X509Certificate(readFileSync(files.cert));
  const expected = {
    sha256: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    subject: 'CN=seen',
    uris: ['spiffe://kin/acme'],
    dnsNames: ['acme.client.example'],
    notAfterMs: Date.parse(leaf.validTo),
  };
  assert.deepEqual(
    front.views.map((view) => view.peer),
    [expected, expected],
  );
  first.socket.destroy();
  again.socket.destroy();
  await front.close();
});

test('PE1. a session that was begun without a certificate stays nobody when resumed', async () => {
  const optional = await mutual({ clientAuth: 'optional' });
  const first = await openClient(optional.port, authority);
  await ask(first);
  while (first.session === undefined) await new Promise((resolve) => setImmediate(resolve));
  const { session } = first;
  const again = await openClient(optional.port, authority, { session });
  await ask(again);
  assert.equal(again.socket.isSessionReused(), true);
  assert.deepEqual(
    optional.views.map((view) => view.peer),
    [undefined, undefined],
  );
  // The same state folder, so the same ticket keys: where one is required the ticket is no pass.
  const required = await mutual();
  assert.equal(await comesIn(required, { session }), false);
  assert.equal(required.views.length, 0);
  for (const client of [first, again]) client.socket.destroy();
  await optional.close();
  await required.close();
});

test('CT4. after a change of the authorities an old session is not resumed', async () => {
  const ca = join(authority.folder, 'clients.pem');
  writeFileSync(ca, readFileSync(authority.ca));
  const front = await mutual({ clientCa: ca });
  const client = await openClient(front.port, authority, keyPair(authority.issue('was')));
  await ask(client);
  while (client.session === undefined) await new Promise((resolve) => setImmediate(resolve));
  const { session } = client;
  writeFileSync(`${ca}.new`, readFileSync(foreign.ca));
  renameSync(`${ca}.new`, ca);
  front.certificates?.look();
  front.certificates?.look();
  const was = { ...keyPair(authority.issue('was')), session };
  assert.equal(await comesIn(front, was), false);
  assert.equal(await comesIn(front, keyPair(foreign.issue('now'))), true);
  // A broken file of authorities changes nothing.
  writeFileSync(ca, 'garbage');
  front.certificates?.look();
  front.certificates?.look();
  assert.match(front.told.at(-1)?.trouble ?? '', /KIN_TLS_CERTIFICATE: no certificate/u);
  assert.equal(await comesIn(front, keyPair(foreign.issue('still'))), true);
  client.socket.destroy();
  await front.close();
});

test('PE3. a certificate that ended while its session went on is nobody', () => {
  const certificate = new X509Certificate(readFileSync(authority.issue('ends', { days: 1 }).cert));
  const socket = (authorized: boolean): TLSSocket =>
    ({
      authorized,
      authorizationError: authorized ? null : 'SELF_SIGNED',
      getPeerX509Certificate: () => certificate,
    }) as unknown as TLSSocket;
  const nowMs = Date.now();
  assert.equal(peerOf(socket(true), nowMs).kind, 'peer');
  assert.deepEqual(peerOf(socket(true), nowMs + 2 * 86_400_000), {
    kind: 'refused',
    reason: 'CERT_HAS_EXPIRED',
  });
  assert.deepEqual(peerOf(socket(false), nowMs), { kind: 'refused', reason: 'SELF_SIGNED' });
});

test('PE2. a name inside a value makes no second name', () => {
  const sly = [
    { kind: 'uri', value: 'https://evil.example/, URI:spiffe://kin/acme' },
    { kind: 'dns', value: 'evil.example, DNS:acme.example' },
    { kind: 'uri', value: 'x"y, URI:spiffe://kin/acme' },
  ] as const;
  const { cert } = authority.issue('sly', { alt: sly });
  const peer = peerFrom(new X509Certificate(readFileSync(cert)));
  assert.ok(!peer.uris.includes('spiffe://kin/acme'));
  assert.ok(!peer.dnsNames.includes('acme.example'));
  assert.deepEqual(splitNames('URI:"a\\", URI:b", DNS:c'), [
    ['URI', 'a", URI:b'],
    ['DNS', 'c'],
  ]);
  // What cannot be taken apart names nobody.
  assert.deepEqual(splitNames('DNS:ok, URI:"open'), []);
  assert.deepEqual(splitNames('DNS:a,DNS:b'), []);
});

test('TK1. workers of one state folder resume each other’s sessions', async () => {
  const fronts = [await openFront(authority, [one]), await openFront(authority, [one])] as const;
  const first = await openClient(fronts[0].port, authority);
  await ask(first);
  while (first.session === undefined) await new Promise((resolve) => setImmediate(resolve));
  const second = await openClient(fronts[1].port, authority, { session: first.session });
  assert.equal(second.socket.isSessionReused(), true);
  await ask(second);
  for (const client of [first, second]) client.socket.destroy();
  for (const front of fronts) await front.close();
});

test('TK1. TK2. ticket keys: the same for all in an epoch, another in the next, none kept', () => {
  const folder = join(authority.folder, 'tickets');
  const warned: string[] = [];
  const open = (): ReturnType<typeof openTickets> => openTickets(folder, (t) => warned.push(t));
  const nowMs = 1_000 * EPOCH_MS + 5;
  const [a, b] = [open(), open()];
  const first = a.at(nowMs);
  assert.deepEqual(b.at(nowMs), first);
  assert.equal(first.key.length, 48);
  assert.equal(first.untilMs, 1_001 * EPOCH_MS);
  const path = join(folder, 'tls-tickets');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const secret = readFileSync(path, 'utf8');
  const next = a.at(first.untilMs);
  assert.notDeepEqual(next.key, first.key);
  assert.deepEqual(b.at(first.untilMs).key, next.key);
  assert.notEqual(readFileSync(path, 'utf8'), secret, 'the secret of the last epoch is gone');
  // A clock that goes back does not bring it back.
  assert.deepEqual(open().at(nowMs).key, next.key);
  // Far ahead, and a file that others could read: a new beginning.
  assert.notDeepEqual(open().at(nowMs + 1e6 * EPOCH_MS).key, next.key);
  chmodSync(path, 0o644);
  const after = open().at(nowMs).key;
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(open().at(nowMs).key, after);
  assert.deepEqual(warned, []);
});

test('TK3. without a usable folder a worker goes on with a key of its own', () => {
  const warned: string[] = [];
  const file = join(authority.folder, 'a-file');
  writeFileSync(file, '');
  const tickets = openTickets(join(file, 'state'), (text) => warned.push(text));
  const { key, untilMs } = tickets.at(5);
  assert.equal(key.length, 48);
  assert.deepEqual(tickets.at(6).key, key);
  assert.notDeepEqual(tickets.at(untilMs).key, key);
  assert.match(warned[0] ?? '', /not shared .*: ENOTDIR/u);
});
