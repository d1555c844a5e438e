// Does a time stamp prove what it should, and does nothing else pass for one?
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { AnchoredHead, StampReceipt } from '../../src/drivers/anchors/anchor.ts';
import { RFC3161Timestamp } from '@sigstore/core';
import fc from 'fast-check';
import { digestOf } from '../../src/drivers/anchors/anchor.ts';
import { openRfc3161Anchor, timeStampRequest } from '../../src/drivers/anchors/rfc3161.ts';
import { AnchorError } from '../../src/drivers/anchors/errors.ts';
import { checkStamp, readCertificates } from '../../src/drivers/anchors/time-stamp.ts';
import { type Authority, openAuthority, type SignerKind, whyNoOpenssl } from './authority.ts';
import { clock, makeHead, serve, type LocalServer } from './stage.ts';

const reason = whyNoOpenssl();
if (reason !== undefined) console.log(`RFC 3161 with a real authority is skipped: ${reason}`);

const reject = (code: string) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, code, String(error));
  return true;
};

describe('RFC 3161 with a real authority', { skip: reason ?? false }, () => {
  let folder: string;
  let authority: Authority;
  let server: LocalServer;
  const head = makeHead(7);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kintsugi-tsa-'));
    authority = await openAuthority(folder);
    server = await serve(() => {});
  });
  after(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const open = (certificates = authority.root, timeoutMs = 10_000) =>
    openRfc3161Anchor(
      { kind: 'rfc3161', name: 'tsa', url: `${server.url}/tsr`, certificates, timeoutMs },
      clock,
    );
  const answerWith = (make: (request: Buffer) => Buffer | Promise<Buffer>): void => {
    server.handle = async (_request, body, response) => {
      const reply = await make(body);
      response.setHeader('content-type', 'application/timestamp-reply');
      response.end(reply);
    };
  };
  const stampBy = async (signer: SignerKind, digest?: string): Promise<StampReceipt> => {
    answerWith((request) => authority.reply(signer, request, digest));
    const receipt = await open().anchor(head);
    assert.equal(receipt.kind, 'rfc3161');
    return receipt;
  };

  for (const [signer, digest] of [
    ['ec', 'sha256'],
    ['ec', 'sha512'],
    ['rsa', 'sha256'],
    ['rsa', 'sha512'],
  ] as const)
    test(`TQ1 a stamp by ${signer} with ${digest} is kept, and verified offline`, async () => {
      const receipt = await stampBy(signer, digest);
      const verdict = await open().verify(receipt, head);
      assert.equal(verdict.kind, 'anchored', JSON.stringify(verdict));
      assert.ok(verdict.kind === 'anchored' && Math.abs(verdict.atMs - Date.now()) < 600_000);
    });

  test('openssl itself verifies the response against the checkpoint text', async () => {
    const receipt = await stampBy('ec');
    await writeFile(join(folder, 'kept.tsr'), Buffer.from(receipt.response, 'base64'));
    await writeFile(join(folder, 'kept.txt'), receipt.checkpoint);
    const args = ['ts', '-verify', '-in', 'kept.tsr', '-data', 'kept.txt', '-CAfile', 'root.pem'];
    const { stdout, stderr } = await promisify(execFile)('openssl', args, { cwd: folder });
    assert.match(stdout + stderr, /Verification: OK/);
  });

  test('only the digest and a nonce leave: nothing of the origin, size or root', async () => {
    await stampBy('ec');
    const sent = server.bodies.at(-1) ?? Buffer.alloc(0);
    assert.ok(sent.includes(digestOf(head.checkpointText)));
    assert.equal(sent.length, 69);
    assert.ok(!sent.includes(Buffer.from(head.origin)));
    assert.ok(!sent.includes(Buffer.from(head.root, 'base64')));
  });

  test('a pinned signer needs no root, and the other root does not do', async () => {
    const receipt = await stampBy('ec');
    const pinned = open(await authority.certificate('ec'));
    assert.equal((await pinned.verify(receipt, head)).kind, 'anchored');
    const other = open(await authority.certificate('stranger'));
    const verdict = await other.verify(receipt, head);
    assert.equal(verdict.kind === 'invalid' && verdict.reason, 'untrusted-signer');
  });

  test('TS1 an answer about another imprint is refused', async () => {
    const digest = digestOf('another text');
    answerWith((request) =>
      authority.reply('ec', Buffer.from(replaced(request, digestOf(head.checkpointText), digest))),
    );
    await assert.rejects(open().anchor(head), reject('KIN_ANCHOR_MISMATCH'));
  });

  test('TS1 an answer with another nonce, or without one, is refused as a replay', async () => {
    const digest = digestOf(head.checkpointText);
    answerWith(() =>
      authority.reply('ec', timeStampRequest(digest, Buffer.from('4142434445464748', 'hex'))),
    );
    await assert.rejects(open().anchor(head), reject('KIN_ANCHOR_MISMATCH'));
    answerWith(async () => {
      await writeFile(join(folder, 'plain.txt'), head.checkpointText);
      const args = ['ts', '-query', '-data', 'plain.txt', '-sha256', '-no_nonce', '-cert'];
      await promisify(execFile)('openssl', [...args, '-out', 'plain.tsq'], { cwd: folder });
      return authority.reply('ec', await readFile(join(folder, 'plain.tsq')));
    });
    await assert.rejects(open().anchor(head), (error: unknown) => {
      assert.match(String(error), /no nonce/);
      return true;
    });
  });

  test('TS2 an expired certificate and a stranger are refused', async () => {
    for (const [signer, says] of [
      ['expired', /not valid at genTime/],
      ['stranger', /does not end in a given/],
    ] as const) {
      answerWith((request) => authority.reply(signer, request));
      await assert.rejects(open().anchor(head), (error: unknown) => {
        reject('KIN_ANCHOR_UNTRUSTED')(error);
        assert.match(String(error), says);
        return true;
      });
    }
  });

  test('TS2 a chain goes over a certificate that came along, and not without it', async () => {
    const receipt = await stampBy('deep');
    assert.equal((await open().verify(receipt, head)).kind, 'anchored');
    const stamp = RFC3161Timestamp.parse(Buffer.from(receipt.response, 'base64'));
    const alone = await authority.sign('deep', stamp.tstInfo.raw, true);
    const changed = { ...receipt, response: alone.toString('base64') };
    const verdict = await open().verify(changed, head);
    assert.equal(verdict.kind === 'invalid' && verdict.reason, 'untrusted-signer');
  });

  test('TS2 a certificate for more than stamping, and a stamp that names none', async () => {
    const receipt = await stampBy('ec');
    const info = RFC3161Timestamp.parse(Buffer.from(receipt.response, 'base64')).tstInfo.raw;
    const lookAt = async (signer: SignerKind, isBound: boolean): Promise<string> => {
      const response = (await authority.sign(signer, info, isBound)).toString('base64');
      const verdict = await open().verify({ ...receipt, response }, head);
      return verdict.kind === 'invalid' ? verdict.detail : verdict.kind;
    };
    assert.equal(await lookAt('ec', true), 'anchored', 'with ESSCertIDv2 all is well');
    assert.match(await lookAt('ec', false), /names another certificate/);
    assert.match(await lookAt('wrong-purpose', true), /time stamping alone/);
  });

  test('TS3 a receipt is checked without any network', async () => {
    const receipt = await stampBy('rsa');
    const asked = server.bodies.length;
    assert.equal((await open().verify(receipt, head)).kind, 'anchored');
    assert.equal(server.bodies.length, asked);
  });

  test('a flipped bit anywhere in the response is never accepted as this stamp', async () => {
    const receipt = await stampBy('ec');
    const bytes = Buffer.from(receipt.response, 'base64');
    const anchor = open();
    const passed: number[] = [];
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const changed = { ...receipt, response: flipped.toString('base64') };
      const verdict = await anchor.verify(changed, head);
      if (verdict.kind === 'anchored') passed.push(bit >> 3);
      else assert.equal(verdict.kind, 'invalid');
    }
    // What nobody signs (tags and lists around it) may change; what is signed never.
    const stamp = RFC3161Timestamp.parse(bytes);
    const [certificate] = readCertificates(await authority.certificate('ec'));
    for (const part of [stamp.tstInfo.raw, certificate?.raw ?? bytes, stamp.signatureValue]) {
      const at = bytes.indexOf(part);
      assert.ok(at > 0);
      assert.deepEqual(
        passed.filter((byte) => byte >= at && byte < at + part.length),
        [],
      );
    }
    assert.ok(new Set(passed).size < 50, `${new Set(passed).size} bytes of ${bytes.length}`);
  });

  test('a receipt of another head, or with another text, proves nothing', async () => {
    const receipt = await stampBy('ec');
    const anchor = open();
    const verdicts = [
      await anchor.verify(receipt, makeHead(8)),
      await anchor.verify(receipt, makeHead(7, makeHead(9).root)),
      await anchor.verify({ ...receipt, checkpoint: makeHead(8).checkpointText }, head),
      await anchor.verify({ ...receipt, size: 8 }, makeHead(8)),
      await anchor.verify({ ...receipt, checkpoint: `${receipt.checkpoint} ` }, head),
    ];
    assert.deepEqual(
      verdicts.map((verdict) => (verdict.kind === 'invalid' ? verdict.reason : verdict.kind)),
      ['other-head', 'other-head', 'receipt-inconsistent', 'receipt-inconsistent', 'other-content'],
    );
  });
});

describe('RFC 3161 with a bad server', () => {
  const head: AnchoredHead = makeHead(3);
  const anchorAt = (url: string, timeoutMs = 5_000) =>
    openRfc3161Anchor(
      { kind: 'rfc3161', name: 'tsa', url, certificates: SOME_PEM, timeoutMs },
      clock,
    );

  test('garbage, an empty answer, an error page and a refusal are typed errors', async (t) => {
    const server = await serve(() => {});
    t.after(() => server.close());
    const rejected = Buffer.from(
      '3010300e020102300a0c08746f6f20626164'.replace('10300e', '12300e'),
      'hex',
    );
    for (const [body, status, code] of [
      [Buffer.from('<html>'), 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.alloc(0), 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.from('3000', 'hex'), 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.from('3003020100', 'hex'), 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.from('30053003020100', 'hex'), 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.from('30053003020102', 'hex'), 200, 'KIN_ANCHOR_REFUSED'],
      [rejected, 200, 'KIN_ANCHOR_ANSWER'],
      [Buffer.from('busy'), 503, 'KIN_ANCHOR_ANSWER'],
    ] as const) {
      server.handle = (_request, _body, response) => {
        response.statusCode = status;
        response.end(body);
      };
      await assert.rejects(anchorAt(server.url).anchor(head), reject(code), body.toString('hex'));
    }
  });

  test('AH1 a huge answer is cut at the limit and a slow one at the deadline', async (t) => {
    const server = await serve((_request, _body, response) => {
      const more = (): void => {
        while (response.writable && response.write(Buffer.alloc(65_536)));
        if (response.writable) response.once('drain', more);
      };
      more();
    });
    t.after(() => server.close());
    await assert.rejects(anchorAt(server.url).anchor(head), (error: unknown) => {
      reject('KIN_ANCHOR_ANSWER')(error);
      assert.match(String(error), /more than 262144 bytes/);
      return true;
    });
    server.handle = () => {};
    await assert.rejects(anchorAt(server.url, 50).anchor(head), reject('KIN_ANCHOR_UNREACHABLE'));
    server.handle = (_request, _body, response) => {
      response.write('x');
    };
    await assert.rejects(anchorAt(server.url, 50).anchor(head), reject('KIN_ANCHOR_UNREACHABLE'));
  });

  test('AH2 a server that is not there is named without its path', async () => {
    const server = await serve(() => {});
    await server.close();
    await assert.rejects(anchorAt(`${server.url}/v2/secret-key`).anchor(head), (error: unknown) => {
      reject('KIN_ANCHOR_UNREACHABLE')(error);
      assert.doesNotMatch(String(error), /secret-key/);
      return true;
    });
  });

  test('random and mutated responses end in typed errors, nothing else', () => {
    const trusted = readCertificates(SOME_PEM);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isWrapped) => {
        const inner = Buffer.from(bytes);
        const granted = Buffer.from('3003020100', 'hex');
        const body = Buffer.concat([granted, inner]);
        const short = body.length < 128 ? [body.length] : [0x81, body.length];
        const response = isWrapped ? Buffer.concat([Buffer.of(0x30, ...short), body]) : inner;
        assert.throws(
          () => checkStamp({ response, text: 'x', nonce: undefined, trusted }),
          (error: unknown) => error instanceof AnchorError,
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test('certificates that cannot be read and addresses that must not be used are refused', () => {
    assert.throws(() => readCertificates('nothing'), reject('KIN_ANCHOR_CONFIG'));
    assert.throws(
      () => readCertificates('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'),
      reject('KIN_ANCHOR_CONFIG'),
    );
    for (const url of ['ftp://x', 'nothing', 'https://user:pass@x'])
      assert.throws(() => anchorAt(url), reject('KIN_ANCHOR_CONFIG'));
  });
});

/** Any certificate: these servers never come so far that it is looked at. */
const SOME_PEM = `-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUDI95os12AsXzZttWBuQuXkgAv2UwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHYW5jaG9yczAgFw0yNjExMjAxNjAwNTlaGA8yMTI2MTAyNzE2
MDA1OVowEjEQMA4GA1UEAwwHYW5jaG9yczBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABIlEBCMZHIuyduygSZVDjTBJbOL2s1tJl3floQzspl8C99JDw/b/dggGie9E
grCi+wm87XWE8QCCR5lwOnCUCBajUzBRMB0GA1UdDgQWBBSQZ5x+PiTAAV+HfsnZ
XdOay43GdjAfBgNVHSMEGDAWgBSQZ5x+PiTAAV+HfsnZXdOay43GdjAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIG2bW15keZ1jCTqQriWyRRzAzyyZ
kSuTUbxXX9PDAXctAiBVQuPtOeToqp3ftVl/S+EZLIq/EMlnL5hnYCaQuWc+WQ==
-----END CERTIFICATE-----`;

function replaced(bytes: Buffer, from: Buffer, to: Buffer): Buffer {
  const at = bytes.indexOf(from);
  assert.ok(at >= 0);
  return Buffer.concat([bytes.subarray(0, at), to, bytes.subarray(at + from.length)]);
}
