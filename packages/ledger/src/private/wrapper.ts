// Who can open the tenants' keys? Whoever holds the wrapping key: a file by default, a KMS where
// there is one. The ledger sees only `wrap` and `unwrap`.
// N1. A root file that others may read, or that is a link, is refused.
// N2. A wrapper that is slow or down gives KIN_LEDGER_KEY_UNAVAILABLE within the deadline.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { utf8 } from '../bytes.ts';
import { LedgerError, errorText, isLedgerError } from '../errors.ts';
import type { LedgerClock } from '../files.ts';
import type { Random } from './random.ts';

/** Bound to the wrapped key: unwrapping under another context must fail. */
export interface WrapContext {
  readonly purpose: 'tenant-key';
  readonly tenant: string;
  /** Hexadecimal. */
  readonly keyId: string;
}

export interface KeyWrapper {
  wrap(bytes: Uint8Array, context: WrapContext): Promise<Uint8Array>;
  unwrap(wrapped: Uint8Array, context: WrapContext): Promise<Uint8Array>;
  /** For people: which key store this is. Never a secret. */
  describe(): string;
}

export const ROOT_BYTES = 32;
const WRAPPED_VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const WRAPPED_BYTES_MAX = 4096;

/** AES-256-GCM under a root key that is in memory anyway. */
export function rootKeyWrapper(root: Uint8Array, name: string, random?: Random): KeyWrapper {
  if (root.length !== ROOT_BYTES) throw badKey(`a root key has ${ROOT_BYTES} bytes`);
  const key = Buffer.from(root);
  return {
    wrap: async (bytes, context) => {
      await Promise.resolve();
      const nonce = (random ?? randomBytes)(NONCE_BYTES);
      return Buffer.concat([Buffer.of(WRAPPED_VERSION), boxUp(key, nonce, bytes, aad(context))]);
    },
    unwrap: async (wrapped, context) => {
      await Promise.resolve();
      const box = Buffer.from(wrapped);
      const bytes =
        box[0] === WRAPPED_VERSION ? unbox(key, box.subarray(1), aad(context)) : undefined;
      if (bytes !== undefined) return bytes;
      throw new LedgerError('KIN_LEDGER_WRONG_KEY', `${name} does not open this tenant key`);
    },
    describe: () => name,
  };
}

function aad({ purpose, tenant, keyId }: WrapContext): Uint8Array {
  return utf8(`kintsugi/${purpose}/v1\n${tenant}\n${keyId}`);
}

/** nonce || ciphertext || tag. */
export function boxUp(
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  associated: Uint8Array,
): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associated);
  const body = cipher.update(plain);
  return Buffer.concat([nonce, body, cipher.final(), cipher.getAuthTag()]);
}

export function unbox(
  key: Uint8Array,
  box: Uint8Array,
  associated: Uint8Array,
): Buffer | undefined {
  if (box.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const tagAt = box.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, box.subarray(0, NONCE_BYTES));
  decipher.setAAD(associated);
  decipher.setAuthTag(box.subarray(tagAt));
  try {
    const plain = decipher.update(box.subarray(NONCE_BYTES, tagAt));
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    return undefined;
  }
}

/** 32 random bytes in a file of mode 0600. `create` makes it when it is missing. */
export async function localKeyWrapper(
  path: string,
  options: { readonly create?: boolean } = {},
): Promise<KeyWrapper> {
  let root: Buffer;
  try {
    root = await readRoot(path);
  } catch (cause) {
    if (options.create !== true || !hasCode(cause, 'ENOENT')) throw asKeyError(path, cause);
    root = await createRoot(path).catch((problem: unknown) => {
      throw asKeyError(path, problem);
    });
  }
  return rootKeyWrapper(root, `file ${path}`);
}

/** N1. */
async function readRoot(path: string): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { mode, uid, size } = await handle.stat();
    const own = process.getuid?.();
    if (own !== undefined && uid !== own && uid !== 0) throw badKey(`${path} is owned by another`);
    if ((mode & 0o077) !== 0) {
      throw badKey(`others may read ${path} (mode ${(mode & 0o777).toString(8)}); chmod 600 it`);
    }
    if (size !== ROOT_BYTES) throw badKey(`${path} has ${size} bytes, not ${ROOT_BYTES}`);
    // Made by a process that was killed before it synced, it must not go with the next power cut.
    await handle.sync();
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

async function createRoot(path: string): Promise<Buffer> {
  const root = randomBytes(ROOT_BYTES);
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, O_RDONLY } = constants;
  const handle = await open(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
  try {
    await handle.writeFile(root);
    await handle.sync();
  } finally {
    await handle.close();
  }
  const folder = await open(dirname(path), O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
  return root;
}

/** N2. Whatever the wrapper throws becomes one of two codes; its messages hold no key. */
export function withDeadline(
  wrapper: KeyWrapper,
  clock: LedgerClock,
  deadlineMs: number,
): KeyWrapper {
  const guard = async (work: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    const giveUp = new AbortController();
    const late = clock.sleep?.(deadlineMs, giveUp.signal).then(() => undefined);
    try {
      const answer = Promise.resolve().then(work);
      const first = await Promise.race(late === undefined ? [answer] : [answer, late]);
      if (first !== undefined) return first;
      throw unavailable(wrapper, `no answer within ${deadlineMs} ms`);
    } catch (cause) {
      if (isLedgerError(cause)) throw cause;
      throw unavailable(wrapper, errorText(cause), cause);
    } finally {
      giveUp.abort();
    }
  };
  return {
    wrap: (bytes, context) => guard(() => wrapper.wrap(bytes, context)),
    unwrap: (wrapped, context) => guard(() => wrapper.unwrap(wrapped, context)),
    describe: () => wrapper.describe(),
  };
}

function unavailable(wrapper: KeyWrapper, why: string, cause?: unknown): LedgerError {
  const message = `the key store (${wrapper.describe()}) does not answer: ${why}`;
  return new LedgerError('KIN_LEDGER_KEY_UNAVAILABLE', message, { cause });
}

function asKeyError(path: string, cause: unknown): LedgerError {
  if (isLedgerError(cause)) return cause;
  if (hasCode(cause, 'ELOOP')) return badKey(`${path} is a symbolic link`);
  return badKey(`${path} cannot be used: ${errorText(cause)}`);
}

function hasCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === code;
}

function badKey(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_KEY_INVALID', why);
}
