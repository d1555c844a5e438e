// How is a person forgotten while every proof stays what it was? Only the payloads go; the tree
// holds salted digests, and nothing in the log changes.
//
//   mark → intent → data key destroyed → payloads overwritten → outcome → mark removed
//
// Z1. Nothing is destroyed before the intent is durable; an erasure whose intent is open is
//     finished at the next start, and one that never got an intent is forgotten.
// Z2. A legal hold refuses before anything is written, and names the hold.
// Z3. The log gets a random id, the tenant, the basis and counts: nothing about the person.
// Z4. An erasure that could not begin leaves the person as before, also on a full disk.

import { LedgerError, isLedgerError, typedError } from '../errors.ts';
import type { JsonValue } from '../json.ts';
import { basisDetail, checkSubject, checkTenant, isObject } from './checks.ts';
import type { Destroyed } from './key-ring.ts';
import type { ErasingMark, Hold, Restriction } from './marks.ts';
import { randomId, tagText } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { ERASE, ERASED_PAGE, ERASE_VOID } from './port.ts';
import type { ErasureBasis } from './port.ts';

export type ErasureReport =
  | {
      readonly kind: 'erased';
      readonly erasure: string;
      /** Index of the intent: what `redacted (erasure #…)` names. */
      readonly index: number;
      readonly payloads: number;
      readonly fields: number;
      readonly canary: Destroyed['canary'];
    }
  /** Nothing of that subject was stored; recorded, too. */
  | { readonly kind: 'nothing-held'; readonly erasure: string; readonly index: number };

/** Entries named in one log entry; more go into pages before the outcome. */
const PAGE_ITEMS_MAX = 500;
/** Payloads overwritten between two syncs. */
const BATCH_PAYLOADS = 1024;

export interface EraseInput {
  readonly tenant: string;
  readonly subject: string;
  readonly basis: ErasureBasis;
}

export class Erasures {
  readonly #parts: PrivateParts;
  readonly #running = new Map<number, Promise<ErasureReport>>();

  constructor(parts: PrivateParts) {
    this.#parts = parts;
  }

  /** A second call for the same subject joins the first. */
  async erase(input: EraseInput): Promise<ErasureReport> {
    const { keys, ledger, random } = this.#parts;
    const { tenant, subject } = input;
    checkTenant(tenant);
    checkSubject(subject);
    const basis = basisDetail('erasure', input.basis, subject);
    const port = ledger();
    const row = await keys.find(tenant, subject);
    const running = row === undefined ? undefined : this.#running.get(row);
    if (running !== undefined) return running;
    await this.#refuseHeld(tenant, subject);
    if (row === undefined) {
      const erasure = randomId(random);
      const { index } = await port.record(ERASE_VOID, { basis, erasure, tenant }, tenant);
      return { kind: 'nothing-held', erasure, index };
    }
    const joined = this.#running.get(row);
    if (joined !== undefined) return joined;
    const run = this.#begin(row, tenant, basis).finally(() => this.#running.delete(row));
    this.#running.set(row, run);
    return run;
  }

  /** Z1, at every start: what is open goes on, what never began is forgotten. */
  async resume(): Promise<readonly ErasureReport[]> {
    const { keys, marks, ledger } = this.#parts;
    const open = new Map<string, number>();
    for (const { index, action, detail } of ledger().openIntents()) {
      const erasure = isObject(detail) ? detail['erasure'] : undefined;
      if (action === ERASE && typeof erasure === 'string') open.set(erasure, index);
    }
    const reports: ErasureReport[] = [];
    for (const mark of marks.content.erasing) {
      const row = keys.table.rowOfId(Buffer.from(mark.key, 'hex'));
      const index = open.get(mark.erasure);
      open.delete(mark.erasure);
      if (index === undefined) {
        await this.#unmark(mark, row);
        continue;
      }
      keys.setErasing(row, mark.tenant, true);
      reports.push(await this.#finish(mark, row, index));
    }
    // The mark comes before the intent and goes after the outcome: an intent without one was made
    // on another disk, or the marks were replaced by an older copy.
    for (const index of open.values()) {
      const detail = { reason: 'no local mark of this erasure; the subject has to be named again' };
      await ledger().outcome(index, { result: 'unknown', detail });
    }
    return reports;
  }

  async #refuseHeld(tenant: string, subject: string): Promise<void> {
    const { keys, marks } = this.#parts;
    if (!marks.content.holds.some((hold) => hold.tenant === tenant)) return;
    const hold = marks.holdOn(tenant, tagText(await keys.tagOf(tenant, subject)));
    if (hold !== undefined) throw heldBy(hold);
  }

  async #begin(row: number, tenant: string, basis: JsonValue): Promise<ErasureReport> {
    const { keys, marks, ledger, random } = this.#parts;
    const key = Buffer.from(keys.table.idOf(row)).toString('hex');
    const tag = tagText(keys.table.tagOf(row));
    const mark: ErasingMark = { erasure: randomId(random), tenant, key, tag };
    keys.setErasing(row, tenant, true);
    let index: number;
    try {
      await marks.change((now) => ({ ...now, erasing: [...now.erasing, mark] }));
      // A hold that was placed meanwhile wins: both changes go through the marks one by one.
      const hold = marks.holdOn(tenant, tag);
      if (hold !== undefined) throw heldBy(hold);
      const detail = { basis, erasure: mark.erasure, tenant };
      const subject = `erasure:${mark.erasure}`;
      ({ index } = await ledger().intent({ action: ERASE, subject, tenant, detail }));
    } catch (cause) {
      // With an unknown fate the intent may be open: only the next start can tell.
      const unknown = isLedgerError(cause) && cause.inLog === 'unknown';
      if (!unknown) await this.#unmark(mark, row);
      throw typedError(cause, 'the erasure could not be recorded');
    }
    return this.#finish(mark, row, index);
  }

  /** Each step may have happened before: all of them can be repeated. */
  async #finish(mark: ErasingMark, row: number, index: number): Promise<ErasureReport> {
    const { keys, payloads, marks, ledger } = this.#parts;
    const { erasure, tenant } = mark;
    const { canary } = await keys.destroy(row, tenant, index);
    await payloads.idle();
    const rows: number[] = [];
    for (const payload of payloads.walk()) if (payload.keyRow === row) rows.push(payload.row);
    const names = new NamedEntries(this.#parts, mark, index);
    for (let at = 0; at < rows.length; at += BATCH_PAYLOADS) {
      const batch = rows.slice(at, at + BATCH_PAYLOADS);
      const digests: string[] = [];
      for (const one of batch) {
        const found = await payloads.read(one);
        for (const digest of found?.head.digests ?? []) digests.push(digest.toString('base64url'));
      }
      await payloads.remove(batch, 'erased', index);
      await names.add(digests);
    }
    const counts = { payloads: rows.length, fields: names.fields };
    // Nobody is restricted while being erased: these are all of them. The log has to say that they
    // end, or their marks would be missed.
    const isTheirs = (one: Restriction): boolean => one.tag === mark.tag && one.tenant === tenant;
    const ended = marks.content.restrictions.filter(isTheirs).map((one) => one.restriction);
    const restrictions = ended.length === 0 ? {} : { restrictions: ended };
    const named = await names.rest();
    const detail = { canary, erasure, ...counts, named, ...restrictions, tenant };
    await ledger().outcome(index, { result: 'succeeded', detail });
    await marks.change((now) => ({
      ...now,
      erasing: now.erasing.filter((other) => other.erasure !== erasure),
      restrictions: now.restrictions.filter((other) => !isTheirs(other)),
    }));
    return { kind: 'erased', erasure, index, ...counts, canary };
  }

  async #unmark(mark: ErasingMark, row: number): Promise<void> {
    const { keys, marks } = this.#parts;
    const isOther = ({ erasure }: ErasingMark): boolean => erasure !== mark.erasure;
    try {
      // Where the disk refused the mark, it may refuse the next change as well: none is needed.
      if (marks.content.erasing.every(isOther)) return;
      await marks.change((now) => ({ ...now, erasing: now.erasing.filter(isOther) }));
    } catch (cause) {
      marks.dropLater(mark.erasure);
      throw cause;
    } finally {
      // Z4. A mark that stays on the disk goes with the next change: it has no intent.
      keys.setErasing(row, mark.tenant, false);
    }
  }
}

/**
 * What the log says about the entries that lost fields: indexes where they are known, digests where
 * not; a verifier accepts either. Few stand in the outcome, many in pages before it.
 */
class NamedEntries {
  readonly #parts: PrivateParts;
  readonly #mark: ErasingMark;
  readonly #intent: number;
  #named = new Set<number | string>();
  #pages = 0;
  fields = 0;

  constructor(parts: PrivateParts, mark: ErasingMark, intent: number) {
    this.#parts = parts;
    this.#mark = mark;
    this.#intent = intent;
  }

  async add(digests: readonly string[]): Promise<void> {
    this.fields += digests.length;
    const found = await this.#parts.ledger().locate?.(this.#mark.tenant, digests);
    for (const [at, digest] of digests.entries()) this.#named.add(found?.[at] ?? digest);
    while (this.#named.size > PAGE_ITEMS_MAX) await this.#page();
  }

  async rest(): Promise<readonly (number | string)[]> {
    if (this.#pages === 0) return [...this.#named];
    while (this.#named.size > 0) await this.#page();
    return [];
  }

  async #page(): Promise<void> {
    const all = [...this.#named];
    const { erasure, tenant } = this.#mark;
    const named = all.slice(0, PAGE_ITEMS_MAX);
    const detail = { erasure, intent: this.#intent, named, tenant };
    await this.#parts.ledger().record(ERASED_PAGE, detail, tenant);
    this.#named = new Set(all.slice(PAGE_ITEMS_MAX));
    this.#pages += 1;
  }
}

export function heldBy({ hold, basis, index }: Hold): LedgerError {
  const { code, ref } = basis;
  return new LedgerError(
    'KIN_LEDGER_HELD',
    `legal hold ${hold} (${code}, ${ref}; entry ${index}) forbids it`,
  );
}
