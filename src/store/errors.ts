// How does a failure of the store look to a person? Driver errors come in here and leave as one
// KinError with its fix; a bug stays what it is. No text carries a password or a row.
import { KinError, messageOf } from '../model/errors.ts';
import { redactUrl } from '../world/real/redact.ts';

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'EACCES',
  '57P01',
  '57P02',
  '57P03',
  '53300',
]);
const REFUSED = new Set(['28000', '28P01', '3D000', '42501']);

export function fenced(epoch: number): KinError {
  return new KinError(
    'KIN_STORE_FENCED',
    `a write under epoch ${epoch} was refused: another controller holds the lease now`,
    'Nothing to do: this controller steps back and the present leader goes on.',
  );
}

export function closed(): KinError {
  return new KinError(
    'KIN_STORE_CLOSED',
    'the store is closed',
    'Start the control plane again; a write after its end is not durable.',
  );
}

export function corrupt(dir: string, cause: unknown, said: string): KinError {
  return new KinError(
    'KIN_STORE_CORRUPT',
    `the store in ${dir} cannot be opened: ${said === '' ? messageOf(cause) : said}`,
    `Nothing was deleted. Put a backup of the folder in its place, or move ${dir} aside and ` +
      'start again: the ledger is kept apart, tenants get new API keys, and what still runs is ' +
      'ended and started anew.',
    { cause },
  );
}

export function notWritable(dir: string, cause: unknown): KinError {
  return new KinError(
    'KIN_STORE_NOT_WRITABLE',
    `the folder ${dir} cannot be written (${codeOf(cause) ?? messageOf(cause)})`,
    `Make ${dir} a folder that this user may write, with free space, or name another one.`,
    { cause },
  );
}

export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What a failed query means. `where` is the folder or the redacted URL. */
export function storeError(error: unknown, where: string): unknown {
  if (error instanceof KinError) return error;
  const code = codeOf(error) ?? '';
  const text = redactUrl(messageOf(error));
  if (code === '53100' || code === 'ENOSPC') {
    return new KinError(
      'KIN_STORE_FULL',
      `the disk of the store (${where}) is full`,
      'Free some space; writes go on by themselves.',
      { cause: error },
    );
  }
  if (code === 'XX001' || code === 'XX002') return corrupt(where, error, text);
  if (REFUSED.has(code)) {
    return new KinError(
      'KIN_STORE_REFUSED',
      `the database ${where} refused us: ${text}`,
      'Check user, password, database and rights: the user must own the schema "kintsugi" ' +
        'or may create it.',
      { cause: error },
    );
  }
  if (UNREACHABLE.has(code) || code.startsWith('08') || isConnectionLoss(text)) {
    return new KinError(
      'KIN_STORE_UNREACHABLE',
      `the database ${where} does not answer: ${text === '' ? code : text}`,
      'Start the database or correct DATABASE_URL. Replicas and gateways go on; actions wait.',
      { cause: error },
    );
  }
  return error;
}

function isConnectionLoss(text: string): boolean {
  return /connection terminated|timeout exceeded when|query read timeout|not queryable/iu.test(
    text,
  );
}
