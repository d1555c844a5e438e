// A short run of scripts/ledger/fuzz.ts; the long ones are started by hand and at night.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roundTrip, targets } from '../../../scripts/ledger/fuzz-targets.ts';
import { fuzz } from '../../../scripts/ledger/fuzz.ts';
import { toBase64 } from '../src/bytes.ts';
import { tileNumber } from '../src/tiles.ts';

test('no damaged input makes a parser throw, accept a second spelling or verify a lie', () => {
  const report = fuzz(20_000, 20_261_120);
  assert.equal(report.kind, 'clean', report.kind === 'failed' ? report.reason : '');
  const counts = report.kind === 'clean' ? [...report.counts] : [];
  assert.equal(counts.length, targets.length);
  let total = 0;
  for (const [name, { accepted, refused }] of counts) {
    // A target that accepts or refuses everything would prove nothing.
    assert.ok(accepted > 0 && refused > 0, `${name}: ${accepted} accepted, ${refused} refused`);
    total += accepted + refused;
  }
  assert.equal(total, 20_000);
});

test('fuzz F1: a planted fault is found, and the same seed finds it in the same case', () => {
  const lenient = roundTrip(
    'lenient base64',
    1,
    ['QQ==', 'QUJD'],
    (text) => Buffer.from(text, 'base64'),
    toBase64,
  );
  const found = fuzz(1000, 5, [lenient]);
  assert.ok(found.kind === 'failed' && found.target === 'lenient base64');
  const again = fuzz(1000, 5, [lenient]);
  assert.equal(again.kind === 'failed' && again.caseNumber, found.caseNumber);
  assert.deepEqual(fuzz(3000, 9), fuzz(3000, 9));
  const careless = roundTrip('path', 1, ['x001/234', '067'], readNumber, tileNumber);
  assert.equal(fuzz(1000, 5, [careless]).kind, 'failed');
});

function readNumber(text: string): number | undefined {
  const number = Number(text.replaceAll(/[x/]/g, ''));
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}
