// Does every scenario of the issue come out as told, in simulation, with all checkers on?
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SCENARIOS } from '../scenarios/all.ts';
import { at, kill, nothingDone, between, healed, scenario, want } from '../scenarios/language.ts';
import { play } from '../scenarios/play.ts';
import { Simulation } from './simulation.ts';
import { simulatedStage } from './stage.ts';

const PLAY = { everyMs: 50, patience: 1 } as const;

describe('scenarios, in simulation', () => {
  for (const each of SCENARIOS) {
    it(`${each.number}. ${each.name}`, async () => {
      const sim = new Simulation({ seed: each.number, tuning: { probeMs: 500 } });
      const judged = await play(each, await simulatedStage(sim), PLAY);
      assert.deepEqual(
        judged.filter(({ held }) => !held),
        [],
      );
      assert.equal(judged.length, each.timeline.filter((m) => m.kind === 'want').length);
      assert.deepEqual(sim.checkers.violations, []);
    });
  }

  it('all thirteen of the issue are told', () => {
    assert.deepEqual(
      [...new Set(SCENARIOS.map((s) => s.number))],
      Array.from({ length: 13 }, (_, i) => i + 1),
    );
  });

  it('PY1: an expectation that does not come true fails, and each is judged once', async () => {
    const wrong = scenario(1, 'planted', [
      at(1, kill('records-2')),
      want(between(0, 5), nothingDone()),
      want(between(1, 5), healed('billing-1')),
    ]);
    const sim = new Simulation({ seed: 1, tuning: { probeMs: 500 } });
    const judged = await play(wrong, await simulatedStage(sim), PLAY);
    assert.deepEqual(
      judged.map(({ held }) => held),
      [false, false],
    );
  });
});
