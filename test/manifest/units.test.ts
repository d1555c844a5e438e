import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseUnit, unitPattern, unitText } from '../../src/manifest/units.ts';
import type { Unit } from '../../src/manifest/units.ts';
import { distance, likelyName, nearest } from '../../src/manifest/nearest.ts';

const value = (unit: Unit, written: string): unknown => {
  const answer = parseUnit(unit, written);
  return answer.kind === 'ok' ? answer.value : { suggestion: answer.suggestion };
};

test('every unit of the brief is read as a plain number of its base', () => {
  const read: readonly (readonly [Unit, string, number])[] = [
    ['duration', '500ms', 500],
    ['duration', '2s', 2000],
    ['duration', '1.5s', 1500],
    ['duration', '5m', 300_000],
    ['duration', '1h', 3_600_000],
    ['duration', '24h', 86_400_000],
    ['duration', '30d', 2_592_000_000],
    ['fee', '100gwei', 100],
    ['fee', '0.05gwei', 0.05],
    ['size', '256MiB', 268_435_456],
    ['size', '1GiB', 1_073_741_824],
    ['size', '10MB', 10_000_000],
    ['size', '64KiB', 65_536],
    ['size', '512B', 512],
    ['rate', '200/s', 200],
    ['rate', '6000/m', 100],
    ['share', '99.9%', 0.999],
    ['share', '0.2', 0.2],
    ['percent', '5%', 5],
    ['cores', '0.5', 0.5],
  ];
  for (const [unit, written, number] of read) assert.equal(value(unit, written), number, written);
});

test('U1: a missing or wrong unit is never guessed at, and the error says what was meant', () => {
  const wrong: readonly (readonly [Unit, string, string | undefined])[] = [
    ['duration', '500', '500ms'],
    ['duration', '10', '10s'],
    ['duration', '10 sec', '10s'],
    ['duration', '5 m', '5m'],
    ['duration', '2 days', '2d'],
    ['duration', '6weeks', '42d'],
    ['duration', '7y', '2555d'],
    ['duration', '1d12h', '36h'],
    ['fee', '100', '100gwei'],
    ['fee', '100 Gwei', '100gwei'],
    ['duration', '1h30m', '90m'],
    ['duration', '5MiB', undefined],
    ['duration', '-5s', undefined],
    ['duration', '', undefined],
    ['size', '512', '512MiB'],
    ['size', '512Mi', '512MiB'],
    ['size', '256mb', '256MB'],
    ['size', '1G', '1GiB'],
    ['rate', '200', '200/s'],
    ['rate', '200rps', '200/s'],
    ['share', '99.9', '99.9%'],
    ['percent', '5', '5%'],
    ['percent', '0.05', '5%'],
    ['cores', '500m', '0.5'],
  ];
  for (const [unit, written, suggestion] of wrong) {
    assert.deepEqual(value(unit, written), { suggestion }, `${unit} ${written}`);
  }
});

test('U2: what is shown for a value, read again, gives the same value', () => {
  const whole = fc.integer({ min: 0, max: 1e12 });
  fc.assert(
    fc.property(fc.constantFrom<Unit>('duration', 'size', 'percent'), whole, (unit, number) => {
      assert.equal(value(unit, unitText(unit, number)), number);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e6 }), (n) => {
      assert.equal(value('share', unitText('share', n / 1e6)), n / 1e6);
      assert.equal(value('rate', unitText('rate', n)), n);
      assert.equal(value('fee', unitText('fee', n / 1000)), n / 1000);
    }),
  );
  assert.equal(unitText('size', 1024 ** 2), '1MiB');
  assert.equal(unitText('size', 10_000_000), '10MB');
  assert.equal(unitText('duration', 90_000), '90s');
  assert.equal(unitText('rate', 1 / 60), '1/m');
});

test('any text as a quantity gives an answer, and the schema agrees with the reader', () => {
  const all = ['duration', 'size', 'rate', 'share', 'percent', 'cores', 'fee'] as const;
  const units = fc.constantFrom<Unit>(...all);
  const near = fc.stringMatching(/^[0-9.]{0,6} ?[a-zA-Z%/]{0,4}$/);
  fc.assert(
    fc.property(units, fc.oneof(fc.string(), near), (unit, text) => {
      const isOk = parseUnit(unit, text).kind === 'ok';
      assert.equal(isOk, new RegExp(unitPattern(unit), 'u').test(text), `${unit} ${text}`);
    }),
    { numRuns: 2000 },
  );
});

test('the nearest word is found by letters, case and joints, a far one is not offered', () => {
  const words = ['readiness', 'liveness', 'dependsOn', 'port', 'env'];
  assert.equal(nearest('readyness', words), 'readiness');
  assert.equal(nearest('depends_on', words), 'dependsOn');
  assert.equal(nearest('Port', words), 'port');
  assert.equal(nearest('prot', words), 'port');
  assert.equal(nearest('colour', words), undefined);
  assert.equal(nearest('x'.repeat(1e6), words), undefined);
  assert.equal(distance('ab', 'ba'), 1);
  fc.assert(fc.property(fc.string(), fc.string(), (a, b) => distance(a, b) === distance(b, a)));
  assert.equal(likelyName('North Side!', 'name'), 'north-side');
  assert.equal(likelyName('9-lives', 'name'), 'lives');
  assert.equal(likelyName('!!', 'name'), undefined);
});
