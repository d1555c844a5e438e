// Of which parts is a loop made, and how are they joined? Built once; `loop.ts` says what they do.
import { EMPTY_FLEET } from '../model/fleet.ts';
import type { ReplicaId } from '../model/ids.ts';
import type { Incident } from '../model/incident.ts';
import type { Run } from '../model/run.ts';
import { createApprovals } from './act/approvals.ts';
import { keepBook } from './act/book.ts';
import { createExecutor } from './act/executor.ts';
import { auditRecord } from '../model/audit.ts';
import type { TenantId } from '../model/ids.ts';
import { emptyCanvas } from './observe/fold.ts';
import { createInbox } from './observe/inbox.ts';
import { startWatch } from './observe/watch.ts';
import { createRecorder } from './record/record.ts';
import { progress } from './runs.ts';
import type { LoopPorts, LoopState } from './state.ts';

function noteAudit({ manifest, world }: LoopPorts, replica: ReplicaId, event: unknown): void {
  const { tenants } = manifest();
  const made = auditRecord(replica, event, (id) => tenants.has(id as TenantId));
  const { tenant } = made;
  const scope = tenant === undefined ? undefined : { tenant, private: made.private };
  world.ledger.note('service.audit', made.detail, scope);
}

export function assemble(ports: LoopPorts): LoopState {
  const { world, epoch } = ports;
  const stop = new AbortController();
  const canvas = emptyCanvas(world.clock.monotonicMs());
  const inbox = createInbox(world.clock);
  const book = keepBook({ world, epoch, fleet: ports.fleet ?? EMPTY_FLEET, table: ports.table });
  const recorder = createRecorder({
    world,
    epoch,
    mustBeWitnessed: (playbook) => ports.manifest().ledger.witnessFor.includes(playbook),
  });
  const readyWords: LoopState['readyWords'] = new Map();
  const watch = startWatch({
    world,
    manifest: ports.manifest,
    fleet: () => book.fleet(),
    put: (s) => inbox.put(s),
    onReady: (replica) => {
      for (const wake of readyWords.get(replica) ?? []) wake();
    },
    onAudit: (replica, event) => noteAudit(ports, replica, event),
  });
  const approvals = createApprovals({
    world,
    epoch,
    nudge: () => inbox.nudge(),
    told: (text, run, incident) =>
      recorder.tell({
        entry: 'approval.decided',
        kind: 'approval',
        text,
        data: {},
        run,
        ...(incident === undefined ? {} : { incident }),
      }),
  });
  const executor = executorOf(ports, {
    canvas,
    watch,
    book,
    recorder,
    approvals,
    readyWords,
    stop,
    state: () => state,
  });
  const state: LoopState = {
    ports,
    canvas,
    inbox,
    watch,
    book,
    recorder,
    executor,
    approvals,
    stop,
    incidents: new Map(ports.incidents.map((i) => [i.id, afterRestart(i, ports)])),
    unwritten: new Map(),
    live: new Map(),
    trials: new Map(),
    refusals: new Map(),
    readyWords,
    disruptions: [],
    findings: [],
    halted: false,
    heldUntilMs: 0,
    fatal: undefined,
  };
  return state;
}

interface Organs extends Pick<LoopState, 'canvas' | 'watch' | 'book' | 'recorder' | 'approvals'> {
  readonly readyWords: LoopState['readyWords'];
  readonly stop: AbortController;
  /** The state, once it stands. */
  readonly state: () => LoopState;
}

function executorOf(ports: LoopPorts, organs: Organs): LoopState['executor'] {
  const { world, epoch } = ports;
  const { canvas, watch, book, recorder, approvals, readyWords, stop } = organs;
  return createExecutor({
    world,
    epoch,
    book,
    manifest: ports.manifest,
    picture: () => canvas,
    order: ports.order,
    readyWord: (replica, signal) => readyWord(readyWords, replica, signal),
    ending: (replica) => canvas.ending.add(replica),
    hurry: () => watch.hurry(),
    stop: stop.signal,
    crashPoint: ports.crashPoint,
    digest: ports.digest,
    intend: (run) => recorder.intend(run),
    conclude: (run, result) => recorder.conclude(run, result),
    approval: (run) => approvals.ask(run, stop.signal),
    told: (run, text, data) => {
      progress(organs.state(), run);
      recorder.tell({
        entry: undefined,
        kind: 'run.step',
        text,
        data,
        run: run.id,
        ...(run.incident === undefined ? {} : { incident: run.incident }),
        ...(run.plan.service === undefined ? {} : { service: run.plan.service }),
      });
    },
  });
}

/** Resolves at the replica's own word, or when the signal aborts; nothing is left behind. */
function readyWord(
  readyWords: LoopState['readyWords'],
  replica: ReplicaId,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const wakes = readyWords.get(replica) ?? new Set();
    readyWords.set(replica, wakes);
    const wake = (): void => {
      wakes.delete(wake);
      if (wakes.size === 0) readyWords.delete(replica);
      resolve();
    };
    wakes.add(wake);
    signal.addEventListener('abort', wake, { once: true });
  });
}

/** What is resumed is acted on, what was interrupted is looked at anew. */
function afterRestart(incident: Incident, ports: LoopPorts): Incident {
  const nowMs = ports.world.clock.monotonicMs();
  const resumed = ports.runs.find((run) => run.incident === incident.id);
  const before = incident.attempts.map((a) => ({ ...a, endedAtMs: Math.min(a.endedAtMs, nowMs) }));
  const { state, attempts } = stateAfterRestart(incident.state, before, resumed, nowMs);
  return {
    ...incident,
    state,
    attempts,
    openedAtMs: Math.min(incident.openedAtMs, nowMs),
    seenAtMs: nowMs,
  };
}

function stateAfterRestart(
  state: Incident['state'],
  attempts: Incident['attempts'],
  resumed: Run | undefined,
  nowMs: number,
): Pick<Incident, 'state' | 'attempts'> {
  if (resumed !== undefined) return { state: { kind: 'acting', plan: resumed.plan.id }, attempts };
  if (state.kind !== 'verifying' && state.kind !== 'acting') return { state, attempts };
  // Its verdict died with the controller. It counts as an attempt, so that no plan id comes twice.
  const interrupted = {
    plan: state.plan,
    playbook: 'interrupted',
    endedAtMs: nowMs,
    verdict: 'inconclusive',
  } as const;
  return { state: { kind: 'open' }, attempts: [...attempts, interrupted] };
}
