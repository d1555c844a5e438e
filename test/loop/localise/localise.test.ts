import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Leaves,
  leavesBelow,
  openCube,
  shift,
} from '../../../src/loop/diagnose/localise/cube.ts';
import { localise, LOCALISE_LIMITS } from '../../../src/loop/diagnose/localise/localise.ts';
import { covers, rippleCase, type RippleSetup, same } from './ripple.ts';

const SIZES = [60, 5, 20, 12, 3];

function setup(seed: number, more: Partial<RippleSetup> = {}): RippleSetup {
  return { seed: seed * 7919, sizes: SIZES, leaves: 8_000, causes: 1, noise: 0.08, ...more };
}

/** Two dimensions of 10 values each; `of` gives the deviation of (a, b). */
function square(of: (a: number, b: number) => number): Leaves {
  const a = Int32Array.from({ length: 100 }, (_, i) => Math.floor(i / 10));
  const b = Int32Array.from({ length: 100 }, (_, i) => i % 10);
  const deviation = Float64Array.from(a, (v, i) => of(v, b[i] ?? 0));
  const weight = new Float64Array(100).fill(1);
  return { count: 100, sizes: [10, 10], value: [a, b], deviation, weight };
}

/** Noise without chance: the same spread everywhere. */
const hum = (a: number, b: number): number => 0.01 * Math.sin(17 * a + 5 * b * b);

describe('localisation', () => {
  for (const causes of [1, 2, 3]) {
    test(`names exactly the elements of ${causes} seeded causes, and nothing beside them`, () => {
      for (let seed = 1; seed <= 8; seed += 1) {
        const { leaves, truth } = rippleCase(setup(seed, { causes }));
        assert.ok(truth.length >= causes);
        const found = localise(leaves);
        assert.equal(found.kind, 'found', `seed ${seed}`);
        const named = found.kind === 'found' ? found.causes.map((cause) => cause.element) : [];
        assert.equal(named.length, truth.length, `seed ${seed}: ${JSON.stringify(named)}`);
        for (const element of truth) assert.ok(named.some((other) => same(other, element)));
      }
    });
  }

  test('LO3. a cause in a dimension that nobody recorded is told as external', () => {
    let external = 0;
    for (let seed = 1; seed <= 20; seed += 1) {
      const { leaves } = rippleCase(setup(seed, { external: true }));
      if (localise(leaves).kind === 'external') external += 1;
    }
    assert.ok(external >= 18, `${external} of 20`);
  });

  test('LO3. when everything is shifted alike, no value of any dimension is blamed', () => {
    const found = localise(square((a, b) => 0.5 + hum(a, b)));
    assert.equal(found.kind, 'external');
  });

  test('LO2. noise alone names nobody', () => {
    const found = localise(square(hum));
    assert.deepEqual(found, { kind: 'nothing' });
    const { leaves } = rippleCase(setup(5, { causes: 0 }));
    assert.equal(localise(leaves).kind, 'nothing');
  });

  test('LO2. a whole row is named as the row, not as its cells', () => {
    const found = localise(square((a, b) => (a === 3 ? 0.4 : 0) + hum(a, b)));
    assert.equal(found.kind, 'found');
    const causes = found.kind === 'found' ? found.causes : [];
    assert.deepEqual(
      causes.map(({ element, leaves }) => ({ element, leaves })),
      [{ element: [3, undefined], leaves: 10 }],
    );
    assert.ok(Math.abs((causes[0]?.shift ?? 0) - 0.4) < 0.02);
    assert.ok((causes[0]?.share ?? 0) > 0.95);
  });

  test('LO2. a row with sound cells in it is not named whole', () => {
    const found = localise(square((a, b) => (a === 3 && b < 5 ? 0.4 : 0) + hum(a, b)));
    const causes = found.kind === 'nothing' ? [] : found.causes;
    assert.ok(causes.every(({ element }) => element[1] !== undefined));
  });

  test('LO1. the same leaves give the same answer', () => {
    const one = localise(rippleCase(setup(3, { causes: 2 })).leaves);
    const other = localise(rippleCase(setup(3, { causes: 2 })).leaves);
    assert.deepEqual(one, other);
  });

  test('LO4. it names no more elements than it may', () => {
    const limits = { ...LOCALISE_LIMITS, elementsMax: 2 };
    const found = localise(rippleCase(setup(2, { causes: 3 })).leaves, limits);
    assert.ok(found.kind !== 'nothing' && found.causes.length <= 2);
  });

  test('no leaf and a single leaf are no reason to fail', () => {
    const none = { count: 0, sizes: [2], value: [new Int32Array(0)] };
    const empty = { ...none, deviation: new Float64Array(0), weight: new Float64Array(0) };
    assert.equal(localise(empty).kind, 'nothing');
    const one = { count: 1, sizes: [2], value: [new Int32Array(1)] };
    const single = { ...one, deviation: Float64Array.of(3), weight: Float64Array.of(1) };
    assert.notEqual(localise(single).kind, 'found');
  });
});

describe('sums over combinations', () => {
  const { leaves } = rippleCase(setup(11, { causes: 2 }));
  const cube = openCube(leaves);

  test('CB1. elements are numbered without holes, and every sum is that of its leaves', () => {
    assert.equal(cube.length, 31);
    for (const cuboid of cube) {
      assert.ok(cuboid.elements <= leaves.count);
      assert.equal(
        cuboid.leaves.reduce((sum, n) => sum + n, 0),
        leaves.count,
      );
      for (const e of [0, cuboid.elements - 1]) {
        const below = leavesBelow(cuboid, e);
        const sample = cuboid.sample[e] ?? 0;
        const element = leaves.value.map((column, d) =>
          ((cuboid.mask >> d) & 1) === 1 ? column[sample] : undefined,
        );
        for (const leaf of below) assert.ok(covers(element, leaves.value, leaf));
        const sum = below.reduce(
          (all, leaf) => all + (leaves.weight[leaf] ?? 0) * (leaves.deviation[leaf] ?? 0),
          0,
        );
        assert.ok(Math.abs(sum - (cuboid.sums[e] ?? 0)) < 1e-6);
      }
    }
  });

  test('CB2. after a shift the sums are those of a fresh count', () => {
    const first = cube[4];
    assert.ok(first !== undefined);
    shift(cube, leaves, leavesBelow(first, 1), 0.3);
    const fresh = openCube(leaves);
    fresh.forEach((cuboid, i) => {
      for (let e = 0; e < cuboid.elements; e += 1) {
        assert.ok(Math.abs((cuboid.sums[e] ?? 0) - (cube[i]?.sums[e] ?? 0)) < 1e-6);
        assert.ok(Math.abs((cuboid.squares[e] ?? 0) - (cube[i]?.squares[e] ?? 0)) < 1e-6);
      }
    });
  });

  test('six dimensions are refused: the cube would double', () => {
    const value = Array.from({ length: 6 }, () => new Int32Array(1));
    const sizes = [1, 1, 1, 1, 1, 1];
    const one = Float64Array.of(1);
    assert.throws(() => openCube({ count: 1, sizes, value, deviation: one, weight: one }));
  });
});
