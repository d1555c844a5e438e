// How does the loop's ledger contract meet the transparency log? A thin adapter, the signing key in
// a 0600 file of its own, and a high-water mark kept outside the log's folder.
//
//   ML1. The key is made once; its public half stands beside the log for offline verification.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateSigner, loadSigner, openLedger } from '@kintsugi/ledger';
import type { HighWater, Ledger as Log, Signer } from '@kintsugi/ledger';
import { makeOwnFolder, readStateFile, writeStateFile } from '../api/state-folder.ts';
import type { EvidenceTrouble } from '../model/signal.ts';
import { KinError } from '../model/errors.ts';
import type { Ledger, Written } from '../world/ledger.ts';

export interface OpenedLedger {
  readonly ledger: Ledger;
  readonly log: Log;
}

export async function openLedgerIn(
  dir: string,
  name: string,
  highWater: HighWater | undefined,
): Promise<OpenedLedger> {
  makeOwnFolder(dir);
  const origin = `${name}.kintsugi.invalid/ledger`;
  const signer = signerIn(dir, origin);
  const log = await openLedger({
    dir: join(dir, 'log'),
    origin,
    signer,
    appendDeadlineMs: 5_000,
    ...(highWater === undefined ? {} : { highWater }),
  });
  return { ledger: adapt(log), log };
}

function signerIn(dir: string, origin: string): Signer {
  const path = join(dir, 'signing.key');
  const secret = readStateFile(path);
  if (secret !== undefined) {
    assertSameName(secret, origin);
    return loadSigner(secret, origin);
  }
  const made = generateSigner(origin);
  writeStateFile(path, `${made.secret}\n`);
  writeStateFile(join(dir, 'vkey'), `${made.signer.vkey}\n`);
  return made.signer;
}

/** A folder's history is one manifest's: a second one would go on with the first one's evidence. */
function assertSameName(secret: string, origin: string): void {
  const kept = /^PRIVATE\+KEY\+([^+]+)\+/u.exec(secret)?.[1] ?? origin;
  if (kept === origin) return;
  throw new KinError(
    'KIN_MANIFEST_OTHER',
    `this state folder belongs to another manifest: its ledger is ${kept}, not ${origin}`,
    'Keep the name, or start the other manifest with its own --state folder.',
  );
}

/** The public key beside a log, for verification without a running controller. */
export function vkeyIn(dir: string): string | undefined {
  const path = join(dir, 'vkey');
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

/** An intent past its deadline without an outcome is an incident (P1). */
function overdue(log: Log): readonly EvidenceTrouble[] {
  const now = new Date().toISOString();
  return log
    .openIntents()
    .filter(({ deadlineAt }) => deadlineAt !== undefined && deadlineAt < now)
    .map(({ index, subject, deadlineAt }) => ({
      part: `intent ${index}`,
      detail: `${subject}: no outcome by ${deadlineAt ?? ''}`,
    }));
}

function adapt(log: Log): Ledger {
  const written = (done: { readonly index: number; readonly leafHash: string }): Written => ({
    index: done.index,
    leafHash: done.leafHash,
  });
  return {
    async intent(subject, detail) {
      const intent = await log.intent({ kind: 'plan.intent', subject, detail });
      return { index: intent.index, leafHash: intent.receipt.leafHash };
    },
    async outcome(index, result, detail) {
      return written(await log.closeIntent(index, { result, detail }));
    },
    async record(kind, detail) {
      return written(await log.record(kind, detail));
    },
    note(kind, detail) {
      log.record(kind, detail, { wait: 'queued' }).catch(() => {
        // The ledger counts what it could not take and writes the gap itself.
      });
    },
    openIntents: () =>
      log.openIntents().map(({ index, subject, detail }) => ({ index, subject, detail })),
    troubles: () => overdue(log),
    head: () => ({ size: log.size, checkpoint: log.checkpoint().text }),
    close: () => log.close(),
  };
}
