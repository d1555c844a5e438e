// How does the real transparency log live in a simulation? Over a disk in memory that loses what
// was not synced when the control plane is killed, opened again by each incarnation, signing only
// when asked. A part of the seeds run over it, and its folder is verified at the end.
//
//   SJ1. After each kill the log recovers, and what was acknowledged is still there.
import { MemoryFiles, openLedger, signerFromSeed, verifyLedgerDir } from '@kintsugi/ledger';
import type { Files, FsckReport, Ledger as Log } from '@kintsugi/ledger';
import type { Ledger, Written } from '../../src/world/ledger.ts';
import type { Clock } from '../../src/world/clock.ts';
import type { Life } from '../../src/world/sim/clock.ts';
import type { LedgerDisk } from '../../src/world/sim/ledger.ts';
import { unanswered } from '../../src/world/sim/runtime.ts';

const ORIGIN = 'sim.kintsugi.invalid/ledger';
const DIR = 'ledger';
const SEGMENT_BYTES = 1_048_576;

export interface RealLedgerSetup {
  readonly life: Life;
  readonly clock: Clock;
  /** Mirrors what is open, for the checkers. */
  readonly disk: LedgerDisk;
  readonly before: () => Promise<void> | void;
}

export class RealLedger {
  readonly #files = new MemoryFiles();
  readonly #signer = signerFromSeed(ORIGIN, new Uint8Array(32).fill(7)).signer;
  /** Highest index that was ever acknowledged (SJ1). */
  #acknowledged = -1;

  crash(): void {
    this.#files.crash();
  }

  async open(setup: RealLedgerSetup): Promise<Ledger> {
    const { clock } = setup;
    const log = await openLedger({
      dir: DIR,
      origin: ORIGIN,
      signer: this.#signer,
      files: ownedBy(setup.life, this.#files),
      signing: 'lazy',
      segmentBytes: SEGMENT_BYTES,
      clock: {
        nowMs: () => clock.nowMs(),
        monotonicMs: () => clock.monotonicMs(),
        sleep: (ms, signal) => clock.sleep(ms, signal).catch(() => undefined),
      },
    });
    if (log.size <= this.#acknowledged) throw new Error(`lost entries: ${log.size} are left`);
    mirror(log, setup.disk);
    return this.#adapt(log, setup);
  }

  verify(): Promise<FsckReport> {
    return verifyLedgerDir(DIR, this.#signer.vkey, { files: this.#files, allowUnsigned: true });
  }

  #adapt(log: Log, setup: RealLedgerSetup): Ledger {
    const { life, disk } = setup;
    const call = async (
      work: () => Promise<{ readonly index: number; readonly leafHash: string }>,
    ): Promise<Written> => {
      try {
        if (life.dead) return await unanswered();
        await setup.before();
        if (life.dead) return await unanswered();
        const { index, leafHash } = await work();
        if (life.dead) return await unanswered();
        this.#acknowledged = Math.max(this.#acknowledged, index);
        mirror(log, disk);
        return { index, leafHash };
      } catch (error) {
        if (life.dead) return unanswered();
        throw error;
      }
    };
    return {
      intent: (subject, detail, { deadlineMs }) =>
        call(async () => {
          const input = { kind: 'plan.intent', subject, detail, deadlineMs };
          const { index, receipt } = await log.intent(input);
          disk.intents += 1;
          return { index, leafHash: receipt.leafHash };
        }),
      outcome: (index, result, detail) =>
        call(async () => {
          const done = await log.closeIntent(index, { result, detail });
          disk.closed += 1;
          return done;
        }),
      record: (kind, detail) => call(() => log.record(kind, detail)),
      note(kind, detail) {
        if (!life.dead) void log.record(kind, detail, { wait: 'queued' }).catch(() => undefined);
      },
      openIntents: () =>
        log.openIntents().map(({ index, subject, detail }) => ({ index, subject, detail })),
      troubles: () => [],
      head: () => ({ size: log.size, checkpoint: '' }),
      close: () => log.close(),
    };
  }
}

/** The disk as one incarnation has it: after its death nothing it still wanted to do happens. */
function ownedBy(life: Life, files: Files): Files {
  const guard =
    <A extends readonly unknown[], R>(
      work: (...args: A) => Promise<R>,
    ): ((...args: A) => Promise<R>) =>
    (...args) =>
      life.dead ? unanswered() : work(...args);
  return {
    mkdir: guard((path: string) => files.mkdir(path)),
    list: guard((dir: string) => files.list(dir)),
    open: guard((path: string, mode: 'read' | 'write' | 'create') => files.open(path, mode)),
    readWhole: guard((path: string, bytesMax: number) => files.readWhole(path, bytesMax)),
    rename: guard((from: string, to: string) => files.rename(from, to)),
    remove: guard((path: string) => files.remove(path)),
    syncDir: guard((dir: string) => files.syncDir(dir)),
    identity: guard((path: string) => files.identity(path)),
    lock: guard((dir: string) => files.lock(dir)),
  };
}

function mirror(log: Log, disk: LedgerDisk): void {
  disk.size = log.size;
  disk.open.clear();
  for (const { index, subject, detail } of log.openIntents()) {
    disk.open.set(index, { index, subject, detail });
  }
  // An intent or outcome that was durable and never acknowledged counts as well.
  disk.intents = disk.closed + disk.open.size;
}
