// Who may sign? Whoever reads one file. It is read for each signature and wiped after it, so that
// the key never stands in a long-lived value, a log or an error.
//
//   EK1. A file that another user may read, that is a link, or that another user owns is refused.
//   EK2. No message and no cause carries what the file holds.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { addr } from 'micro-eth-signer';
import { AnchorError, errnoOf } from './errors.ts';

const FILE_BYTES_MAX = 128;

/** Lends the key to `use` and wipes it when that is over. */
export async function withKey<T>(path: string, use: (key: Uint8Array) => T): Promise<T> {
  const key = await readKey(path);
  try {
    return use(key);
  } catch {
    // The signer's own errors are not passed on: nobody has promised that they hold no key.
    throw new AnchorError('KIN_ANCHOR_KEY', 'the key could not sign');
  } finally {
    key.fill(0);
  }
}

export async function addressOfKey(path: string): Promise<string> {
  return withKey(path, (key) => addr.fromPrivateKey(key).toLowerCase());
}

async function readKey(path: string): Promise<Uint8Array> {
  const text = Buffer.alloc(FILE_BYTES_MAX + 1);
  try {
    const length = await readSecret(path, text);
    const [, digits] = /^\s*(?:0x)?([0-9a-fA-F]{64})\s*$/.exec(
      text.toString('latin1', 0, length),
    ) ?? [undefined, ''];
    const key = Buffer.from(digits ?? '', 'hex');
    if (key.length !== 32 || !addr.isValidPrivateKey(key))
      throw new AnchorError('KIN_ANCHOR_KEY', 'the key file holds no secp256k1 key');
    return key;
  } finally {
    text.fill(0);
  }
}

async function readSecret(path: string, into: Buffer): Promise<number> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const stat = await file.stat();
      const refuse = (why: string): AnchorError =>
        new AnchorError('KIN_ANCHOR_KEY', `the key file ${why}`);
      if (!stat.isFile()) throw refuse('is no file');
      if ((stat.mode & 0o077) !== 0)
        throw refuse(`has mode ${(stat.mode & 0o777).toString(8)}: others may use it`);
      if (process.getuid !== undefined && stat.uid !== process.getuid())
        throw refuse('belongs to another user');
      return (await file.read(into, 0, into.length, 0)).bytesRead;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof AnchorError) throw error;
    throw new AnchorError('KIN_ANCHOR_KEY', `the key file cannot be read (${errnoOf(error)})`);
  }
}
