// How long are disclosures kept? A minimum for each tenant, by log index or by age; what lies below
// is overwritten like an erased field, while the entries and their proofs stay.
// T2. The minimum only rises; it is recorded before anything is removed, and an open one is
//     finished at the next start.
// T3. What a legal hold protects stays on disk, and is not disclosed below the minimum.

import { LedgerError } from '../errors.ts';
import type { JsonValue } from '../json.ts';
import { basisDetail, checkTenant, isObject } from './checks.ts';
import { tagText } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { RETAIN } from './port.ts';
import type { RetentionBasis } from './port.ts';

export interface RetainInput {
  readonly tenant: string;
  /** Either or both: a log index, a wall time in milliseconds. */
  readonly before: { readonly index?: number; readonly atMs?: number };
  readonly basis: RetentionBasis;
}

export interface RetentionReport {
  readonly tenant: string;
  /** Of the intent. */
  readonly index: number;
  readonly removed: number;
  /** Below the minimum, and kept for a legal hold. */
  readonly held: number;
}

interface Minimum {
  readonly index: number;
  readonly atMs: number;
}

const BATCH_PAYLOADS = 1024;

export async function retain(parts: PrivateParts, input: RetainInput): Promise<RetentionReport> {
  const { marks, ledger } = parts;
  const { tenant, before } = input;
  checkTenant(tenant);
  const basis = basisDetail('retention', input.basis);
  const port = ledger();
  const old = marks.retentionOf(tenant) ?? { index: 0, atMs: 0 };
  const minimum = { index: before.index ?? old.index, atMs: before.atMs ?? old.atMs };
  if (!Number.isSafeInteger(minimum.index) || !Number.isSafeInteger(minimum.atMs)) {
    throw invalid('before holds a log index or a wall time, as whole numbers');
  }
  if (minimum.index < old.index || minimum.atMs < old.atMs) {
    throw invalid('the minimum of a tenant only rises: what was removed does not come back');
  }
  if (minimum.index > 0 && port.digestsBelow === undefined) {
    throw invalid('this ledger gives no digests by index; use a time');
  }
  const detail = { basis, before: { ...minimum }, tenant };
  const { index } = await port.intent({
    action: RETAIN,
    subject: `tenant:${tenant}`,
    tenant,
    detail,
  });
  return finish(parts, tenant, minimum, index);
}

/** T2. */
export async function resumeRetention(parts: PrivateParts): Promise<readonly RetentionReport[]> {
  const reports: RetentionReport[] = [];
  for (const { index, action, detail } of parts.ledger().openIntents()) {
    if (action !== RETAIN) continue;
    const wanted = readDetail(detail);
    if (wanted === undefined) continue;
    reports.push(await finish(parts, wanted.tenant, wanted.minimum, index));
  }
  return reports;
}

function readDetail(detail: JsonValue): { tenant: string; minimum: Minimum } | undefined {
  const before = isObject(detail) ? detail['before'] : undefined;
  const tenant = isObject(detail) ? detail['tenant'] : undefined;
  if (!isObject(before) || typeof tenant !== 'string') return undefined;
  const { index, atMs } = before;
  if (typeof index !== 'number' || typeof atMs !== 'number') return undefined;
  return { tenant, minimum: { index, atMs } };
}

async function finish(
  parts: PrivateParts,
  tenant: string,
  minimum: Minimum,
  index: number,
): Promise<RetentionReport> {
  const { marks, payloads, ledger } = parts;
  await marks.change((now) => {
    const old = now.retention.find((one) => one.tenant === tenant);
    const risen = {
      tenant,
      index: Math.max(minimum.index, old?.index ?? 0),
      atMs: Math.max(minimum.atMs, old?.atMs ?? 0),
    };
    return { ...now, retention: [...now.retention.filter((one) => one !== old), risen] };
  });
  await payloads.idle();
  const below = await rowsBelow(parts, tenant, minimum);
  // A hold that is placed while this runs protects what is not yet overwritten.
  let removed = 0;
  for (let at = 0; at < below.length; at += BATCH_PAYLOADS) {
    const free = below.slice(at, at + BATCH_PAYLOADS).filter((row) => !isHeld(parts, tenant, row));
    await payloads.remove(free, 'retired', index);
    removed += free.length;
  }
  const held = below.length - removed;
  const detail = { before: { ...minimum }, held, removed, tenant };
  await ledger().outcome(index, { result: 'succeeded', detail });
  return { tenant, index, removed, held };
}

/** T3. */
export function isHeld(
  { keys, marks, payloads }: PrivateParts,
  tenant: string,
  row: number,
): boolean {
  const keyRow = payloads.keyRowOf(row);
  return marks.holdOn(tenant, tagText(keys.table.tagOf(keyRow))) !== undefined;
}

async function rowsBelow(
  parts: PrivateParts,
  tenant: string,
  { index, atMs }: Minimum,
): Promise<readonly number[]> {
  const { payloads, ledger } = parts;
  const rows = new Set<number>();
  const older = atMs > 0 ? payloads.walk() : [];
  for (const { row, state } of older) {
    if (state !== 'live') continue;
    const found = await payloads.read(row);
    if (found?.head.tenant === tenant && found.head.sealedAtMs < atMs) rows.add(row);
  }
  if (index === 0) return [...rows];
  const pages = ledger().digestsBelow?.(tenant, index);
  if (pages === undefined) throw invalid('this ledger gives no digests by index');
  for await (const page of pages) {
    for (const digest of page) {
      const found = await payloads.find(Buffer.from(digest, 'base64url'));
      const isLive = found.kind === 'found' && found.frame.state.kind === 'live';
      if (isLive) rows.add(found.row);
    }
  }
  return [...rows];
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
