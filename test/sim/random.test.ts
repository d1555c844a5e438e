// Do random faults, in every combination that a few seeds draw, leave the system whole? The long
// version is `npm run sim -- --seeds 200 --hours 10`.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runSeed } from './random.ts';
import { Simulation } from './simulation.ts';

describe('random trouble', () => {
  for (const seed of [2, 3, 4, 5, 6, 36]) {
    it(`seed ${seed}: an hour of it leaves no violation and nothing open`, async () => {
      const report = await runSeed({ seed, hours: 1 });
      assert.deepEqual(report.violations, [], report.story.slice(-20).join('\n'));
      assert.ok(report.faults > 3 && report.incidents > 0 && report.acts > 10);
    });
  }

  it('no fault, no act: an hour of peace changes nothing', async () => {
    const sim = new Simulation({ seed: 77 });
    sim.boot();
    await sim.run(30_000);
    const { acts } = sim.checkers;
    const { size } = sim.ledger;
    await sim.run(3_600_000);
    assert.equal(sim.checkers.acts, acts);
    assert.equal(sim.ledger.size, size);
    sim.checkers.final();
    assert.deepEqual(sim.checkers.violations, []);
  });
});
