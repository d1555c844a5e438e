// How does a log get rid of entries that retention allows to go, without losing a proof of what
// stays? The intent, the base, the entry that names the base, and only then the deletion.
// PN1. A crash at any step loses nothing above the base: an unnamed base is dropped at the next
//      start, a named one is taken up and the deletion finished.
// PN2. Whole pieces go; never one that holds an open intent or the place where we write.

import type { Checkpoint, PruneOptions, PruneReport } from './api.ts';
import { BASE, BASE_NEXT, PRUNED_KIND, baseDigest, encodeBase, readBase } from './base.ts';
import type { PruneNotes, ReadBase } from './base.ts';
import { LedgerError, errorText, typedError } from './errors.ts';
import type { EntryFollower } from './follow.ts';
import type { History } from './history.ts';
import type { IntentBook } from './intents.ts';
import type { JsonObject } from './json.ts';
import type { RecordStore } from './store.ts';
import type { HashTree } from './tree.ts';

export const PRUNE_ACTION = 'ledger.prune';

export interface PruneParts {
  readonly store: RecordStore;
  readonly tree: HashTree;
  readonly history: History;
  readonly intents: IntentBook;
  readonly followers: readonly EntryFollower[];
  /** Followers that the base of this log knows and that are not here would be lost. */
  readonly namesInBase: readonly string[];
  readonly size: () => number;
  readonly checkpoint: () => Checkpoint;
  readonly publish: () => Promise<Checkpoint>;
  readonly intent: (detail: JsonObject) => Promise<number>;
  readonly record: (kind: string, detail: JsonObject) => Promise<unknown>;
  readonly close: (
    index: number,
    result: 'succeeded' | 'failed' | 'unknown',
    detail: JsonObject,
  ) => Promise<unknown>;
}

export async function prune(parts: PruneParts, options: PruneOptions): Promise<PruneReport> {
  const { history, intents, followers, namesInBase, store } = parts;
  if (!Number.isSafeInteger(options.first) || options.first < 0 || options.first > parts.size()) {
    throw new LedgerError('KIN_LEDGER_RANGE', `cannot prune up to ${options.first}`);
  }
  const unknown = namesInBase.filter((name) => followers.every((known) => known.name !== name));
  if (unknown.length > 0) {
    throw new LedgerError('KIN_LEDGER_OPTION_INVALID', `pruning would lose ${unknown.join(', ')}`);
  }
  const oldest = intents.list()[0]?.index ?? Infinity;
  const wanted = Math.min(options.first, oldest);
  const first = await store.boundary(wanted);
  if (first === undefined || first <= history.first) {
    const reason = oldest < options.first ? 'open-intent' : 'no-whole-piece';
    return { kind: 'nothing', first: history.first, reason };
  }
  const intent = await parts.intent({ basis: options.basis, first });
  let named = false;
  try {
    const digest = await writeBase(parts, first);
    await parts.record(PRUNED_KIND, { base: digest, basis: options.basis, first });
    named = true;
    await takeUp(parts, first);
    await parts.close(intent, 'succeeded', { first });
  } catch (cause) {
    // Once named, the next start finishes it: what became of it is not known here.
    const result = named ? 'unknown' : 'failed';
    await parts.close(intent, result, { reason: errorText(cause) }).catch(() => undefined);
    throw typedError(cause, `pruning up to ${first} failed`);
  }
  return { kind: 'pruned', first };
}

async function writeBase(parts: PruneParts, first: number): Promise<string> {
  const { store, tree, history, followers } = parts;
  const chain = await history.chainBefore(first);
  const prefix = await tree.prefix(first);
  for (const one of followers) await one.forgetBelow?.(first);
  // One moment: between groups, all followers stand at the size of the checkpoint.
  const { size, text } = parts.checkpoint();
  const snapshots = new Map(followers.map((one) => [one.name, one.snapshot()] as const));
  const bytes = encodeBase({ first, chain, size, checkpoint: text, prefix, snapshots });
  await store.replaceDocument(BASE_NEXT, bytes);
  return baseDigest(bytes);
}

/** From here on `base.next` is the base; repeated after a crash until it is done. */
async function takeUp(parts: PruneParts, first: number): Promise<void> {
  const { store, tree, history } = parts;
  // The published size must stay provable, so it may not lie below the base.
  await parts.publish();
  await adopt(store);
  tree.forget(await tree.prefix(first));
  history.forget(first);
  await store.removeBelow(first);
}

async function adopt(store: RecordStore): Promise<void> {
  const bytes = await store.readDocument(BASE_NEXT, Number.MAX_SAFE_INTEGER);
  if (bytes === undefined) return;
  await store.replaceDocument(BASE, bytes);
  await store.removeDocument(BASE_NEXT);
}

/** PN1, at a start: after recovery, before anything is written. Answers the base that counts. */
export async function settleBase(
  parts: Pick<PruneParts, 'store' | 'tree' | 'history'> & {
    readonly vkey: string;
    readonly base: ReadBase | undefined;
    readonly notes: PruneNotes;
  },
): Promise<ReadBase | undefined> {
  const { store, tree, history, vkey, base, notes } = parts;
  const next = await readBase(store, BASE_NEXT, vkey).catch(() => undefined);
  if (next !== undefined && notes.names(next.digest)) {
    await adopt(store);
    tree.forget(await tree.prefix(next.base.first));
    history.forget(next.base.first);
    await store.removeBelow(next.base.first);
    return next;
  }
  if ((await store.readDocument(BASE_NEXT, Number.MAX_SAFE_INTEGER)) !== undefined) {
    await store.removeDocument(BASE_NEXT);
  }
  if (base !== undefined) await store.removeBelow(base.base.first);
  return base;
}

/** The intents of prunings that a crash interrupted, and how they ended. */
export function openPrunings(
  intents: IntentBook,
  first: number,
): readonly { readonly index: number; readonly result: 'succeeded' | 'failed' }[] {
  return intents
    .list()
    .filter(({ kind }) => kind === PRUNE_ACTION)
    .map(({ index, detail }) => {
      const isObject = typeof detail === 'object' && detail !== null && 'first' in detail;
      const wanted = isObject ? Number(detail['first']) : Infinity;
      return { index, result: wanted <= first ? 'succeeded' : 'failed' };
    });
}
