// What is stored about one person? Everything, as one JSON document with proofs (GDPR Art. 15 and
// 20), written piece by piece so that a long record needs little memory.
// P4. The access is in the log before the first field leaves.

import { toBase64 } from '../bytes.ts';
import { LedgerError } from '../errors.ts';
import { canonicalJson } from '../json.ts';
import type { JsonValue } from '../json.ts';
import { checkReference, checkSubject, checkTenant } from './checks.ts';
import { parseDisclosure, verifyDisclosure } from './disclosure.ts';
import { randomId } from './parts.ts';
import type { PrivateParts } from './parts.ts';
import { openPayload } from './payload.ts';
import { EXPORTED } from './port.ts';

/** Where the entries and their proofs come from. */
export interface ExportSource {
  /** Log index of the entry that carries the digest; undefined when no entry does. */
  locate(tenant: string, digest: string): Promise<number | undefined>;
  entry(index: number): Promise<Uint8Array>;
  /** Any text that a verifier takes, e.g. a tlog-proof@v1. */
  prove(index: number, tenant: string): Promise<string>;
}

export interface ExportInput {
  readonly tenant: string;
  readonly subject: string;
  /** Case number of the request. */
  readonly ref: string;
  readonly source: ExportSource;
}

/** The pieces, joined, are one canonical JSON document with a line for each payload. */
export async function* exportSubject(
  parts: PrivateParts,
  input: ExportInput,
): AsyncGenerator<string, void, undefined> {
  const { keys, payloads, clock, random, ledger } = parts;
  const { tenant, subject, ref } = input;
  checkTenant(tenant);
  checkSubject(subject);
  checkReference(ref, subject);
  const row = await keys.find(tenant, subject);
  await payloads.idle();
  const rows: number[] = [];
  for (const payload of row === undefined ? [] : payloads.walk()) {
    if (payload.keyRow === row && payload.state === 'live') rows.push(payload.row);
  }
  // P4.
  const detail = { export: randomId(random), payloads: rows.length, ref, tenant };
  const { index } = await ledger().record(EXPORTED, detail, tenant);
  const about = { at: new Date(clock.nowMs()).toISOString(), recordedAs: index, ref, tenant, v: 1 };
  const key = row === undefined ? undefined : await keys.open(row, tenant);
  if (row !== undefined && key === undefined) {
    throw new LedgerError('KIN_LEDGER_ERASING', 'the data of this subject is being erased');
  }
  yield `{"about":${canonicalJson({ ...about, subject })},"records":[`;
  for (const [at, one] of rows.entries()) {
    const record = await recordOf(parts, one, key ?? Buffer.alloc(0), input);
    yield `${at === 0 ? '' : ','}\n${canonicalJson(record)}`;
  }
  key?.fill(0);
  yield '\n]}\n';
}

async function recordOf(
  { payloads }: PrivateParts,
  row: number,
  key: Buffer,
  { tenant, source }: ExportInput,
): Promise<JsonValue> {
  const found = await payloads.read(row);
  if (found === undefined) return { kind: 'damaged', reason: 'the payload cannot be read' };
  const { head, frame } = found;
  const opened = openPayload(key, frame.head, frame.body);
  if (opened.kind === 'damaged') return { ...opened };
  const fields = opened.disclosures.map((disclosure) => {
    const field = parseDisclosure(disclosure);
    return { disclosure, name: field?.name ?? '', value: field?.value ?? null };
  });
  const sealedAt = new Date(head.sealedAtMs).toISOString();
  const first = head.digests[0]?.toString('base64url') ?? '';
  const index = await source.locate(tenant, first);
  // Durable before an entry that never came, or that comes right now.
  if (index === undefined) return { kind: 'without-entry', fields, sealedAt };
  const entry = await source.entry(index);
  const fits = opened.disclosures.every((one) => verifyDisclosure(entry, one).kind === 'valid');
  if (!fits) return { kind: 'damaged', reason: `entry ${index} commits to other fields` };
  const proof = await source.prove(index, tenant);
  return { kind: 'record', entry: toBase64(entry), fields, index, proof, sealedAt };
}
