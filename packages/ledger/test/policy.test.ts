import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leafHash } from '../src/merkle.ts';
import { formatTreeHead, signNote } from '../src/note.ts';
import type { Signer } from '../src/note.ts';
import { formatPolicy, parsePolicy } from '../src/policy.ts';
import type { Policy } from '../src/policy.ts';
import { formatProof } from '../src/proof.ts';
import { signerFromSeed } from '../src/signer.ts';
import type { SignerKind } from '../src/signer.ts';
import { verifyCheckpointUnderPolicy, verifyProofUnderPolicy } from '../src/verify.ts';
import { ORIGIN, bytesOf, otherSigner, signer } from './support.ts';

const ENTRY = bytesOf('entry');
const TEXT = formatTreeHead(ORIGIN, 1, leafHash(ENTRY));
const at = { timestampS: 1_700_000_000n };

function key(name: string, byte: number, kind: SignerKind = 'cosigner'): Signer {
  return signerFromSeed(name, new Uint8Array(32).fill(byte), kind).signer;
}

const witnesses = [1, 2, 3, 4, 5, 6].map((number) =>
  key(`w${number}.example`, number, number === 3 ? 'ml-dsa-44' : 'cosigner'),
);
const [x1, x2, x3, y1, y2, y3] = witnesses;
const POLICY = `# the example of the specification
log ${signer.vkey}\thttps://log.example/

witness X1 ${x1?.vkey}
 witness X2  ${x2?.vkey} https://x2.example/add
witness X3 ${x3?.vkey}
group X-witnesses 2 X1 X2 X3

witness Y1 ${y1?.vkey}
witness Y2 ${y2?.vkey}
witness Y3 ${y3?.vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

function policyOf(text: string | Uint8Array): Policy {
  const reading = parsePolicy(text);
  assert.equal(reading.kind, 'valid', reading.kind === 'invalid' ? reading.reason : '');
  return reading.kind === 'valid' ? reading.policy : policyOf('quorum none\n');
}

function checkpoint(...signers: readonly (Signer | undefined)[]): string {
  return signNote(
    TEXT,
    signers.filter((signer) => signer !== undefined),
    at,
  );
}

test('the policy of the specification is read, and its own text reads the same again', () => {
  const policy = policyOf(POLICY);
  assert.equal(policy.witnesses.length, 6);
  assert.deepEqual(policy.groups[0], {
    name: 'X-witnesses',
    needs: 2,
    members: ['X1', 'X2', 'X3'],
  });
  assert.equal(policy.witnesses[1]?.url, 'https://x2.example/add');
  assert.deepEqual(policyOf(formatPolicy(policy)), policy);
});

test('policy P1: every broken policy is refused with its line, a huge one before reading', () => {
  const vkey = x1?.vkey ?? '';
  const two = `witness a ${vkey}\nwitness b ${x2?.vkey}\n`;
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /no quorum/],
    ['quorum none', /last line/],
    ['quorum none\nquorum none\n', /^line 2: .*two quorum/],
    ['quorum\n', /^line 1/],
    ['quorum a b\n', /^line 1/],
    ['quorum nobody\n', /not defined above/],
    [`quorum a\nwitness a ${vkey}\n`, /^line 1: .*not defined above/],
    ['quorum none\rx\n', /control/],
    ['# \u007f\nquorum none\n', /control/],
    ['Log x\nquorum none\n', /none of log/],
    ['log\nquorum none\n', /^line 1/],
    [`log ${signer.vkey} u v\nquorum none\n`, /^line 1/],
    ['log nonsense\nquorum none\n', /damaged/],
    [`log ${signer.vkey} ${'u'.repeat(2049)}\nquorum none\n`, /URL/],
    [`witness a\nquorum none\n`, /^line 1/],
    [`witness a ${vkey} u v\nquorum none\n`, /^line 1/],
    [`${two}group g\nquorum none\n`, /^line 3/],
    [`${two}group g 1\nquorum none\n`, /^line 3/],
    [`${two}group g 0 a\nquorum none\n`, /threshold/],
    [`${two}group g 3 a b\nquorum none\n`, /threshold/],
    [`${two}group g -1 a\nquorum none\n`, /threshold/],
    [`${two}group g 01 a\nquorum none\n`, /threshold/],
    [`${two}group g 1.0 a\nquorum none\n`, /threshold/],
    [`${two}group g any c\nquorum none\n`, /not defined above/],
    [`${two}group g any g\nquorum none\n`, /not defined above/],
    [`\ud800\nquorum none\n`, /no Unicode/],
    [`${'#\n'.repeat(10_001)}quorum none\n`, /lines/],
    ['#'.repeat(1_048_577), /bytes/],
    [`${'\u00e9'.repeat(600_000)}\n`, /bytes/],
  ];
  for (const [text, reason] of bad) {
    const reading = parsePolicy(text);
    assert.equal(reading.kind, 'invalid', text.slice(0, 80));
    assert.match(reading.kind === 'invalid' ? reading.reason : '', reason);
    assert.equal(reading.kind === 'invalid' && reading.code, 'KIN_LEDGER_POLICY_INVALID');
  }
});

test('policy P2: names are octets, defined once, and a member counts in one group only', () => {
  const one = `witness a ${x1?.vkey}\n`;
  const bad = [
    `${one}witness a ${x2?.vkey}\nquorum none\n`,
    `${one}group a any a\nquorum none\n`,
    `witness none ${x1?.vkey}\nquorum none\n`,
    `${one}group none any a\nquorum none\n`,
    `${one}group g any none\nquorum none\n`,
    `${one}group g any a a\nquorum g\n`,
    `${one}group g any a\ngroup h any a\nquorum h\n`,
  ];
  for (const text of bad) assert.equal(parsePolicy(text).kind, 'invalid', text);
  // The letter K and the Kelvin sign are two names; octets that are no UTF-8 are a name too.
  const kelvin = `witness K ${x1?.vkey}\nwitness \u212a ${x2?.vkey}\nquorum \u212a\n`;
  assert.equal(policyOf(kelvin).quorum, '\u212a');
  const latin = Buffer.from(`witness \u00e9 ${x1?.vkey}\nquorum \u00e9\n`, 'latin1');
  assert.equal(policyOf(latin).witnesses.length, 1);
  const alike = [
    Buffer.from(`witness \u00e9 ${x1?.vkey}\n`, 'latin1'),
    Buffer.from(`witness \u00e9 ${x2?.vkey}\nquorum none\n`),
  ];
  assert.equal(parsePolicy(Buffer.concat(alike)).kind, 'invalid');
});

test('policy P3: keys fit their role and are listed once, whatever they are called', () => {
  const other = key('another-name.example', 1);
  const bad = [
    `log ${x1?.vkey}\nquorum none\n`,
    `witness a ${signer.vkey}\nquorum none\n`,
    `log ${signer.vkey}\nlog ${signer.vkey}\nquorum none\n`,
    `witness a ${x1?.vkey}\nwitness b ${other.vkey}\nquorum none\n`,
  ];
  for (const text of bad) assert.equal(parsePolicy(text).kind, 'invalid', text);
});

test('two hundred and fifty-six of each are read, and one more is not', () => {
  const lines: string[] = [];
  for (let number = 0; number < 256; number++) {
    const seed = new Uint8Array(32).fill(number).with(0, 77);
    lines.push(`log ${signerFromSeed(`l${number}`, seed).signer.vkey}`);
    lines.push(`witness w${number} ${signerFromSeed(`w${number}`, seed, 'cosigner').signer.vkey}`);
    lines.push(`group g${number} any w${number}${number === 0 ? '' : ` g${number - 1}`}`);
  }
  const policy = policyOf(`${lines.join('\n')}\nquorum g255\n`);
  assert.deepEqual(
    [policy.logs.length, policy.witnesses.length, policy.groups.length],
    [256, 256, 256],
  );
  const extra = signerFromSeed('l', new Uint8Array(32).fill(200)).signer.vkey;
  const more = parsePolicy(`${lines.join('\n')}\nlog ${extra}\nquorum g255\n`);
  assert.match(more.kind === 'invalid' ? more.reason : '', /more than 256 logs/);
});

test('verify V3: the quorum is met or not, and the verdict says by whom and by how much', () => {
  const policy = policyOf(POLICY);
  const met = verifyCheckpointUnderPolicy(checkpoint(signer, x1, x3, y2), policy);
  assert.equal(met.kind, 'valid');
  assert.deepEqual(met.kind === 'valid' && met.cosigned.map(({ name }) => name), [
    'X1',
    'X3',
    'Y2',
  ]);
  assert.equal(met.kind === 'valid' && met.cosigned[0]?.timestampS, at.timestampS);
  assert.deepEqual(met.kind === 'valid' && met.logKeys, [signer.vkey]);
  const short = verifyCheckpointUnderPolicy(checkpoint(signer, x1, y1, y2, y3), POLICY);
  assert.ok(short.kind === 'invalid' && short.code === 'KIN_LEDGER_QUORUM_UNMET');
  assert.equal(short.reason, 'X-and-Y: 1 of 2 (X-witnesses: 1 of 2)');
  assert.deepEqual(short.missing, ['X2', 'X3']);
  assert.equal(short.cosigned.length, 4);
  const alone = verifyCheckpointUnderPolicy(
    checkpoint(signer),
    `log ${signer.vkey}\nwitness a ${x1?.vkey}\nquorum a\n`,
  );
  assert.equal(alone.kind === 'invalid' && alone.reason, 'a: no cosignature');
});

test('without a good signature of the log itself no number of cosignatures helps', () => {
  const noLog = verifyCheckpointUnderPolicy(checkpoint(x1, x2, x3, y1), POLICY);
  assert.equal(noLog.kind === 'invalid' && noLog.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  const stranger = verifyCheckpointUnderPolicy(checkpoint(otherSigner, x1, x2, y1), POLICY);
  assert.equal(stranger.kind === 'invalid' && stranger.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  // A listed log may not sign under the origin of another listed log.
  const second = key('other.example/log', 40, 'ed25519');
  const both = POLICY.replace('\nwitness X1', `\nlog ${second.vkey}\nwitness X1`);
  const foreign = verifyCheckpointUnderPolicy(checkpoint(second, x1, x2, y1), both);
  assert.equal(foreign.kind === 'invalid' && foreign.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  // One bad cosignature of a listed witness refuses everything; one of a stranger is ignored.
  const good = checkpoint(signer, x1, x2, y1);
  const lie = signNote(TEXT.replace('\n1\n', '\n2\n'), [y2 ?? signer], at).split('\n\n')[1] ?? '';
  const bad = verifyCheckpointUnderPolicy(good + lie, POLICY);
  assert.equal(bad.kind === 'invalid' && bad.code, 'KIN_LEDGER_SIGNATURE_INVALID');
  const unknown = signNote('x\n', key('unknown.example', 90, 'ed25519')).split('\n\n')[1] ?? '';
  assert.equal(verifyCheckpointUnderPolicy(good + unknown, POLICY).kind, 'valid');
});

test('a policy without a log needs the log from elsewhere; quorum none asks for no witness', () => {
  const none = verifyCheckpointUnderPolicy(checkpoint(signer), 'quorum none\n');
  assert.equal(none.kind === 'invalid' && none.code, 'KIN_LEDGER_POLICY_INVALID');
  const given = verifyCheckpointUnderPolicy(checkpoint(signer), 'quorum none\n', [signer.vkey]);
  assert.equal(given.kind, 'valid');
  const wrongKind = verifyCheckpointUnderPolicy(checkpoint(signer), 'quorum none\n', [
    x1?.vkey ?? '',
  ]);
  assert.equal(wrongKind.kind === 'invalid' && wrongKind.code, 'KIN_LEDGER_KEY_INVALID');
  const broken = verifyCheckpointUnderPolicy(checkpoint(signer), 'quorum none');
  assert.equal(broken.kind === 'invalid' && broken.code, 'KIN_LEDGER_POLICY_INVALID');
});

test('a proof counts under a policy only for its entry and with the quorum', () => {
  const proof = formatProof({
    index: 0n,
    hashes: [],
    checkpoint: checkpoint(signer, x1, x2, y3),
    extra: bytesOf('not authenticated'),
  });
  const verdict = verifyProofUnderPolicy(proof, ENTRY, POLICY);
  assert.equal(verdict.kind === 'valid' && verdict.index, 0n);
  assert.equal(verdict.kind === 'valid' && verdict.cosigned.length, 3);
  const other = verifyProofUnderPolicy(proof, bytesOf('other'), POLICY);
  assert.equal(other.kind === 'invalid' && other.code, 'KIN_LEDGER_PROOF_INVALID');
  const short = formatProof({ index: 0n, hashes: [], checkpoint: checkpoint(signer, x1, x2) });
  const unmet = verifyProofUnderPolicy(short, ENTRY, POLICY);
  assert.equal(unmet.kind === 'invalid' && unmet.code, 'KIN_LEDGER_QUORUM_UNMET');
  const junk = verifyProofUnderPolicy('junk', ENTRY, POLICY);
  assert.equal(junk.kind === 'invalid' && junk.code, 'KIN_LEDGER_PROOF_INVALID');
});
