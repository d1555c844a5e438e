// What does a tenant's stored evidence look like? One text that leads from an entry, or from the
// whole log of a tenant, to a signed checkpoint of the system log. Version 1, line by line:
//
//   kintsugi/tenant-proof@v1
//   tenant acme
//   head <size> <root>              of the tenant's log in the epoch
//   entry <index>                   or `after <index>`, or neither
//   <hash> …                        inclusion in the tenant's log, or the complete subtrees before
//   begin <entry in base64>         the first leaf, `ledger.log`
//   <hash> …                        its inclusion
//   map
//   <hash> …                        path in the map, from the leaf up
//   epoch <index> <entry in base64> the `ledger.epoch` entry
//   <hash> …                        its inclusion in the system log
//                                   (empty line)
//   <checkpoint>                    exactly as it was signed and cosigned
//
// TP1. Parsing is strict: a text that is accepted is byte-identical to its own re-formatting.

import { fromBase64, parseDecimal, toBase64 } from '../bytes.ts';
import { HASH_BYTES } from '../merkle.ts';
import { isTenantId } from './tenant-of.ts';

const FIRST_LINE = 'kintsugi/tenant-proof@v1';
const PATH_MAX = 64;
const MAP_PATH_MAX = 256;
const ENTRY_CHARS_MAX = 800;
const PROOF_CHARS_MAX = 1_200_000;

/** What the proof is about, beside the head of the log. */
export type TenantProofPart =
  | { readonly kind: 'head' }
  | { readonly kind: 'entry'; readonly index: bigint; readonly hashes: readonly Uint8Array[] }
  /** The log is shown from `index` on; `hashes` stand for what is before it. */
  | { readonly kind: 'after'; readonly index: bigint; readonly hashes: readonly Uint8Array[] };

export interface TenantProof {
  readonly tenant: string;
  readonly size: bigint;
  readonly root: Uint8Array;
  readonly part: TenantProofPart;
  readonly begin: { readonly entry: Uint8Array; readonly hashes: readonly Uint8Array[] };
  readonly map: readonly Uint8Array[];
  readonly epoch: {
    readonly index: bigint;
    readonly entry: Uint8Array;
    readonly hashes: readonly Uint8Array[];
  };
  /** The signed note, verbatim. */
  readonly checkpoint: string;
}

export function formatTenantProof(proof: TenantProof): string {
  const { tenant, size, root, part, begin, map, epoch, checkpoint } = proof;
  const lines = [FIRST_LINE, `tenant ${tenant}`, `head ${size} ${toBase64(root)}`];
  if (part.kind !== 'head') {
    lines.push(`${part.kind} ${part.index}`, ...part.hashes.map(toBase64));
  }
  lines.push(`begin ${toBase64(begin.entry)}`, ...begin.hashes.map(toBase64));
  lines.push('map', ...map.map(toBase64));
  lines.push(`epoch ${epoch.index} ${toBase64(epoch.entry)}`, ...epoch.hashes.map(toBase64));
  return `${lines.join('\n')}\n\n${checkpoint}`;
}

/** Reads one line after the other; `undefined` is the answer to anything unexpected. */
class Lines {
  readonly #lines: readonly string[];
  #at = 0;

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  /** The words after `name` on the next line, when there are `count` of them. */
  words(name: string, count: number): readonly string[] | undefined {
    const words = (this.#lines[this.#at] ?? '').split(' ');
    if (words[0] !== name || words.length !== count + 1) return undefined;
    this.#at += 1;
    return words.slice(1);
  }

  /** Lines up to the next one with a name: no name is as long as a hash. */
  hashes(max: number): readonly Uint8Array[] | undefined {
    const hashes: Uint8Array[] = [];
    for (; this.#at < this.#lines.length; this.#at++) {
      const line = this.#lines[this.#at] ?? '';
      if (line.length !== 44 || line.includes(' ')) break;
      const hash = fromBase64(line);
      if (hash?.length !== HASH_BYTES || hashes.length === max) return undefined;
      hashes.push(hash);
    }
    return hashes;
  }

  get isEnd(): boolean {
    return this.#at === this.#lines.length;
  }
}

export function parseTenantProof(text: string): TenantProof | undefined {
  if (text.length > PROOF_CHARS_MAX) return undefined;
  const blank = text.indexOf('\n\n');
  if (blank < 0) return undefined;
  const lines = new Lines(text.slice(0, blank).split('\n'));
  if (lines.words(FIRST_LINE, 0) === undefined) return undefined;
  const [tenant = ''] = lines.words('tenant', 1) ?? [];
  const [sizeText = '', rootText = ''] = lines.words('head', 2) ?? [];
  const size = parseDecimal(sizeText);
  const root = fromBase64(rootText);
  if (!isTenantId(tenant) || size === undefined || root?.length !== HASH_BYTES) return undefined;
  const part = parsePart(lines);
  const begin = parseBegin(lines);
  const map = lines.words('map', 0) === undefined ? undefined : lines.hashes(MAP_PATH_MAX);
  const epoch = parseEpoch(lines);
  if (part === undefined || begin === undefined || map === undefined) return undefined;
  if (epoch === undefined || !lines.isEnd) return undefined;
  return { tenant, size, root, part, begin, map, epoch, checkpoint: text.slice(blank + 2) };
}

function parsePart(lines: Lines): TenantProofPart | undefined {
  for (const kind of ['entry', 'after'] as const) {
    const words = lines.words(kind, 1);
    if (words === undefined) continue;
    const index = parseDecimal(words[0] ?? '');
    const hashes = lines.hashes(PATH_MAX);
    return index === undefined || hashes === undefined ? undefined : { kind, index, hashes };
  }
  return { kind: 'head' };
}

function parseBegin(lines: Lines): TenantProof['begin'] | undefined {
  const entry = parseEntry(lines.words('begin', 1)?.[0]);
  const hashes = lines.hashes(PATH_MAX);
  return entry === undefined || hashes === undefined ? undefined : { entry, hashes };
}

function parseEpoch(lines: Lines): TenantProof['epoch'] | undefined {
  const [indexText = '', entryText] = lines.words('epoch', 2) ?? [];
  const index = parseDecimal(indexText);
  const entry = parseEntry(entryText);
  const hashes = lines.hashes(PATH_MAX);
  if (index === undefined || entry === undefined || hashes === undefined) return undefined;
  return { index, entry, hashes };
}

function parseEntry(text: string | undefined): Uint8Array | undefined {
  return text === undefined || text.length > ENTRY_CHARS_MAX ? undefined : fromBase64(text);
}
