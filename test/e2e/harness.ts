// How does a test play one scenario on the shared system and judge it? The same data and the same
// judge as in simulation, then what only real processes can show: what clients got, what stands in
// the ledger, what `explain` tells.
import assert from 'node:assert/strict';
import type { IncidentSummary, RunStory, Status, StoryEvent } from '../../src/api/contract.ts';
import type { Scenario } from '../scenarios/language.ts';
import { play } from '../scenarios/play.ts';
import type { Judged } from '../scenarios/play.ts';
import type { Ran } from './commands.ts';
import { assertExplained, assertRecorded } from './evidence.ts';
import { clearFaults } from './faults.ts';
import { Load, shotsText } from './load.ts';
import type { Shot } from './load.ts';
import { RealStage } from './stage.ts';
import { calm, isOver, pidsOf, startSystem } from './system.ts';
import type { System } from './system.ts';

/** The machine of the tests is shared and slow; windows that hold end early anyway. */
const PATIENCE = 3;
const LOOK_EVERY_MS = 100;
const PER_SECOND = 80;
/** Below this the numbers of a scenario prove nothing. */
const SHOTS_MIN = 60;

export interface Played {
  readonly before: Status;
  readonly after: Status;
  readonly events: readonly StoryEvent[];
  readonly incidents: readonly IncidentSummary[];
  readonly runs: readonly RunStory[];
  readonly shots: readonly Shot[];
  readonly failed: readonly Shot[];
  /** Of the commands that were part of the scenario. */
  readonly answers: readonly Ran[];
  readonly text: string;
}

export interface Theatre {
  readonly system: System;
  readonly load: Load;
  readonly perform: (scenario: Scenario) => Promise<Played>;
  readonly calm: () => Promise<Status>;
  readonly close: () => Promise<void>;
}

/** Clients of two tenants are there all the time; the third is for faults of its own. */
export async function openTheatre(): Promise<Theatre> {
  const system = await startSystem();
  const load = new Load({
    gatewayUrl: system.gatewayUrl,
    keys: system.keys,
    tenants: ['northside', 'sunrise'],
    perSecond: PER_SECOND,
  });
  load.start();
  return {
    system,
    load,
    perform: (scenario) => perform(system, load, scenario),
    calm: () => calm(system),
    close: async () => {
      await load.stop();
      await system.close();
    },
  };
}

async function perform(system: System, load: Load, scenario: Scenario): Promise<Played> {
  const before = await calm(system);
  const stage = await RealStage.begin({ system, load, scenario, patience: PATIENCE });
  const judged = await playAndClear(system, scenario, stage);
  const answers = await Promise.all(stage.answers);
  const text = system.story.text(stage.startSeq);
  // For a look at how it went, also when it went well.
  if (process.env['KINTSUGI_E2E_STORY'] === '1') console.log(`${scenario.name}\n${text}`);
  const broken = judged.filter(({ held }) => !held);
  assert.deepEqual(
    broken.map(({ expectation, detail }) => ({ ...expectation, detail })),
    [],
    `what happened:\n${text}\n${shotsText(load.failed(stage.startAtMs))}`,
  );
  const after = await calm(system);
  const runs = await assertRecorded(system, stage.startAtMs, before.ledger.size);
  const incidents = (await system.client.incidents(50)).filter(
    ({ openedAtMs }) => openedAtMs >= stage.startAtMs,
  );
  await assertExplained(
    system,
    incidents.map(({ id }) => id),
  );
  const shots = load.since(stage.startAtMs);
  assert.ok(shots.length >= SHOTS_MIN, `${shots.length} requests: too few to prove anything`);
  return {
    before,
    after,
    events: system.story.since(stage.startSeq),
    incidents,
    runs: await Promise.all(runs.map(({ id }) => system.client.run(id))),
    shots,
    failed: load.failed(stage.startAtMs),
    answers,
    text,
  };
}

/** The faults of a scenario that failed must not be those of the next. */
async function playAndClear(
  system: System,
  scenario: Scenario,
  stage: RealStage,
): Promise<readonly Judged[]> {
  try {
    return await play(scenario, stage, { everyMs: LOOK_EVERY_MS, patience: PATIENCE });
  } finally {
    await clearFaults(system);
  }
}

export function assertNoneFailed({ failed, text }: Played): void {
  assert.equal(failed.length, 0, `failed requests:\n${shotsText(failed)}\n${text}`);
}

/** Nobody who still served was killed: each was given the time to end by itself. */
export function assertNoneForced({ runs, text }: Played): void {
  const steps = runs.flatMap((story) => story.steps).filter((s) => s.text.startsWith('stop '));
  const details = steps.flatMap(({ record }) => (record === undefined ? [] : [record.detail]));
  const forced = details.filter((detail) => detail.includes('forced') || detail.includes('KILL'));
  assert.deepEqual(forced, [], text);
}

/** The last act: `down` ends all of it, and the ledger is verified without anything running. */
export async function assertEnded({ system, load }: Theatre): Promise<void> {
  await load.stop();
  const running = [...pidsOf(await system.status()).values()];
  const head = await system.client.ledgerHead();
  const down = await system.down();
  assert.equal(down.code, 0, down.err);
  for (const pid of running) assert.ok(isOver(pid ?? 0), `pid ${pid} is gone`);
  const verified = await system.cli('--json', 'ledger', 'verify', '--vkey', head.vkey);
  assert.equal(verified.code, 0, verified.out + verified.err);
  const { report } = JSON.parse(verified.out) as { report: { kind: string; size: number } };
  assert.equal(report.kind, 'intact');
  assert.ok(report.size >= head.size, `${report.size} entries, ${head.size} before the end`);
}
