// What was ever said about the log, and is it true? Checkpoints that were published or witnessed,
// each with its place, against the roots that the entries give.
// CM1. A signed checkpoint that the log does not lead to is a fork or a loss, wherever it lies.

import { toBase64 } from '../bytes.ts';
import { placedCheckpointLines } from '../checkpoints-log.ts';
import type { CheckpointLine } from '../checkpoints-log.ts';
import type { Files } from '../files.ts';
import type { FsckReport, ObservedPlace } from '../fsck.ts';
import { verifyNoteWith } from '../note.ts';
import type { Policy } from '../policy.ts';
import { verifyCheckpoint } from '../verify.ts';
import type { EvidenceFinding, EvidenceNote } from './verify-dir.ts';

export interface ClaimParts {
  readonly vkey: string;
  readonly policy: Policy | undefined;
  readonly find: (finding: EvidenceFinding) => void;
  readonly note: (note: EvidenceNote) => void;
}

type ClaimPlace = Pick<EvidenceFinding, 'part' | 'file' | 'offset'>;

interface Claim {
  readonly size: number;
  readonly root: string;
  readonly place: ClaimPlace;
}

export class Claims {
  readonly #parts: ClaimParts;
  readonly #claims: Claim[] = [];
  /** Sizes that were claimed, with the roots that the entries give as far as they were read. */
  readonly #roots = new Map<number, string | undefined>();
  #note: string | undefined;
  #lastSize = -1;
  lines = 0;

  constructor(parts: ClaimParts) {
    this.#parts = parts;
  }

  async readHistory(files: Files, dir: string): Promise<void> {
    for await (const placed of placedCheckpointLines(files, dir)) {
      const { kind, file, offset } = placed;
      const place = { part: 'checkpoints', file, offset } as const;
      if (kind === 'line') this.#line(placed.line, place);
      else if (kind === 'torn') {
        this.#parts.note({ part: 'checkpoints', kind, reason: `${file} at byte ${offset}` });
      } else this.#find(place, undefined, 'no whole line of the history');
    }
    if (this.lines > 0 && this.#parts.policy === undefined) {
      const reason = 'cosignatures: no policy was given';
      this.#parts.note({ part: 'checkpoints', kind: 'not-checked', reason });
    }
  }

  /** False when the log did not sign it. */
  add(note: string, place: ClaimPlace): boolean {
    const verdict = verifyCheckpoint(note, this.#parts.vkey);
    if (verdict.kind === 'invalid') {
      const { code, reason } = verdict;
      this.#parts.find({ ...place, code, index: undefined, reason });
      return false;
    }
    const size = Number(verdict.head.size);
    this.#claims.push({ size, root: verdict.head.root, place });
    this.#roots.set(size, undefined);
    return true;
  }

  /** Everything is read once more. */
  restart(): void {
    for (const size of this.#roots.keys()) this.#roots.set(size, undefined);
  }

  reached(size: number, place: ObservedPlace): void {
    if (this.#roots.has(size)) this.#roots.set(size, toBase64(place.root()));
  }

  /** CM1. */
  compare(log: FsckReport): void {
    let pruned = 0;
    for (const { size, root, place } of this.#claims) {
      const known = this.#roots.get(size);
      if (known === root || size === 0) continue;
      if (known !== undefined) {
        const reason = `another tree of ${size} entries was signed`;
        this.#parts.find({ ...place, code: 'KIN_LEDGER_FORKED', index: size, reason });
      } else if (size <= log.first) pruned += 1;
      else if (log.kind === 'intact') {
        const reason = `${size} entries were signed, the log holds ${log.size}`;
        this.#parts.find({ ...place, code: 'KIN_LEDGER_ROLLED_BACK', index: log.size, reason });
      }
    }
    const notChecked = (reason: string): void =>
      this.#parts.note({ part: 'checkpoints', kind: 'not-checked', reason });
    if (pruned > 0) notChecked(`${pruned} roots of sizes up to ${log.first}: pruned`);
    if (log.kind === 'damaged' && this.#claims.length > 0) {
      notChecked(`roots of sizes above ${log.size}: the log is damaged there`);
    }
  }

  #line(line: CheckpointLine, place: ClaimPlace): void {
    this.lines += 1;
    const { size } = line;
    if (line.kind === 'cosigned') {
      this.#cosigned(line, place);
      return;
    }
    if (size <= this.#lastSize) {
      this.#find(place, size, `published after a checkpoint of ${this.#lastSize} entries`);
    }
    this.#lastSize = size;
    this.#note = line.note;
    const before = this.#claims.length;
    if (!this.add(line.note, place)) return;
    if (this.#claims[before]?.size !== size) this.#find(place, size, 'the line names another size');
  }

  /** Of the newest published checkpoint, or of an older one that a slow witness answered for. */
  #cosigned(line: Extract<CheckpointLine, { kind: 'cosigned' }>, place: ClaimPlace): void {
    const { size, witness, lines } = line;
    const { policy } = this.#parts;
    if (!this.#roots.has(size)) {
      // The file with the checkpoint may be kept elsewhere; one that comes later is none.
      if (size > this.#lastSize) this.#find(place, size, 'cosigned before it was published');
      return;
    }
    const key = policy?.witnesses.find(({ name }) => name === witness)?.key;
    if (key === undefined || size !== this.#lastSize || this.#note === undefined) return;
    if (verifyNoteWith(this.#note + lines, [key]).kind === 'valid') return;
    this.#find(place, size, `no good cosignature of ${witness}`);
  }

  #find(place: ClaimPlace, index: number | undefined, reason: string): void {
    this.#parts.find({ ...place, code: 'KIN_LEDGER_CORRUPT', index, reason });
  }
}
