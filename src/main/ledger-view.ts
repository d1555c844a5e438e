// How does the ledger look through the API: its head, its entries, and proofs of single entries?
import type { LedgerEntry, LedgerHead, LedgerProof } from '../api/contract.ts';
import { KinError } from '../model/errors.ts';
import type { Controller } from './parts.ts';

export function ledgerHead(controller: Pick<Controller, 'log'>): LedgerHead {
  const { log } = controller;
  const checkpoint = log.checkpoint();
  return {
    origin: log.origin,
    size: checkpoint.size,
    root: checkpoint.root,
    checkpoint: checkpoint.text,
    vkey: log.vkey,
  };
}

export async function ledgerProve(
  controller: Pick<Controller, 'log'>,
  index: number,
): Promise<LedgerProof> {
  const { log } = controller;
  if (index < 0 || index >= log.size) {
    throw new KinError(
      'KIN_LEDGER_RANGE',
      `there is no entry ${index}: the ledger has ${log.size}`,
      `Give an index from 0 to ${Math.max(0, log.size - 1)}.`,
    );
  }
  const [entry, proof] = await Promise.all([log.read(index), log.prove(index)]);
  return { index, entry: Buffer.from(entry.bytes).toString('base64'), proof, vkey: log.vkey };
}

export async function ledgerEntries(
  controller: Pick<Controller, 'log'>,
  from: number,
  limit: number,
): Promise<readonly LedgerEntry[]> {
  const entries = await controller.log.entries({ from, limit: Math.min(1_000, limit) });
  return entries.map(({ index, bytes }): LedgerEntry => {
    const body: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    const fields =
      typeof body === 'object' && body !== null ? (body as Readonly<Record<string, unknown>>) : {};
    return {
      index,
      body,
      atMs: typeof fields['at'] === 'string' ? Date.parse(fields['at']) : 0,
      kind: typeof fields['kind'] === 'string' ? fields['kind'] : 'unknown',
    };
  });
}
