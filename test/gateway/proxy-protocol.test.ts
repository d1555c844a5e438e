// Is the address of a client behind a load balancer right, and can nobody lie about it?
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { after, before, test } from 'node:test';
import {
  crc32c,
  HEADER_BYTES_MAX,
  readProxyHeader,
  trustPeers,
} from '../../src/gateway/proxy-protocol.ts';
import { until } from './http/rig.ts';
import { ANSWER, GET, openAuthority, openFront } from './tls/rig.ts';
import type { Authority, TestFront } from './tls/rig.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

interface Wish {
  readonly version?: number;
  readonly command?: number;
  readonly family?: number;
  readonly body?: Buffer;
  readonly length?: number;
}

const V4 = Buffer.from([203, 0, 113, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x01, 0xbb]);
const V6 = Buffer.concat([
  Buffer.from('20010db8000000000000000000000042', 'hex'),
  Buffer.alloc(16),
  Buffer.from([0, 1, 0, 2]),
]);

function header({ version = 2, command = 1, family = 0x11, body = V4, length }: Wish = {}): Buffer {
  const fixed = Buffer.alloc(4);
  fixed.writeUInt8((version << 4) | command, 0);
  fixed.writeUInt8(family, 1);
  fixed.writeUInt16BE(length ?? body.length, 2);
  return Buffer.concat([SIGNATURE, fixed, body]);
}

function tlv(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(3);
  head.writeUInt8(type, 0);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}

const reason = (bytes: Buffer): string => {
  const read = readProxyHeader(bytes);
  return read.kind === 'refused' ? read.reason : read.kind;
};

test('PX2. addresses are read as they are; TLVs are skipped, in any pieces', () => {
  assert.deepEqual(readProxyHeader(header()), { kind: 'from', bytes: 28, address: '203.0.113.7' });
  const six = header({ family: 0x21, body: V6 });
  assert.deepEqual(readProxyHeader(six), { kind: 'from', bytes: 52, address: '2001:db8::42' });
  const mapped = Buffer.concat([
    Buffer.from('00000000000000000000ffffcb007107', 'hex'),
    V6.subarray(16),
  ]);
  const read = readProxyHeader(header({ family: 0x21, body: mapped }));
  assert.equal(read.kind === 'from' && read.address, '203.0.113.7');
  const withTlvs = header({
    body: Buffer.concat([V4, tlv(0x02, Buffer.from('api.example')), tlv(0xea, Buffer.alloc(0))]),
  });
  const whole = Buffer.concat([withTlvs, Buffer.from('GET / HTTP/1.1')]);
  assert.deepEqual(readProxyHeader(whole), {
    kind: 'from',
    bytes: withTlvs.length,
    address: '203.0.113.7',
  });
  for (let end = 0; end < withTlvs.length; end += 1) {
    assert.equal(reason(withTlvs.subarray(0, end)), 'more', `${end} bytes`);
  }
});

test('LOCAL and an unknown family keep the address of the connection', () => {
  const local = { kind: 'local', bytes: 16 } as const;
  assert.deepEqual(
    readProxyHeader(header({ command: 0, family: 0, body: Buffer.alloc(0) })),
    local,
  );
  assert.equal(reason(header({ command: 0, family: 0x99 })), 'local');
  assert.equal(reason(header({ family: 0 })), 'local');
});

test('PX2. PX3. what is not exact is refused', () => {
  const cases: readonly (readonly [string, Buffer])[] = [
    ['signature', Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 8080 443\r\n')],
    ['signature', Buffer.from('GET / HTTP/1.1\r\n')],
    ['signature', Buffer.from('\r\n\r\nX')],
    ['version', header({ version: 1 })],
    ['version', header({ version: 3 })],
    ['command', header({ command: 2 })],
    ['family', header({ family: 0x12 })],
    ['family', header({ family: 0x22, body: V6 })],
    ['family', header({ family: 0x31, body: Buffer.alloc(216) })],
    ['family', header({ family: 0x13 })],
    ['family', header({ family: 0x10 })],
    ['too-short', header({ body: V4.subarray(1) })],
    ['too-short', header({ body: Buffer.alloc(0) })],
    ['too-short', header({ family: 0x21, body: V4 })],
    ['too-long', header({ length: HEADER_BYTES_MAX - 15 })],
    ['too-long', header({ length: 0xffff })],
    ['tlv', header({ body: Buffer.concat([V4, Buffer.from([1, 0])]) })],
    ['tlv', header({ body: Buffer.concat([V4, Buffer.from([1, 0, 2, 0])]) })],
    ['tlv', header({ body: Buffer.concat([V4, tlv(3, Buffer.alloc(3))]) })],
    ['checksum', header({ body: Buffer.concat([V4, tlv(3, Buffer.alloc(4))]) })],
  ];
  for (const [expected, bytes] of cases) assert.equal(reason(bytes), expected);
  const longest = HEADER_BYTES_MAX - 16 - V4.length - 3;
  const full = header({ body: Buffer.concat([V4, tlv(4, Buffer.alloc(longest))]) });
  assert.equal(full.length, HEADER_BYTES_MAX);
  assert.equal(reason(full), 'from');
});

test('PX2. a checksum that is there is verified (CRC-32C)', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  const bytes = header({ body: Buffer.concat([V4, tlv(3, Buffer.alloc(4))]) });
  bytes.writeUInt32BE(crc32c(bytes), bytes.length - 4);
  assert.equal(reason(bytes), 'from');
  bytes.writeUInt8(204, 16);
  assert.equal(reason(bytes), 'checksum');
});

test('random bytes never throw and never give an address that is none', () => {
  let seed = 7;
  const next = (max: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % max;
  };
  for (let i = 0; i < 20_000; i += 1) {
    const bytes = header({
      family: [0x11, 0x21][next(2)] ?? 0,
      body: Buffer.alloc(next(60), next(256)),
    });
    for (let flips = next(4); flips > 0; flips -= 1)
      bytes.writeUInt8(next(256), next(bytes.length));
    const read = readProxyHeader(bytes);
    if (read.kind === 'from') assert.match(read.address, /^[\da-f.:]+$/u);
    if (read.kind === 'from' || read.kind === 'local') assert.ok(read.bytes <= bytes.length);
  }
});

test('PX1. networks: exact, by bits, both families, and nothing that is none', () => {
  const trust = trustPeers(['10.0.0.0/8', '192.0.2.7', 'fd00::/8', '::1']);
  assert.ok(trust.kind === 'peers');
  const { peers } = trust;
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', 'fd12::1', '::1']) {
    assert.ok(peers.has(address), address);
  }
  for (const address of ['11.1.2.3', '192.0.2.8', 'fe80::1', '', undefined, 'text']) {
    assert.ok(!peers.has(address), String(address));
  }
  for (const cidr of [
    '10.0.0.0/33',
    '10.0.0/8',
    'fd00::/129',
    '10.0.0.0/08',
    '10.0.0.0/',
    '',
    'a',
  ]) {
    assert.deepEqual(trustPeers([cidr]), { kind: 'refused', cidr });
  }
});

let authority: Authority;
before(() => {
  authority = openAuthority();
});
after(() => authority.close());

async function talk(port: number, pieces: readonly (Buffer | string)[]): Promise<string> {
  const socket = connectPlain({ port, host: '127.0.0.1', noDelay: true });
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    if (text.endsWith('hello')) socket.destroy();
  });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await closed;
  return text;
}

function behind(from: readonly string[], plain: boolean): Promise<TestFront> {
  const one = authority.issue('one');
  return openFront(authority, [one], { plain, proxyFrom: from, setup: { handshakeMs: 250 } });
}

test('PX1. AR3. from a trusted peer, whole and in pieces, before plain HTTP', async () => {
  const front = await behind(['127.0.0.0/8'], true);
  const bytes = header();
  assert.match(await talk(front.port, [Buffer.concat([bytes, Buffer.from(GET)])]), /200 OK/u);
  assert.match(
    await talk(front.port, [...Array.from(bytes, (byte) => Buffer.from([byte])), GET]),
    /200/u,
  );
  assert.match(await talk(front.port, [bytes.subarray(0, 20), bytes.subarray(20), GET]), /200 OK/u);
  const local = header({ command: 0, family: 0, body: Buffer.alloc(0) });
  assert.match(await talk(front.port, [local, GET]), /200 OK/u);
  assert.deepEqual(
    front.views.map((view) => view.remoteAddress),
    ['203.0.113.7', '203.0.113.7', '203.0.113.7', '127.0.0.1'],
  );
  assert.equal(front.views[0]?.scheme, 'http');
  await front.close();
});

test('PX1. a trusted peer without a header, or with a wrong one, stays out', async () => {
  const front = await behind(['127.0.0.1'], true);
  assert.equal(await talk(front.port, [GET]), '');
  assert.equal(await talk(front.port, ['PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n', GET]), '');
  assert.equal(
    await talk(front.port, [header({ family: 0x31, body: Buffer.alloc(216) }), GET]),
    '',
  );
  assert.equal(await talk(front.port, [header().subarray(0, 13)]), '');
  assert.deepEqual(
    front.arrivals.map((said) => said.replace('127.0.0.1 ', '')),
    ['proxy-header signature', 'proxy-header signature', 'proxy-header family', 'slow'],
  );
  assert.equal(front.views.length, 0);
  await front.close();
});

test('PX1. AR3. lies of a peer that is not trusted: 400, and nobody is believed', async () => {
  const front = await behind(['10.0.0.0/8'], true);
  assert.match(await talk(front.port, [header(), GET]), /^HTTP\/1\.1 400 /u);
  assert.match(await talk(front.port, [GET]), /200 OK/u);
  assert.deepEqual(
    front.views.map((view) => view.remoteAddress),
    ['127.0.0.1'],
  );
  await front.close();
  const secured = await behind(['10.0.0.0/8'], false);
  assert.equal(await talk(secured.port, [header(), GET]), '');
  assert.match(secured.arrivals.join(), /not-tls/u);
  await secured.close();
});

test('the header comes before TLS, and the address is that of the client', async () => {
  const front = await behind(['127.0.0.1'], false);
  const raw = connectPlain({ port: front.port, host: '127.0.0.1' });
  raw.write(header({ family: 0x21, body: V6 }));
  const ca = readFileSync(authority.ca);
  const socket = connectTls({ socket: raw, ca, servername: 'api.example' });
  await once(socket, 'secureConnect');
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write(GET);
  await until(() => text.endsWith('hello'));
  assert.equal(front.views[0]?.remoteAddress, '2001:db8::42');
  assert.equal(front.views[0]?.scheme, 'https');
  socket.destroy();
  assert.match(await talk(front.port, [header(), GET]), /400 [^]*plain-http/u);
  assert.equal(ANSWER.kind, 'answer');
  await front.close();
});
