// Is this exported tree what the log signed? Reads a static tlog-tiles tree (checkpoint, tiles of
// all levels, bundles, partials) from the signed root down to the entries, recomputes every hash,
// and says which file is damaged. Needs only a key or a policy.
// SV1. Intact means: every file that a client of a tree of that size can ask for is there and is
//      exactly what the signed root commits to, from the minimum index on.
// SV2. A damaged file is named with the index of the first entry that it is wrong about. Nothing is
//      taken from a file before its hash is one that the root leads to.

import { fromBase64, fromUtf8, sameBytes } from './bytes.ts';
import { LedgerError, errorText } from './errors.ts';
import type { Files } from './files.ts';
import { HASH_BYTES } from './merkle.ts';
import { nodeFiles } from './node-files.ts';
import { parseVkey } from './note.ts';
import type { Policy } from './policy.ts';
import { cutBundle, cutTile, firstDifference, rootOfEdges } from './static-parts.ts';
import type { Cut } from './static-parts.ts';
import { extraFiles, folderSource, hashesAt, levelsOf, widthOf } from './static-source.ts';
import type { StaticPath, StaticSource } from './static-source.ts';
import { TILE_WIDTH, foldTile, formatTilePath } from './tiles.ts';
import { verifyCheckpoint, verifyCheckpointUnderPolicy } from './verify.ts';
import type { PolicyVerdict, VerifyCode } from './verify.ts';

export type { StaticSource } from './static-source.ts';

export interface StaticFinding {
  readonly code: VerifyCode | 'KIN_LEDGER_CORRUPT' | 'KIN_LEDGER_QUORUM_UNMET' | 'KIN_LEDGER_IO';
  readonly file: string;
  /** The first entry that the file is wrong about. */
  readonly index: number;
  readonly reason: string;
}

export interface StaticTotals {
  readonly origin: string;
  /** The minimum index: entries below it are not in the export. */
  readonly first: number;
  readonly size: number;
  /** Base64, as it was signed. */
  readonly root: string;
  readonly tiles: number;
  readonly bundles: number;
  /** Files that belong to no tlog-tiles tree; the first 100. */
  readonly unknown: readonly string[];
}

export type StaticReport =
  | ({ readonly kind: 'intact'; readonly checkpoint: string } & StaticTotals)
  | ({ readonly kind: 'damaged'; readonly findings: readonly StaticFinding[] } & StaticTotals);

export interface StaticOptions {
  /** Where a folder is; default: the real file system. */
  readonly files?: Files;
  /** An export that begins later is damaged. Default: what is there counts, and is reported. */
  readonly minimumIndex?: number;
}

const FINDINGS_MAX = 100;
const CHECKPOINT_BYTES_MAX = 1_000_000;
const BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + 65_535);
const TILE_BYTES_MAX = 2 * TILE_WIDTH * HASH_BYTES;

/** `trust` is a key of the log, or a tlog-policy as text or parsed. */
export async function verifyStatic(
  place: string | StaticSource,
  trust: string | Policy,
  options: StaticOptions = {},
): Promise<StaticReport> {
  const source =
    typeof place === 'string' ? folderSource(options.files ?? nodeFiles(), place) : place;
  return new StaticCheck(source, options).run(trust);
}

interface Head {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  readonly text: string;
}

/** A partial tile at the right edge of its level; only the root is above it. */
interface Edge {
  readonly level: number;
  readonly number: number;
  readonly width: number;
  readonly cut: Cut;
}

type Hashes = readonly Uint8Array[];

interface Recomputed {
  readonly hashes: Hashes;
  /** False: some are only what the tile itself says. */
  readonly isComplete: boolean;
}

class StaticCheck {
  readonly #source: StaticSource;
  readonly #minimumIndex: number;
  readonly #findings: StaticFinding[] = [];
  #head: Head = { origin: '', size: 0, root: '', text: '' };
  #first = 0;
  /** Behind the bundle in which pruning left off, nothing may be missing any more. */
  #isBegun = false;
  #tiles = 0;
  #bundles = 0;
  #unknown: readonly string[] = [];

  constructor(source: StaticSource, { minimumIndex = Infinity }: StaticOptions) {
    this.#source = source;
    this.#minimumIndex = minimumIndex;
  }

  async run(trust: string | Policy): Promise<StaticReport> {
    const head = await this.#readHead(trust);
    if (head !== undefined) {
      this.#head = head;
      await this.#checkTree();
      await this.#checkExtras();
    }
    const { origin, size, root, text } = this.#head;
    const [first, tiles, bundles] = [this.#first, this.#tiles, this.#bundles];
    const totals = { origin, first, size, root, tiles, bundles, unknown: this.#unknown };
    if (this.#findings.length > 0) return { kind: 'damaged', findings: this.#findings, ...totals };
    return { kind: 'intact', checkpoint: text, ...totals };
  }

  async #readHead(trust: string | Policy): Promise<Head | undefined> {
    const bytes = await this.#read('checkpoint', CHECKPOINT_BYTES_MAX, 0);
    if (bytes === undefined) {
      this.#find('checkpoint', 0, 'missing');
      return undefined;
    }
    const text = fromUtf8(bytes) ?? '';
    const verdict = judge(text, trust);
    if (verdict.kind === 'invalid') {
      this.#add({ code: verdict.code, file: 'checkpoint', index: 0, reason: verdict.reason });
      return undefined;
    }
    const { origin, size, root } = verdict.head;
    if (size <= BigInt(Number.MAX_SAFE_INTEGER)) return { origin, size: Number(size), root, text };
    throw new LedgerError('KIN_LEDGER_RANGE', `a tree of ${size} entries cannot be read here`);
  }

  /** SV2: level by level from the top, each tile against the hash above it. */
  async #checkTree(): Promise<void> {
    const { size } = this.#head;
    const edges = await this.#trustedEdges();
    let above: readonly (Uint8Array | undefined)[] = [];
    for (let level = levelsOf(size) - 1; level >= 0; level--) {
      const trusted: (Uint8Array | undefined)[] = [];
      const count = hashesAt(level, size);
      for (let number = 0; number * TILE_WIDTH < count; number++) {
        const width = widthOf(number, count);
        const hashes =
          width < TILE_WIDTH
            ? edges.get(level)
            : await this.#trustedTile(level, number, above[number]);
        if (level === 0) await this.#checkBundle(number, width, hashes);
        else for (let at = 0; at < width; at++) trusted.push(hashes?.[at]);
      }
      above = trusted;
    }
    if (this.#first <= this.#minimumIndex) return;
    const reason = `missing, and so are all entries below ${this.#first}`;
    this.#find(pathOf('entries', 0, 0, widthOf(0, size)), 0, reason);
  }

  /** By level. The root says whether the partial tiles are right; if not, what lies below them. */
  async #trustedEdges(): Promise<ReadonlyMap<number, Hashes>> {
    const { size, root } = this.#head;
    const signed = fromBase64(root) ?? new Uint8Array(0);
    const edges: Edge[] = [];
    for (let level = 0; level < levelsOf(size); level++) {
      const width = hashesAt(level, size) % TILE_WIDTH;
      const number = Math.floor(hashesAt(level, size) / TILE_WIDTH);
      if (width === 0) continue;
      edges.push({ level, number, width, cut: await this.#tile(level, number, width) });
      this.#tiles += 1;
    }
    const shown = edges.map(({ cut }) => cut.whole);
    if (isRoot(shown, signed)) return byLevel(edges, shown);
    const recomputed = await Promise.all(edges.map((edge) => this.#fromBelow(edge)));
    const below = recomputed.map((known) => known?.hashes);
    // Fewest replacements first. There are as many edges as levels: a handful.
    const choices = Array.from({ length: 2 ** edges.length }, (_, choice) => choice);
    choices.sort((a, b) => bitsOf(a) - bitsOf(b));
    for (const choice of choices) {
      const taken = edges.map((_, at) => ((choice >> at) & 1 ? below[at] : shown[at]));
      if (!isRoot(taken, signed)) continue;
      for (const [at, edge] of edges.entries()) {
        if ((choice >> at) & 1) this.#blame(edge, below[at]);
      }
      return byLevel(edges, taken);
    }
    this.#blameEdges(edges, recomputed);
    return new Map();
  }

  /** More is wrong than what lies below can make good, or there is nothing below any more. */
  #blameEdges(edges: readonly Edge[], recomputed: readonly (Recomputed | undefined)[]): void {
    const before = this.#findings.length;
    for (const [at, edge] of edges.entries()) {
      const known = recomputed[at]?.hashes;
      const isSame = known === undefined || firstDifference(edge.cut.parts, known) === undefined;
      if (edge.cut.whole === undefined || !isSame) this.#blame(edge, known);
    }
    if (this.#findings.length > before) return;
    for (const [at, edge] of edges.entries()) {
      if (recomputed[at]?.isComplete !== true) this.#blame(edge, undefined);
    }
    if (this.#findings.length > before) return;
    const { size } = this.#head;
    this.#find('checkpoint', size, 'the files are those of another tree than the signed one');
  }

  #blame({ level, number, width, cut }: Edge, right: Hashes | undefined): void {
    const at = right === undefined ? 0 : (firstDifference(cut.parts, right) ?? cut.parts.length);
    const entry = (number * TILE_WIDTH + Math.min(at, width - 1)) * TILE_WIDTH ** level;
    const reason = cut.fault ?? 'a hash is not the one of the signed tree';
    this.#find(pathOf('tile', level, number, width), entry, reason);
  }

  /** A full tile whose hash is the one that is expected, or what takes its place. */
  async #trustedTile(
    level: number,
    number: number,
    expected: Uint8Array | undefined,
  ): Promise<Hashes | undefined> {
    // What is above it is damaged for certain, and was reported.
    if (expected === undefined) return undefined;
    const cut = await this.#tile(level, number, TILE_WIDTH);
    if (!cut.isMissing) this.#tiles += 1;
    if (isTile(cut.whole, expected)) return cut.whole;
    const edge = { level, number, width: TILE_WIDTH, cut };
    const below = (await this.#fromBelow(edge))?.hashes;
    if (level === 0 && cut.isMissing && below === undefined && this.#isPruned(number)) {
      return undefined;
    }
    const isRight = isTile(below, expected);
    this.#blame(edge, isRight ? below : undefined);
    return isRight ? below : undefined;
  }

  /** The hashes of a tile, from the files of the level below it where they are there. */
  async #fromBelow({ level, number, width, cut }: Edge): Promise<Recomputed | undefined> {
    if (level === 0) {
      const { whole } = await this.#bundle(number, width);
      return whole && { hashes: whole, isComplete: true };
    }
    const hashes: Uint8Array[] = [];
    let isComplete = true;
    for (let at = 0; at < width; at++) {
      const { whole } = await this.#tile(level - 1, number * TILE_WIDTH + at, TILE_WIDTH);
      // What was pruned below is known from here alone.
      const hash = whole === undefined ? cut.parts[at] : foldTile(whole);
      if (hash === undefined) return undefined;
      isComplete &&= whole !== undefined;
      hashes.push(hash);
    }
    return { hashes, isComplete };
  }

  /** Entries may only be missing at the beginning. */
  #isPruned(number: number): boolean {
    return !this.#isBegun && this.#first === number * TILE_WIDTH;
  }

  async #checkBundle(number: number, width: number, right: Hashes | undefined): Promise<void> {
    const cut = await this.#bundle(number, width);
    const start = number * TILE_WIDTH;
    if (cut.isMissing && this.#isPruned(number)) {
      this.#first = start + width;
      this.#isBegun = right !== undefined;
      return;
    }
    if (!cut.isMissing) this.#bundles += 1;
    const at = right === undefined ? undefined : firstDifference(cut.parts, right);
    if (at === undefined && cut.fault === undefined) return;
    const entry = start + Math.min(at ?? cut.parts.length, width - 1);
    const reason = cut.fault ?? 'the entry is not the one of the signed tree';
    this.#find(pathOf('entries', 0, number, width), entry, reason);
  }

  /** Partial files that the tree has outgrown: the beginning of those that it has. */
  async #checkExtras(): Promise<void> {
    const { size } = this.#head;
    const { partials, unknown } = await extraFiles(this.#source, size);
    this.#unknown = unknown;
    for (const path of partials) {
      const level = path.kind === 'entries' ? 0 : path.level;
      const { number, width } = path;
      const full = widthOf(number, hashesAt(level, size));
      const isTiles = path.kind === 'tile';
      const part = isTiles
        ? await this.#tile(level, number, width)
        : await this.#bundle(number, width);
      const whole = isTiles
        ? await this.#tile(level, number, full)
        : await this.#bundle(number, full);
      const at = whole.whole && firstDifference(part.parts, whole.whole.slice(0, width));
      if (at === undefined && part.fault === undefined) continue;
      const step = Math.min(at ?? part.parts.length, width - 1);
      const entry = (number * TILE_WIDTH + step) * TILE_WIDTH ** level;
      this.#find(formatTilePath(path), entry, part.fault ?? 'not as in the file that followed it');
    }
  }

  async #tile(level: number, number: number, width: number): Promise<Cut> {
    const index = number * TILE_WIDTH ** (level + 1);
    const bytes = await this.#read(pathOf('tile', level, number, width), TILE_BYTES_MAX, index);
    return cutTile(bytes, width);
  }

  async #bundle(number: number, width: number): Promise<Cut> {
    const index = number * TILE_WIDTH;
    const bytes = await this.#read(pathOf('entries', 0, number, width), BUNDLE_BYTES_MAX, index);
    return cutBundle(bytes, width);
  }

  async #read(file: string, bytesMax: number, index: number): Promise<Uint8Array | undefined> {
    try {
      return await this.#source.read(file, bytesMax);
    } catch (cause) {
      this.#add({ code: 'KIN_LEDGER_IO', file, index, reason: errorText(cause) });
      return undefined;
    }
  }

  #find(file: string, index: number, reason: string): void {
    this.#add({ code: 'KIN_LEDGER_CORRUPT', file, index, reason });
  }

  #add(finding: StaticFinding): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }
}

function judge(text: string, trust: string | Policy): PolicyVerdict | Judged {
  const isKey = typeof trust === 'string' && parseVkey(trust) !== undefined;
  return isKey ? verifyCheckpoint(text, trust) : verifyCheckpointUnderPolicy(text, trust);
}

type Judged = ReturnType<typeof verifyCheckpoint>;

function pathOf(kind: StaticPath['kind'], level: number, number: number, width: number): string {
  return formatTilePath(
    kind === 'entries' ? { kind, number, width } : { kind, level, number, width },
  );
}

function isTile(hashes: Hashes | undefined, expected: Uint8Array): hashes is Hashes {
  return hashes !== undefined && sameBytes(foldTile(hashes), expected);
}

function isRoot(edges: readonly (Hashes | undefined)[], signed: Uint8Array): boolean {
  const known = edges.filter((hashes) => hashes !== undefined);
  return known.length === edges.length && sameBytes(rootOfEdges(known), signed);
}

function byLevel(
  edges: readonly Edge[],
  taken: readonly (Hashes | undefined)[],
): ReadonlyMap<number, Hashes> {
  return new Map(edges.map(({ level }, at) => [level, taken[at] ?? []]));
}

function bitsOf(choice: number): number {
  return choice.toString(2).replaceAll('0', '').length;
}
