// How does the world learn of the log's newest tree? Epoch, signatures, `checkpoint` file, history,
// witnesses, in that order; and who needs to know may wait for each level.
// PB1. A checkpoint is in `checkpoints.log` before anybody can see it in the `checkpoint` file.
// PB2. Neither file ever goes back: a late cosignature of an older checkpoint does not replace it.
// PB3. Calls coalesce, and no two publications begin within `publishEveryMs` unless one is hurried.
// PB4. Witnesses delay nobody: publication goes on without them, and the state says who is missing.
// PB5. Proof that the log was rolled back or forked stops publishing for good, with the evidence;
//      so does the loss of the place that the log is written to.

import { utf8 } from './bytes.ts';
import { CheckpointsLog } from './checkpoints-log.ts';
import { LedgerError, errorText, typedError } from './errors.ts';
import { replaceFile } from './files.ts';
import { addSignatures, parseNote, signatureLine } from './note.ts';
import { judgeQuorum } from './policy.ts';
import type { PublishDocuments, PublishState, PublisherOptions } from './publish/options.ts';
import { resume } from './publish/resume.ts';
import type { Resumed } from './publish/resume.ts';
import { cosignedText, quorumOf } from './publish/target.ts';
import type { Target } from './publish/target.ts';
import { watchPlace } from './publish/watch.ts';
import { Waiters } from './publish/waiters.ts';
import type { PublishLevel } from './publish/waiters.ts';
import type { OwnCheckpoint } from './witness/client.ts';
import type { WitnessEvidence } from './witness/evidence.ts';
import { highWaterError } from './witness/high-water.ts';
import { WitnessRounds, checkWitnessHighWater } from './witness/rounds.ts';

export type { PublishLevel } from './publish/waiters.ts';
export type { QuorumState } from './publish/target.ts';
export type {
  PublishClock,
  PublishDocuments,
  PublishState,
  PublishedLog,
  PublisherOptions,
} from './publish/options.ts';

const WAIT_DEFAULT_MS = 30_000;
/** As a number of saved cosignatures: this process did not write the file yet. */
const NEVER = -1;

export async function openPublisher(options: PublisherOptions): Promise<Publisher> {
  const { files, dir, log, policy, logFileBytes } = options;
  const fileBytes = logFileBytes === undefined ? {} : { fileBytes: logFileBytes };
  let history: CheckpointsLog | undefined;
  try {
    history = await CheckpointsLog.open({ files, dir, ...fileBytes });
    const resumed = await resume(
      {
        documents: documentsOf(options),
        policy,
        vkeys: vkeysOf(options),
        head: log.checkpoint(),
        consistency: (before, after) => log.consistency(before, after),
      },
      history.tail,
    );
    await refuseOldLog(options);
    return new Publisher(options, history, resumed);
  } catch (cause) {
    await history?.close();
    throw typedError(cause, `cannot resume publishing in ${dir}`);
  }
}

function documentsOf({ documents, files, dir }: PublisherOptions): PublishDocuments {
  return (
    documents ?? {
      readDocument: (name, bytesMax) => files.readWhole(`${dir}/${name}`, bytesMax),
      replaceDocument: (name, bytes) => replaceFile(files, dir, name, bytes),
    }
  );
}

async function refuseOldLog(options: PublisherOptions): Promise<void> {
  const { policy, highWater = 'refuse' } = options;
  if (policy === undefined || policy.witnesses.length === 0 || highWater === 'skip') return;
  const { log } = options;
  const verdict = await checkWitnessHighWater({
    ...options,
    policy,
    vkeys: vkeysOf(options),
    log: {
      // A witness may know only one of our keys.
      checkpoint: () => withAllSignatures(log.checkpoint(), options),
      consistency: (before, after) => log.consistency(before, after),
    },
  });
  const error = highWaterError(verdict);
  if (error !== undefined) throw error;
}

function withAllSignatures(
  head: OwnCheckpoint,
  { signers = [], clock }: PublisherOptions,
): OwnCheckpoint {
  if (signers.length === 0) return head;
  const body = parseNote(head.text)?.text ?? '';
  const timestampS = BigInt(Math.floor(clock.nowMs() / 1000));
  const lines = signers.map((signer) => signatureLine(body, signer, { timestampS })).join('');
  const text = addSignatures(head.text, lines);
  if (text !== undefined) return { ...head, text };
  throw new LedgerError('KIN_LEDGER_NOTE_INVALID', 'the checkpoint takes no more signatures');
}

function vkeysOf({ vkey, signers = [] }: PublisherOptions): readonly string[] {
  return [vkey, ...signers.map((signer) => signer.vkey)];
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #history: CheckpointsLog;
  readonly #waiters: Waiters;
  readonly #rounds: WitnessRounds | undefined;
  #target: Target | undefined;
  #witnessedText: string | undefined;
  #health: PublishState['health'] = { kind: 'good' };
  #stoppedBy: LedgerError | undefined;
  #next: Promise<OwnCheckpoint> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #writing: Promise<unknown> = Promise.resolve();
  #hurry = new AbortController();
  #startedAtMs = -Infinity;
  #closing: Promise<void> | undefined;
  readonly #closed = new AbortController();

  constructor(options: PublisherOptions, history: CheckpointsLog, resumed: Resumed) {
    this.#options = options;
    this.#history = history;
    this.#waiters = new Waiters(options.clock, options.waitersMax ?? 65_536);
    this.#adopt(resumed);
    void watchPlace(options, this.#closed.signal, {
      lost: (error) => this.#stop(error, []),
      failing: (error) => this.#failing(error),
    });
    const { policy } = options;
    if (policy === undefined || policy.witnesses.length === 0) return;
    this.#rounds = new WitnessRounds({
      ...options,
      policy,
      vkeys: vkeysOf(options),
      isQuorum: (target) => this.#isQuorum(target),
      onCosigned: (target, witness, lines) => this.#cosigned(target, witness, lines),
      onSettled: (target) => this.#save(target),
      onEvidence: (evidence) => this.#judge(evidence),
      onChange: () => this.#changed(),
    });
    for (const [name, size] of resumed.witnessSizes) this.#rounds.remember(name, size);
    if (this.#target !== undefined) this.#rounds.offer(this.#target);
  }

  state(): PublishState {
    return {
      size: this.#options.log.checkpoint().size,
      publishedSize: this.#waiters.sizeOf('published'),
      witnessedSize: this.#waiters.sizeOf('witnessed'),
      anchoredSize: this.#waiters.sizeOf('anchored'),
      quorum: quorumOf(this.#options.policy, this.#target),
      witnesses: this.#rounds?.statuses() ?? [],
      health: this.#health,
    };
  }

  /** The newest published checkpoint with the cosignatures that it has by now. */
  published(): string | undefined {
    return this.#target && cosignedText(this.#options.policy, this.#target);
  }

  /** The newest checkpoint with a quorum: what proofs for others should carry. */
  witnessed(): string | undefined {
    return this.#witnessedText;
  }

  /** The log grew: it is published within `publishEveryMs`. Cheap, for every group. */
  grown(): void {
    if (this.#closing !== undefined || this.#next !== undefined) return;
    // What fails is in the state, and the next growth tries again.
    this.publish().catch(() => undefined);
  }

  /** PB3. Resolves when a checkpoint at least as new as the log at this moment is in the file. */
  publish(options: { readonly now?: boolean } = {}): Promise<OwnCheckpoint> {
    if (this.#closing !== undefined) return Promise.reject(closed());
    this.#next ??= this.#turn.then(() => this.#publishInTime());
    this.#turn = this.#next.catch(() => undefined);
    if (options.now === true) this.#hurry.abort();
    return this.#next;
  }

  /** Resolves with the size that reached the level; rejects with a typed error, never hangs. */
  async waitFor(
    index: number,
    level: PublishLevel,
    deadlineMs: number = WAIT_DEFAULT_MS,
  ): Promise<number> {
    if (!Number.isSafeInteger(index) || index < 0) {
      throw new LedgerError('KIN_LEDGER_RANGE', `${index} is no index`);
    }
    if (!Number.isFinite(deadlineMs) || deadlineMs < 0) {
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', 'a wait needs a deadline');
    }
    if (this.#closing !== undefined) throw closed();
    if (level === 'witnessed' && this.#options.policy === undefined) {
      const why = 'nothing is witnessed without a policy that names witnesses';
      throw new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
    }
    const done = this.#waiters.sizeOf(level) > index;
    if (!done && this.#stoppedBy !== undefined) throw this.#stoppedBy;
    if (this.#waiters.sizeOf('published') <= index) this.grown();
    return this.#waiters.wait(level, index, deadlineMs);
  }

  /** Said by the anchors: everything below `size` is anchored outside. */
  anchored(size: number): void {
    this.#waiters.reached('anchored', size);
    this.#changed();
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  #adopt({ published, lines, witnessed }: Resumed): void {
    if (published !== undefined) {
      this.#target = { checkpoint: published, lines: new Map(lines), saved: NEVER };
      this.#waiters.reached('published', published.size);
      if (this.#options.policy?.quorum === 'none') {
        this.#waiters.reached('witnessed', published.size);
      }
    }
    if (witnessed !== undefined) {
      this.#witnessedText = witnessed.text;
      this.#waiters.reached('witnessed', witnessed.size);
    }
  }

  async #publishInTime(): Promise<OwnCheckpoint> {
    const { clock, publishEveryMs = 1000 } = this.#options;
    const waitMs = this.#startedAtMs + publishEveryMs - clock.monotonicMs();
    if (waitMs > 0) await clock.sleep(waitMs, this.#hurry.signal);
    if (this.#hurry.signal.aborted && this.#closing === undefined) {
      this.#hurry = new AbortController();
    }
    // From here on the tree is chosen: whoever asks now needs the next publication.
    this.#next = undefined;
    this.#startedAtMs = clock.monotonicMs();
    try {
      const checkpoint = await this.#publishNow();
      if (this.#health.kind === 'failing') this.#health = { kind: 'good' };
      return checkpoint;
    } catch (cause) {
      this.#failing(cause);
      throw typedError(cause, 'cannot publish the checkpoint');
    } finally {
      this.#changed();
    }
  }

  async #publishNow(): Promise<OwnCheckpoint> {
    const { log, appendEpoch, policy } = this.#options;
    if (this.#stoppedBy !== undefined) throw this.#stoppedBy;
    await appendEpoch?.();
    // The same head again: a crash or a full disk may have come between the history and the file.
    const target = this.#unchanged(log.checkpoint()) ?? (await this.#begin(log.checkpoint()));
    const { checkpoint } = target;
    await this.#save(target, true);
    this.#waiters.reached('published', checkpoint.size);
    if (policy?.quorum === 'none') this.#waiters.reached('witnessed', checkpoint.size);
    this.#rounds?.offer(target);
    return checkpoint;
  }

  #unchanged(head: OwnCheckpoint): Target | undefined {
    const before = this.#target?.checkpoint;
    return before?.size === head.size && before.root === head.root ? this.#target : undefined;
  }

  /** PB1. */
  async #begin(head: OwnCheckpoint): Promise<Target> {
    const before = this.#target?.checkpoint.size ?? -1;
    if (head.size <= before) {
      const what = `size ${before} was published, and the log has another tree of ${head.size}`;
      const error = new LedgerError('KIN_LEDGER_ROLLED_BACK', what);
      this.#stop(error, []);
      throw error;
    }
    const checkpoint = withAllSignatures(head, this.#options);
    const { size, text: note } = checkpoint;
    const at = new Date(this.#options.clock.nowMs()).toISOString();
    await this.#history.append({ kind: 'published', at, size, note });
    this.#target = { checkpoint, lines: new Map(), saved: NEVER };
    return this.#target;
  }

  #isQuorum({ lines }: Target): boolean {
    const { policy } = this.#options;
    return policy !== undefined && judgeQuorum(policy, new Set(lines.keys())).kind === 'met';
  }

  async #cosigned(target: Target, witness: string, lines: string): Promise<void> {
    const wasMet = this.#isQuorum(target);
    target.lines.set(witness, lines);
    const { size } = target.checkpoint;
    const at = new Date(this.#options.clock.nowMs()).toISOString();
    try {
      await this.#history.append({ kind: 'cosigned', at, size, witness, lines });
    } catch (cause) {
      this.#failing(cause);
    }
    if (!wasMet && this.#isQuorum(target)) await this.#save(target);
    this.#changed();
  }

  /** PB2. One write after the other; never rejects unless `must`, but says so in the state. */
  async #save(target: Target | undefined, must = false): Promise<void> {
    if (target === undefined || target.saved === target.lines.size) return;
    const done = this.#writing.then(() => this.#write(target));
    this.#writing = done.catch(() => undefined);
    try {
      await done;
    } catch (cause) {
      if (must) throw cause;
      this.#failing(cause);
    }
  }

  async #write(target: Target): Promise<void> {
    const { policy } = this.#options;
    const documents = documentsOf(this.#options);
    const { size } = target.checkpoint;
    const count = target.lines.size;
    const text = cosignedText(policy, target);
    const isQuorum = policy?.quorum !== 'none' && this.#isQuorum(target);
    if (target === this.#target) await documents.replaceDocument('checkpoint', utf8(text));
    if (isQuorum && size >= this.#waiters.sizeOf('witnessed')) {
      await documents.replaceDocument('checkpoint.witnessed', utf8(text));
      this.#witnessedText = text;
      this.#waiters.reached('witnessed', size);
    }
    target.saved = count;
  }

  /** PB5 for proofs; a mere claim stays with the witness that made it. */
  #judge(evidence: WitnessEvidence): void {
    if (!evidence.proven || evidence.kind === 'claims-more') return;
    const { kind, witness, witnessSize, ourSize } = evidence;
    const code = kind === 'forked' ? 'KIN_LEDGER_FORKED' : 'KIN_LEDGER_ROLLED_BACK';
    const what = `${witness} shows our own signature over size ${witnessSize}`;
    this.#stop(new LedgerError(code, `${what}; our log has ${ourSize}`, { cause: evidence }), [
      evidence,
    ]);
  }

  #stop(error: LedgerError, evidence: readonly WitnessEvidence[]): void {
    if (this.#health.kind === 'stopped' || this.#closing !== undefined) return;
    const since = new Date(this.#options.clock.nowMs()).toISOString();
    this.#stoppedBy = error;
    this.#health = { kind: 'stopped', reason: error.message, since, evidence };
    void this.#rounds?.close();
    this.#waiters.failAll(error);
    this.#options.onFatal?.(error);
    this.#changed();
  }

  #failing(cause: unknown): void {
    if (this.#health.kind === 'stopped' || this.#closing !== undefined) return;
    const before = this.#health.kind === 'failing' ? this.#health.since : undefined;
    const since = before ?? new Date(this.#options.clock.nowMs()).toISOString();
    this.#health = { kind: 'failing', reason: errorText(cause), since };
  }

  #changed(): void {
    this.#options.onChange?.(this.state());
  }

  async #closeNow(): Promise<void> {
    this.#closed.abort();
    this.#hurry.abort();
    await this.#turn;
    await this.#rounds?.close();
    await this.#writing;
    this.#health = { kind: 'closed' };
    this.#waiters.failAll(closed());
    await this.#history.close();
  }
}

function closed(): LedgerError {
  return new LedgerError('KIN_LEDGER_CLOSED', 'the publisher is closed');
}
