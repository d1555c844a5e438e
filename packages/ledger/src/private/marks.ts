// Which erasures are under way, what is held, restricted or past its time? One small file of
// canonical JSON, replaced as a whole. Subjects appear as tags, never by name.
// T1. A mark is durable before `change` returns; a file that cannot be read is refused, because a
//     forgotten legal hold would let data go. For the same reason the file is there from the
//     beginning: beside keys or payloads, one that is missing was lost.
// T5. A mark whose name a killed process did not sync is synced before it counts.

import { fromUtf8, utf8 } from '../bytes.ts';
import { LedgerError, typedError } from '../errors.ts';
import { replaceFile } from '../files.ts';
import type { Files } from '../files.ts';
import { canonicalJson } from '../json.ts';
import type { BasisDetail } from './port.ts';

export interface ErasingMark {
  /** Random id that stands in the log. */
  readonly erasure: string;
  readonly tenant: string;
  /** Hexadecimal. */
  readonly key: string;
  /** Of the subject, base64url; gone with the mark. */
  readonly tag: string;
}

export interface Hold {
  readonly hold: string;
  readonly tenant: string;
  /** Base64url; null holds the whole tenant. */
  readonly tag: string | null;
  readonly basis: BasisDetail;
  readonly index: number;
}

export interface Restriction {
  readonly restriction: string;
  readonly tenant: string;
  readonly tag: string;
  readonly basis: BasisDetail;
  readonly index: number;
}

export interface Retention {
  readonly tenant: string;
  /** Entries below this log index. */
  readonly index: number;
  /** Fields sealed before this wall time. */
  readonly atMs: number;
}

export interface MarksContent {
  readonly erasing: readonly ErasingMark[];
  readonly holds: readonly Hold[];
  readonly restrictions: readonly Restriction[];
  readonly retention: readonly Retention[];
}

const NAME = 'marks.json';
const MARKS_MAX = 20_000;
const BYTES_MAX = 16 * 1024 * 1024;
const EMPTY: MarksContent = { erasing: [], holds: [], restrictions: [], retention: [] };

export class Marks {
  readonly #files: Files;
  readonly #dir: string;
  #content = EMPTY;
  /** Erasures that never began, and whose marks the disk did not let go. */
  readonly #stale = new Set<string>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(files: Files, dir: string) {
    this.#files = files;
    this.#dir = dir;
  }

  get content(): MarksContent {
    return this.#content;
  }

  async recover(): Promise<'found' | 'missing'> {
    // T5. The bytes of a replacement are synced before its name.
    await this.#files.syncDir(this.#dir);
    const bytes = await this.#files.readWhole(`${this.#dir}/${NAME}`, BYTES_MAX);
    if (bytes === undefined) return 'missing';
    const content = readMarks(bytes);
    if (content === undefined) throw this.damaged('cannot be read');
    this.#content = content;
    return 'found';
  }

  /** T1: before anything is sealed here for the first time. */
  create(): Promise<void> {
    return this.change((now) => now);
  }

  /** `index`: the entry of the log that the marks do not agree with. */
  damaged(reason: string, index = 0): LedgerError {
    const place = { file: `${this.#dir}/${NAME}`, offset: 0, index };
    return new LedgerError('KIN_LEDGER_CORRUPT', `${place.file} ${reason}`, { place });
  }

  /** T1. One change at a time; nothing changes in memory when the disk refuses. */
  change(edit: (content: MarksContent) => MarksContent): Promise<void> {
    const run = this.#turn.then(async () => {
      const dropped = [...this.#stale];
      const next = edit(this.#withoutStale());
      const { erasing, holds, restrictions, retention } = next;
      if (erasing.length + holds.length + restrictions.length + retention.length > MARKS_MAX) {
        throw new LedgerError('KIN_LEDGER_PAYLOAD_FULL', `${MARKS_MAX} marks are the most`);
      }
      const text = canonicalJson({ v: 1, erasing, holds, restrictions, retention });
      try {
        await replaceFile(this.#files, this.#dir, NAME, utf8(`${text}\n`));
      } catch (cause) {
        throw typedError(cause, `cannot write ${this.#dir}/${NAME}`);
      }
      this.#content = next;
      for (const erasure of dropped) this.#stale.delete(erasure);
    });
    this.#turn = run.catch(() => undefined);
    return run;
  }

  /** With the next change; a start forgets them as well, because they have no intent. */
  dropLater(erasure: string): void {
    this.#stale.add(erasure);
  }

  #withoutStale(): MarksContent {
    if (this.#stale.size === 0) return this.#content;
    const erasing = this.#content.erasing.filter((mark) => !this.#stale.has(mark.erasure));
    return { ...this.#content, erasing };
  }

  holdOn(tenant: string, tag: string | undefined): Hold | undefined {
    return this.#content.holds.find(
      (hold) => hold.tenant === tenant && (hold.tag === null || hold.tag === tag),
    );
  }

  restrictionOf(tenant: string, tag: string): Restriction | undefined {
    return this.#content.restrictions.find(
      (restriction) => restriction.tenant === tenant && restriction.tag === tag,
    );
  }

  retentionOf(tenant: string): Retention | undefined {
    return this.#content.retention.find((retention) => retention.tenant === tenant);
  }
}

/** Undefined for what this file did not write. */
export function readMarks(bytes: Uint8Array): MarksContent | undefined {
  const text = fromUtf8(bytes) ?? '';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('v' in value) || value.v !== 1) {
    return undefined;
  }
  // Written by this file alone and replaced atomically: the form of what parses is known, and
  // anything else does not come back as the same text.
  const content = { ...EMPTY, ...(value as Partial<MarksContent>) };
  const { erasing, holds, restrictions, retention } = content;
  const lists: readonly unknown[] = [erasing, holds, restrictions, retention];
  if (!lists.every(Array.isArray)) return undefined;
  const again = canonicalJson({ v: 1, erasing, holds, restrictions, retention });
  return `${again}\n` === text ? { erasing, holds, restrictions, retention } : undefined;
}
