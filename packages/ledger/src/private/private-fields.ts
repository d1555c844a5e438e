// How does an entry get private fields that can be forgotten later? This is the door: seal first,
// put the digests into the entry, append it; read, hold, restrict, erase and export afterwards.
// A4. A folder that lacks its marks or its keys is refused, as are marks that know less than the
//     log; an open that fails closes its files.
// A3. `seal` resolves when the disclosures are durable: no entry commits to a field that a crash
//     can still lose.

import { LedgerError, typedError } from '../errors.ts';
import { systemClock } from '../files.ts';
import type { Files, LedgerClock } from '../files.ts';
import { checkSubject, checkTenant } from './checks.ts';
import { privateMember, toBase64url } from './disclosure.ts';
import { Erasures } from './erase.ts';
import type { EraseInput, ErasureReport } from './erase.ts';
import type { FrameRecovery } from './frame-store.ts';
import { placeHold, releaseHold, restrict, unrestrict } from './holds.ts';
import type { HoldInput, RestrictInput } from './holds.ts';
import { KeyRing } from './key-ring.ts';
import { Marks } from './marks.ts';
import type { Hold, MarksContent, Restriction } from './marks.ts';
import { collectOrphans } from './orphans.ts';
import type { OrphanInput } from './orphans.ts';
import { notStarted } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { PayloadStore } from './payload-store.ts';
import { sealPayload } from './payload.ts';
import type { PrivacyLedger } from './port.ts';
import { lostMarks } from './privacy-book.ts';
import { saltSource, systemRandom } from './random.ts';
import type { Random } from './random.ts';
import { resumeRetention, retain } from './retain.ts';
import type { RetainInput, RetentionReport } from './retain.ts';
import { revealEntry } from './reveal.ts';
import type { FieldState, RevealOptions } from './reveal.ts';
import { exportSubject } from './subject-export.ts';
import type { ExportInput } from './subject-export.ts';
import type { DataKey } from './tenant-key.ts';
import { withDeadline } from './wrapper.ts';
import type { KeyWrapper } from './wrapper.ts';

const MIB = 1024 * 1024;
const CLOSE_DEADLINE_MS = 10_000;

export interface PrivateFieldsOptions {
  readonly files: Files;
  /** The ledger's folder, whose lock its ledger holds; `payload` and `keys` lie below it. */
  readonly dir: string;
  readonly wrapper: KeyWrapper;
  readonly clock?: LedgerClock;
  /** For simulations: a source that repeats. Never in production. */
  readonly random?: Random;
  /** How long a write may take before KIN_LEDGER_DEADLINE. Default 2000. */
  readonly deadlineMs?: number;
  /** How long the key store may take before KIN_LEDGER_KEY_UNAVAILABLE. Default 5000. */
  readonly wrapperDeadlineMs?: number;
  /** Size of a payload file. Default 16 MiB. */
  readonly fileBytes?: number;
  /** Bytes that may wait for the disk before KIN_LEDGER_OVERLOADED. Default 64 MiB. */
  readonly queueBytesMax?: number;
  /** Digests in the index, about 30 bytes each. Default 8 million; then KIN_LEDGER_PAYLOAD_FULL. */
  readonly digestsMax?: number;
  /** Data keys, about 110 bytes each. Default 1 million. */
  readonly subjectsMax?: number;
  /** Unwrapped keys in memory. Default 65536. */
  readonly cachedKeysMax?: number;
}

export interface SubjectFields {
  readonly subject: string;
  /** Name → plain JSON value. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface SealOptions {
  readonly deadlineMs?: number;
  /** Digests of nothing, so that the number of fields is hidden. Default 0. */
  readonly decoys?: number;
}

export interface StartReport {
  readonly erasures: readonly ErasureReport[];
  readonly retentions: readonly RetentionReport[];
}

export interface PrivateStats {
  readonly payloads: number;
  readonly digests: number;
  readonly subjects: number;
  readonly indexBytes: number;
  readonly groups: number;
  readonly keyStore: string;
  readonly failure: string | undefined;
  readonly recovery: FrameRecovery;
}

/** Opens the stores; nothing is erased or recorded before `start`. */
export async function openPrivateFields(options: PrivateFieldsOptions): Promise<PrivateFields> {
  const { files, dir } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom();
  const deadlineMs = positive(options.deadlineMs ?? 2000, 'deadlineMs');
  const fileBytes = options.fileBytes ?? 16 * MIB;
  if (!Number.isSafeInteger(fileBytes) || fileBytes < 64 * 1024 || fileBytes > 512 * MIB) {
    throw invalid('fileBytes is a whole number from 64 KiB to 512 MiB');
  }
  const wrapperMs = positive(options.wrapperDeadlineMs ?? 5000, 'wrapperDeadlineMs');
  const keys = new KeyRing({
    files,
    dir: `${dir}/keys`,
    clock,
    random,
    deadlineMs,
    wrapper: withDeadline(options.wrapper, clock, wrapperMs),
    subjectsMax: positive(options.subjectsMax ?? 1_000_000, 'subjectsMax'),
    cachedKeysMax: positive(options.cachedKeysMax ?? 65_536, 'cachedKeysMax'),
  });
  const payloads = new PayloadStore({
    files,
    dir: `${dir}/payload`,
    clock,
    fileBytes,
    queueBytesMax: positive(options.queueBytesMax ?? 64 * MIB, 'queueBytesMax'),
    digestsMax: positive(options.digestsMax ?? 8_000_000, 'digestsMax'),
    keyRow: (keyId) => keys.table.rowOfId(keyId),
  });
  const marks = new Marks(files, `${dir}/keys`);
  try {
    const recovery = await recoverAll(keys, marks, payloads);
    const keyStore = options.wrapper.describe();
    return new PrivateFields(
      { keys, payloads, marks, clock, random, deadlineMs },
      recovery,
      keyStore,
    );
  } catch (cause) {
    await Promise.allSettled([payloads.close(CLOSE_DEADLINE_MS), keys.close(CLOSE_DEADLINE_MS)]);
    throw typedError(cause, `cannot open the private fields in ${dir}`);
  }
}

/** A4. Keys before payloads, whose rows name them. */
async function recoverAll(
  keys: KeyRing,
  marks: Marks,
  payloads: PayloadStore,
): Promise<FrameRecovery> {
  await keys.recover();
  const { hasKeys } = keys;
  const found = await marks.recover();
  // Before anything is sealed: what is being erased takes no more, though `start` comes later.
  for (const { key, tenant } of marks.content.erasing) {
    keys.setErasing(keys.table.rowOfId(Buffer.from(key, 'hex')), tenant, true);
  }
  const recovery = await payloads.recover();
  const hasPayloads = payloads.payloads + recovery.damaged.length > 0;
  if (found === 'missing' && (hasKeys || hasPayloads)) {
    throw marks.damaged('is missing beside what it protects: legal holds would be forgotten');
  }
  // The key of a tenant stays when its people are erased.
  if (hasPayloads && !hasKeys) throw marks.damaged('lies beside no keys, and payloads are there');
  if (found === 'missing') await marks.create();
  return recovery;
}

export class PrivateFields {
  readonly #parts: PrivateParts;
  readonly #recovery: FrameRecovery;
  readonly #keyStore: string;
  readonly #erasures: Erasures;
  readonly #salt: () => string;
  #ledger: PrivacyLedger | undefined;
  #counter = 0;

  constructor(parts: Omit<PrivateParts, 'ledger'>, recovery: FrameRecovery, keyStore: string) {
    const ledger = (): PrivacyLedger => {
      if (this.#ledger === undefined) throw notStarted();
      return this.#ledger;
    };
    this.#parts = { ...parts, ledger };
    this.#recovery = recovery;
    this.#keyStore = keyStore;
    this.#erasures = new Erasures(this.#parts);
    this.#salt = saltSource(parts.random);
  }

  /** Takes up what was cut off: open erasures and retentions are finished first. */
  async start(ledger: PrivacyLedger): Promise<StartReport> {
    // A4. Before anything is erased: the log knows of every hold.
    const standing = ledger.standing?.();
    const [lost] = standing === undefined ? [] : lostMarks(standing, this.#parts.marks.content);
    if (lost !== undefined) throw this.#parts.marks.damaged(lost.reason, lost.index);
    this.#ledger = ledger;
    const erasures = await this.#erasures.resume();
    const retentions = await resumeRetention(this.#parts);
    return { erasures, retentions };
  }

  /** A3. The member `private` of the entry that is appended next: sorted digests. */
  seal(
    tenant: string,
    groups: readonly SubjectFields[],
    options: SealOptions = {},
  ): Promise<readonly string[]> {
    const [only] = groups;
    if (only !== undefined && groups.length === 1 && options.decoys === undefined) {
      // The usual case: one person, whose key is in memory.
      const key = this.#parts.keys.cached(tenant, only.subject);
      if (key !== undefined) return this.#sealReady(key, tenant, only.fields, options.deadlineMs);
    }
    return this.#sealAll(tenant, groups, options);
  }

  /** Whoever has a key was checked when it was made; one promise instead of a function's own. */
  #sealReady(
    key: DataKey,
    tenant: string,
    fields: SubjectFields['fields'],
    deadlineMs: number | undefined,
  ): Promise<readonly string[]> {
    const digests: string[] = [];
    try {
      const put = this.#put(key, tenant, fields, deadlineMs, digests);
      return put.then(() => privateMember(digests));
    } catch (cause) {
      return Promise.reject(cause);
    }
  }

  async #sealAll(
    tenant: string,
    groups: readonly SubjectFields[],
    options: SealOptions,
  ): Promise<readonly string[]> {
    checkTenant(tenant);
    const decoys = options.decoys ?? 0;
    if (!Number.isSafeInteger(decoys) || decoys < 0) throw invalid('decoys is a whole number');
    checkDistinct(groups);
    const digests: string[] = [];
    await Promise.all(
      groups.map((group) => this.#sealOne(tenant, group, options.deadlineMs, digests)),
    );
    for (let at = 0; at < decoys; at++) digests.push(toBase64url(this.#parts.random(32)));
    return privateMember(digests);
  }

  reveal(entry: Uint8Array, options?: RevealOptions): Promise<readonly FieldState[]> {
    return revealEntry(this.#parts, entry, options);
  }

  erase(input: EraseInput): Promise<ErasureReport> {
    return this.#erasures.erase(input);
  }

  placeHold(input: HoldInput): Promise<Hold> {
    return placeHold(this.#parts, input);
  }

  releaseHold(hold: string, ref: string): Promise<{ readonly index: number }> {
    return releaseHold(this.#parts, hold, ref);
  }

  restrict(input: RestrictInput): Promise<Restriction> {
    return restrict(this.#parts, input);
  }

  unrestrict(restriction: string, ref: string): Promise<{ readonly index: number }> {
    return unrestrict(this.#parts, restriction, ref);
  }

  retain(input: RetainInput): Promise<RetentionReport> {
    return retain(this.#parts, input);
  }

  collectOrphans(input: OrphanInput): Promise<{ readonly removed: number }> {
    return collectOrphans(this.#parts, input);
  }

  /** Rewrites payload files of which at least this share was removed. */
  compact(removedShareMin = 0.5): Promise<{ readonly files: number }> {
    return this.#parts.payloads.compact(removedShareMin);
  }

  exportSubject(input: ExportInput): AsyncGenerator<string, void, undefined> {
    return exportSubject(this.#parts, input);
  }

  /** Holds, restrictions and what is under way; tags instead of subjects. */
  marks(): MarksContent {
    return this.#parts.marks.content;
  }

  stats(): PrivateStats {
    const { keys, payloads } = this.#parts;
    return {
      payloads: payloads.payloads,
      digests: payloads.digests,
      subjects: keys.subjects,
      indexBytes: payloads.indexBytes + keys.table.bytes,
      groups: payloads.groups,
      keyStore: this.#keyStore,
      failure: payloads.failure?.message,
      recovery: this.#recovery,
    };
  }

  async close(): Promise<void> {
    await this.#parts.payloads.close(CLOSE_DEADLINE_MS);
    await this.#parts.keys.close(CLOSE_DEADLINE_MS);
  }

  async #sealOne(
    tenant: string,
    { subject, fields }: SubjectFields,
    deadlineMs: number | undefined,
    digests: string[],
  ): Promise<void> {
    checkSubject(subject);
    const { keys } = this.#parts;
    const key = keys.cached(tenant, subject) ?? (await keys.forSealing(tenant, subject));
    await this.#put(key, tenant, fields, deadlineMs, digests);
  }

  /** From the look at the key's state to the queue without a pause: an erasure cannot slip in. */
  #put(
    key: DataKey,
    tenant: string,
    fields: Readonly<Record<string, unknown>>,
    deadlineMs: number | undefined,
    digests: string[],
  ): Promise<void> {
    const { keys, payloads, clock } = this.#parts;
    if (keys.table.state(key.row) !== 'live') {
      throw new LedgerError('KIN_LEDGER_ERASING', 'the data of this subject is being erased');
    }
    this.#counter += 1;
    const sealed = sealPayload({
      key,
      tenant,
      fields,
      nowMs: clock.nowMs(),
      counter: this.#counter,
      salt: this.#salt,
    });
    for (const digest of sealed.digests) digests.push(digest);
    return payloads.put(sealed.frame, deadlineMs ?? this.#parts.deadlineMs);
  }
}

function checkDistinct(groups: readonly SubjectFields[]): void {
  if (groups.length === 0) throw invalid('at least one subject with fields');
  const subjects = new Set(groups.map(({ subject }) => subject));
  if (subjects.size !== groups.length) throw invalid('each subject stands once');
}

function positive(value: number, name: string): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw invalid(`${name} must be above zero`);
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
