// Was this write done already? The result of a write is stored under its Idempotency-Key in the
// same transaction as its effect.
//
// K1. The same key and the same request: the stored answer, no second effect, also concurrently
//     (the second insert waits for the first transaction).
// K2. The same key with another request: 422, nothing is done.
// K3. A write that failed stores nothing: the key may be used again.
import { createHash } from 'node:crypto';
import { Problem, unprocessable } from './problem.ts';
import type { Answer } from './router.ts';
import type { Transaction } from './tenant-database.ts';

export interface KeyedRequest {
  readonly service: string;
  readonly key: string;
  readonly method: string;
  readonly path: string;
  readonly rawBody: Buffer;
}

const KEY = /^[\x21-\x7e]{1,200}$/;
/** Chance that a write also removes keys of its tenant that are older than a day. */
const PURGE_CHANCE = 0.01;

export function readKey(value: string | undefined, required: boolean): string | undefined {
  if (value === undefined) {
    if (!required) return undefined;
    throw new Problem(400, 'Bad Request', 'The header Idempotency-Key is required here.');
  }
  if (KEY.test(value)) return value;
  throw new Problem(400, 'Bad Request', 'Idempotency-Key must be 1 to 200 visible characters.');
}

/** Claims the key. Returns the stored answer if the request was done before. */
export async function claimKey(
  tx: Transaction,
  request: KeyedRequest,
): Promise<Answer | undefined> {
  if (Math.random() < PURGE_CHANCE) {
    await tx.rows("delete from idempotency_keys where created_at < now() - interval '24 hours'");
  }
  const digest = digestOf(request);
  const claimed = await tx.row(
    `insert into idempotency_keys (service, key, request_digest) values ($1, $2, $3)
     on conflict do nothing returning key`,
    [request.service, request.key, digest],
  );
  if (claimed !== undefined) return undefined;
  const stored = await tx.row<{ request_digest: string; answer: Answer }>(
    'select request_digest, answer from idempotency_keys where service = $1 and key = $2',
    [request.service, request.key],
  );
  if (stored?.request_digest === digest) return stored.answer;
  throw unprocessable('This Idempotency-Key was used for another request.');
}

export async function storeAnswer(
  tx: Transaction,
  request: KeyedRequest,
  answer: Answer,
): Promise<void> {
  await tx.rows('update idempotency_keys set answer = $3 where service = $1 and key = $2', [
    request.service,
    request.key,
    JSON.stringify(answer),
  ]);
}

function digestOf(request: KeyedRequest): string {
  const hash = createHash('sha256').update(`${request.method} ${request.path}\n`);
  return hash.update(request.rawBody).digest('hex');
}
