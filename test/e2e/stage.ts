// How is a scenario played on real processes? The stage of `test/scenarios` over a running system
// that earlier scenarios have changed already.
//
//   RS1. The scenario's names stand for the replicas that are there when it begins: `records-1` is
//        the first active one, whatever it is called by now, and a newcomer gets the next number.
//   RS2. Time runs at its own pace while something is under way, and jumps to the timeline's next
//        moment when every fault was noticed and nothing is being done: half an hour of "and stays
//        so" need not be waited for. It never jumps over a moment, and rests at each.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../src/api/contract.ts';
import type { Fault, Scenario } from '../scenarios/language.ts';
import type { Snapshot, Stage, StoryLine } from '../scenarios/stage.ts';
import type { Ran } from './commands.ts';
import { doFault, prepare } from './faults.ts';
import type { Effect } from './faults.ts';
import type { Load } from './load.ts';
import type { System } from './system.ts';

/** So long nothing was done: then it is quiet. */
const QUIET_MS = 1_000;
/** Time at each moment of the timeline, for clients to show what they get. */
const REST_MS = 500;
/** A fault that does nothing is given this long to be mistaken for one. */
const NOTHING_MS = 10_000;
const ID = /\b(?:records|billing|scheduling|database)-\d+\b/gu;
const ROUTINE: ReadonlySet<string> = new Set(['service.audit']);

export class RealStage implements Stage {
  readonly startSeq: number;
  readonly startAtMs = Date.now();
  readonly answers: Promise<Ran>[] = [];
  readonly #system: System;
  readonly #load: Load;
  readonly #moments: readonly number[];
  /** A person who is asked does not answer here: waiting for that would take for ever. */
  readonly #mayAsk: boolean;
  readonly #names: Names;
  readonly #startedMs = performance.now();
  readonly #pending = new Set<{ readonly effect: Effect; readonly seq: number }>();
  #skippedMs = 0;
  #restUntilMs = 0;
  #last: Status | undefined;

  private constructor(parts: Begin, names: Names) {
    this.#system = parts.system;
    this.#load = parts.load;
    this.#names = names;
    this.startSeq = parts.system.story.seq;
    this.#moments = momentsOf(parts.scenario, parts.patience);
    this.#mayAsk = parts.scenario.timeline.some(
      (moment) => moment.kind === 'want' && moment.expectation.kind === 'escalated',
    );
  }

  static async begin(parts: Begin): Promise<RealStage> {
    for (const moment of parts.scenario.timeline) {
      if (moment.kind === 'at') await prepare(parts.system, moment.fault);
    }
    return new RealStage(parts, namesFrom(await parts.system.status()));
  }

  nowMs(): number {
    return performance.now() - this.#startedMs + this.#skippedMs;
  }

  async wait(ms: number): Promise<void> {
    await sleep(ms);
    for (const each of this.#pending) {
      const events = this.#system.story.since(each.seq);
      if (events.some((e) => each.effect.noticed(e.kind, e.text, e.service))) {
        this.#pending.delete(each);
      }
    }
    if (performance.now() < this.#restUntilMs || !this.#isQuiet()) return;
    const nowMs = this.nowMs();
    const next = this.#moments.find((moment) => moment > nowMs);
    if (next === undefined) return;
    this.#skippedMs += next - nowMs;
    this.#restUntilMs = performance.now() + REST_MS;
  }

  /** RS2. */
  #isQuiet(): boolean {
    const status = this.#last;
    if (status === undefined || this.#pending.size > 0 || status.runs.length > 0) return false;
    const open = status.incidents.filter(({ state }) => state.kind !== 'escalated');
    if (open.length > 0 || (status.incidents.length > 0 && !this.#mayAsk)) return false;
    if (status.controls.some(({ verdict }) => verdict !== 'satisfied')) return false;
    // When a person is asked, it is quiet although not everything stands.
    const short = status.services.some((s) => s.ready < s.wanted);
    if (short && status.incidents.length === 0) return false;
    const sinceMs = Date.now() - QUIET_MS;
    const news = this.#system.story.events.slice(-200);
    return !news.some(({ kind, atMs }) => !ROUTINE.has(kind) && atMs > sinceMs);
  }

  async act(fault: Fault): Promise<void> {
    const { seq } = this.#system.story;
    if (fault.kind === 'nothing') this.#restUntilMs = performance.now() + NOTHING_MS;
    const effect = await doFault(this.#system, fault, (id) => this.#names.real(id));
    if (effect === undefined) return;
    this.#pending.add({ effect, seq });
    if (effect.answer !== undefined) this.answers.push(effect.answer);
  }

  async status(): Promise<Snapshot | undefined> {
    try {
      this.#last = await this.#system.client.status();
    } catch {
      this.#last = undefined;
      return undefined;
    }
    return snapshotOf(this.#last, this.#names);
  }

  async story(after: number): Promise<readonly StoryLine[]> {
    const events = this.#system.story.since(Math.max(after, this.startSeq));
    return events
      .filter(({ kind }) => !ROUTINE.has(kind))
      .map(({ seq, kind, incident, service, text }) => ({
        seq,
        kind,
        incident,
        service,
        text: text.replaceAll(ID, (id) => this.#names.told(id)),
      }));
  }

  async traffic(): Promise<{ readonly requests: number; readonly failed: number }> {
    return {
      requests: this.#load.since(this.startAtMs).length,
      failed: this.#load.failed(this.startAtMs).length,
    };
  }
}

export interface Begin {
  readonly system: System;
  readonly load: Load;
  readonly scenario: Scenario;
  readonly patience: number;
}

/** Ms at which an act is due, a window opens, or ends. */
function momentsOf(scenario: Scenario, patience: number): readonly number[] {
  const all = scenario.timeline.flatMap((moment) =>
    moment.kind === 'at'
      ? [moment.atS * 1_000]
      : [moment.fromS * 1_000, moment.toS * 1_000 * patience],
  );
  return [...new Set(all)].toSorted((a, b) => a - b);
}

interface Names {
  /** From the scenario's name to the one of now. */
  readonly real: (told: string) => string;
  readonly told: (real: string) => string;
}

const ordinal = (id: string): number => Number(id.slice(id.lastIndexOf('-') + 1));
const serviceOf = (id: string): string => id.slice(0, id.lastIndexOf('-'));

/** RS1. */
function namesFrom(status: Status): Names {
  const forward = new Map<string, string>();
  const backward = new Map<string, string>();
  const highest = new Map<string, { readonly real: number; readonly told: number }>();
  for (const { name, replicas } of status.services) {
    const rank = (role: string): number => (role === 'active' ? 0 : 1);
    const sorted = [...replicas].toSorted(
      (a, b) => rank(a.role) - rank(b.role) || ordinal(a.id) - ordinal(b.id),
    );
    for (const [index, { id }] of sorted.entries()) {
      forward.set(`${name}-${index + 1}`, id);
      backward.set(id, `${name}-${index + 1}`);
    }
    highest.set(name, {
      real: Math.max(0, ...sorted.map(({ id }) => ordinal(id))),
      told: sorted.length,
    });
  }
  return {
    real: (told) => forward.get(told) ?? told,
    told(real) {
      const known = backward.get(real);
      const top = highest.get(serviceOf(real));
      if (known !== undefined || top === undefined) return known ?? real;
      const above = ordinal(real) - top.real;
      return above > 0 ? `${serviceOf(real)}-${top.told + above}` : `former ${real}`;
    },
  };
}

function snapshotOf(status: Status, names: Names): Snapshot {
  return {
    services: status.services.map(({ name, wanted, release, replicas }) => ({
      name,
      wanted,
      release,
      replicas: replicas.map((r) => ({
        id: names.told(r.id),
        pid: r.pid,
        phase: r.phase,
        role: r.role,
        weight: r.weight,
        available: r.available,
        release: r.release,
      })),
    })),
    incidents: status.incidents.map(({ id, title, state }) => ({
      id,
      title: title.replaceAll(ID, (each) => names.told(each)),
      state: state.kind,
      reason: 'reason' in state ? state.reason : undefined,
    })),
    quarantines: status.tenants.flatMap(({ id, quarantined }) =>
      quarantined.map((route) => ({ tenant: id, route })),
    ),
  };
}
