// Is a whole folder of evidence what it was? The log with every root and signature; each tenant's
// log against the epochs; what was ever published and witnessed against the log; sealed fields and
// wrapped keys, for which no key is needed. Reads only, also beside a running writer.
// VD1. Every finding has its place: a file, and the offset or the index where there is one.
// VD2. What could not be checked is said, never passed over.

import { fromUtf8 } from '../bytes.ts';
import { LedgerError, errorText } from '../errors.ts';
import type { LedgerErrorCode } from '../errors.ts';
import type { Files } from '../files.ts';
import { verifyLedgerDir } from '../fsck.ts';
import type { FsckObserver, FsckReport } from '../fsck.ts';
import { nodeFiles } from '../node-files.ts';
import type { Policy } from '../policy.ts';
import type { MarksContent } from '../private/marks.ts';
import type { RecordStore } from '../store.ts';
import { TenantAudit } from '../tenants/audit.ts';
import type { TenantAuditReport } from '../tenants/audit.ts';
import { verifyCheckpointUnderPolicy } from '../verify.ts';
import { Claims } from './claims.ts';
import { lostMarks } from '../private/privacy-book.ts';
import { MARKS, marksIn, verifyFrames } from './verify-frames.ts';
import type { FramesLook } from './verify-frames.ts';
import { PayloadHeads, PrivateAudit } from './verify-private.ts';

export type EvidencePart = 'log' | 'tenants' | 'checkpoints' | 'witnessed' | 'payload' | 'keys';

export interface EvidenceFinding {
  readonly part: EvidencePart;
  readonly code: LedgerErrorCode;
  /** Relative to the folder; segments as in the report of the log. */
  readonly file: string;
  readonly offset: number | undefined;
  /** Of the first entry that it is about. */
  readonly index: number | undefined;
  readonly reason: string;
}

/** A torn end that nobody was promised, or what was not checked and why. */
export interface EvidenceNote {
  readonly part: EvidencePart;
  readonly kind: 'torn' | 'not-checked';
  readonly reason: string;
}

export interface EvidenceReport {
  readonly kind: 'intact' | 'damaged';
  /** The first 100 of each part. */
  readonly findings: readonly EvidenceFinding[];
  readonly notes: readonly EvidenceNote[];
  readonly log: FsckReport;
  /** Undefined when retention removed the beginning. */
  readonly tenants: TenantAuditReport | undefined;
  readonly checked: {
    readonly entries: number;
    readonly checkpointLines: number;
    readonly payloads: number;
    readonly keys: number;
  };
}

export interface VerifyEvidenceOptions {
  readonly files?: Files;
  /** Where the log lives, when it is not in the folder. */
  readonly store?: RecordStore;
  readonly allowUnsigned?: boolean;
  /** With it, each position in the map is computed; without it, two for one tenant are found. */
  readonly mapKey?: Uint8Array;
  /** With it, every cosignature is checked, and `checkpoint.witnessed` has to have its quorum. */
  readonly policy?: Policy;
  /** Entries may hold decoys: an entry of which some payload is there is then not asked further. */
  readonly decoys?: boolean;
}

const FINDINGS_MAX = 100;
const WITNESSED = 'checkpoint.witnessed';
const CHECKPOINT_BYTES_MAX = 1_000_000;

/** `dir` is the folder that `openEvidence` was given. */
export async function verifyEvidenceDir(
  dir: string,
  vkey: string,
  options: VerifyEvidenceOptions = {},
): Promise<EvidenceReport> {
  const files = options.files ?? nodeFiles();
  const check = new EvidenceCheck(files, dir.replace(/\/+$/, ''), vkey, options);
  return check.run();
}

class EvidenceCheck {
  readonly #files: Files;
  readonly #dir: string;
  readonly #vkey: string;
  readonly #options: VerifyEvidenceOptions;
  readonly #findings: EvidenceFinding[] = [];
  readonly #notes: EvidenceNote[] = [];
  readonly #counts = new Map<EvidencePart, number>();
  readonly #claims: Claims;
  readonly #heads = new PayloadHeads();

  constructor(files: Files, dir: string, vkey: string, options: VerifyEvidenceOptions) {
    this.#files = files;
    this.#dir = dir;
    this.#vkey = vkey;
    this.#options = options;
    this.#claims = new Claims({
      vkey,
      policy: options.policy,
      find: (finding) => this.#find(finding),
      note: (note) => this.#notes.push(note),
    });
  }

  async run(): Promise<EvidenceReport> {
    // First what was said about the log: a writer that goes on only makes the log longer.
    await this.#attempt('checkpoints', () => this.#claims.readHistory(this.#files, this.#dir));
    await this.#attempt('witnessed', () => this.#readWitnessed());
    // Before the log, because an entry comes after its payload and after the mark that it records.
    const before = await this.#marks();
    const payloads = await this.#frames('payload', { onFrame: (one) => this.#heads.learn(one) });
    const { log, tenants, walk } = await this.#readLog();
    this.#claims.compare(log);
    const keys = await this.#frames('keys', { isNeeded: this.#heads.count > 0 });
    await this.#attempt('payload', () => this.#compareFields(walk));
    await this.#attempt('keys', () => this.#compareMarks(walk, before));
    return {
      kind: this.#findings.length === 0 ? 'intact' : 'damaged',
      findings: this.#findings,
      notes: this.#notes,
      log,
      tenants,
      checked: {
        entries: log.size - log.first,
        checkpointLines: this.#claims.lines,
        payloads,
        keys,
      },
    };
  }

  async #readLog(): Promise<Pick<EvidenceReport, 'log' | 'tenants'> & { readonly walk: Walk }> {
    const { files, store, allowUnsigned, mapKey } = this.#options;
    const begin = (): Walk => new Walk(mapKey, this.#claims, this.#heads);
    let walk = begin();
    const log = await verifyLedgerDir(this.#dir, this.#vkey, {
      files: files ?? this.#files,
      ...(store === undefined ? {} : { store }),
      ...(allowUnsigned === undefined ? {} : { allowUnsigned }),
      observer: () => (walk = begin()),
    });
    if (log.kind === 'damaged') {
      for (const finding of log.findings) this.#find({ part: 'log', ...finding });
    }
    for (const { file, offset, reason } of log.notes) {
      this.#notes.push({
        part: 'log',
        kind: 'torn',
        reason: `${file} at byte ${offset}: ${reason}`,
      });
    }
    return { log, tenants: this.#tenants(walk, log), walk };
  }

  #tenants(walk: Walk, log: FsckReport): TenantAuditReport | undefined {
    const notChecked = (reason: string): void => {
      this.#notes.push({ part: 'tenants', kind: 'not-checked', reason });
    };
    if (log.first > 0) {
      notChecked(`retention removed the entries below ${log.first}`);
      return undefined;
    }
    if (log.kind === 'damaged') notChecked(`entries from ${log.size} on: the log is damaged there`);
    if (this.#options.mapKey === undefined) notChecked('positions: no map key was given');
    const report = walk.audit.report();
    for (const { index, kind, detail } of report.faults) {
      const file = walk.fileOf(index);
      const reason = `${kind}: ${detail}`;
      this.#find({
        part: 'tenants',
        code: 'KIN_LEDGER_CORRUPT',
        file,
        offset: undefined,
        index,
        reason,
      });
    }
    return report;
  }

  async #readWitnessed(): Promise<void> {
    const { policy } = this.#options;
    const bytes = await this.#files.readWhole(`${this.#dir}/${WITNESSED}`, CHECKPOINT_BYTES_MAX);
    if (bytes === undefined) return;
    const place = { part: 'witnessed', file: WITNESSED, offset: 0 } as const;
    const text = fromUtf8(bytes) ?? '';
    if (!this.#claims.add(text, place)) return;
    if (policy === undefined) {
      const reason = 'cosignatures: no policy was given';
      this.#notes.push({ part: 'witnessed', kind: 'not-checked', reason });
      return;
    }
    const verdict = verifyCheckpointUnderPolicy(text, policy, [this.#vkey]);
    if (verdict.kind === 'valid') return;
    const { code, reason } = verdict;
    this.#find({ ...place, code, index: undefined, reason });
  }

  /** VP1, VP2 of the private fields. */
  async #compareFields({ fields, fileOf }: Walk): Promise<void> {
    const again = fields.isComplete ? this.#heads : new PayloadHeads();
    if (!fields.isComplete) {
      await verifyFrames(this.#files, this.#dir, 'payload', { onFrame: (one) => again.learn(one) });
    }
    const decoys = this.#options.decoys ?? false;
    for (const { index, reason } of fields.findings(again, decoys)) {
      const place = { file: fileOf(index), offset: undefined, index };
      this.#find({ part: 'payload', code: 'KIN_LEDGER_CORRUPT', ...place, reason });
    }
    if (fields.passedOver === 0) return;
    const reason = `${fields.passedOver} more entries whose private fields have no payload`;
    this.#notes.push({ part: 'payload', kind: 'not-checked', reason });
  }

  /** A mark comes before its entry and goes after it: one of the two readings has it. */
  async #compareMarks({ fields }: Walk, before: MarksContent | undefined): Promise<void> {
    const after = await this.#marks();
    const known = [before, after].filter((one) => one !== undefined);
    // Missing or damaged marks are a finding already.
    if (known.length === 0) return;
    for (const { index, reason } of lostMarks(fields.book.standing(), ...known)) {
      const place = { file: MARKS, offset: undefined, index };
      this.#find({ part: 'keys', code: 'KIN_LEDGER_CORRUPT', ...place, reason });
    }
  }

  /** What cannot be read is told by the look at the keys. */
  async #marks(): Promise<MarksContent | undefined> {
    return marksIn(this.#files, this.#dir).catch(() => undefined);
  }

  async #frames(part: 'payload' | 'keys', look: FramesLook): Promise<number> {
    let count = 0;
    await this.#attempt(part, async () => {
      const found = await verifyFrames(this.#files, this.#dir, part, look);
      count = found.frames;
      for (const finding of found.findings) this.#find(finding);
      this.#notes.push(...found.notes);
    });
    return count;
  }

  /** What cannot be read at all is a finding of its part; the other parts are checked anyway. */
  async #attempt(part: EvidencePart, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      const known = cause instanceof LedgerError ? cause : undefined;
      const code = known?.code ?? 'KIN_LEDGER_IO';
      const file = known?.place?.file ?? part;
      const offset = known?.place?.offset;
      this.#find({ part, code, file, offset, index: undefined, reason: errorText(cause) });
    }
  }

  #find(finding: EvidenceFinding): void {
    const count = (this.#counts.get(finding.part) ?? 0) + 1;
    this.#counts.set(finding.part, count);
    if (count <= FINDINGS_MAX) this.#findings.push(finding);
  }
}

/** One reading of the log, entry by entry. */
class Walk implements FsckObserver {
  readonly audit: TenantAudit;
  readonly fields: PrivateAudit;
  readonly #claims: Claims;
  readonly #starts: { readonly file: string; readonly first: number }[] = [];
  #isWhole = false;

  constructor(mapKey: Uint8Array | undefined, claims: Claims, heads: PayloadHeads) {
    this.fields = new PrivateAudit(heads);
    this.audit = new TenantAudit(mapKey === undefined ? {} : { mapKey });
    this.#claims = claims;
    claims.restart();
  }

  entry(...seen: Parameters<FsckObserver['entry']>): void {
    const [index, entry, leaf, place] = seen;
    if (index === 0) this.#isWhole = true;
    if (this.#starts.at(-1)?.file !== place.file) {
      this.#starts.push({ file: place.file, first: index });
    }
    // Without its beginning nothing could be said about a tenant's log.
    if (this.#isWhole) this.audit.follow(index, entry, leaf);
    this.fields.follow(index, entry);
    this.#claims.reached(index + 1, place);
  }

  readonly fileOf = (index: number): string =>
    this.#starts.findLast(({ first }) => first <= index)?.file ?? 'seg';
}
