// Where are the keys of a witness? In one file of mode 0600 with a secret text a line, made at the
// first start: an Ed25519 cosigner and an ML-DSA-44 one, so that old and new policies can use it.
// WK1. A key file is never replaced, and one that others may read or that is a link is refused.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { utf8 } from '../bytes.ts';
import { COSIGNATURE_TYPE, MLDSA44_TYPE } from '../cosignature.ts';
import { LedgerError } from '../errors.ts';
import type { Files } from '../files.ts';
import type { Signer } from '../note.ts';
import { generateSigner, loadSigner } from '../signer.ts';
import type { SignerKind } from '../signer.ts';

export type CosignerKind = Exclude<SignerKind, 'ed25519'>;

const KEYS_MAX = 8;
const KEY_BYTES_MAX = 65_536;

/** Fails when the file exists already. */
export async function createWitnessKeys(
  files: Files,
  path: string,
  name: string,
  kinds: readonly CosignerKind[] = ['cosigner', 'ml-dsa-44'],
): Promise<readonly Signer[]> {
  if (kinds.length === 0 || kinds.length > KEYS_MAX) throw invalid('a witness has 1 to 8 keys');
  const made = kinds.map((kind) => generateSigner(name, kind));
  const file = await files.open(path, 'create');
  try {
    await file.write(utf8(made.map(({ secret }) => `${secret}\n`).join('')), 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await files.syncDir(dirname(path));
  return made.map(({ signer }) => signer);
}

/** Undefined when there is no such file. WK1. */
export async function loadWitnessKeys(path: string): Promise<readonly Signer[] | undefined> {
  const text = await readSecret(path);
  if (text === undefined) return undefined;
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0 || lines.length > KEYS_MAX) {
    throw invalid(`${path} holds no witness keys, or more than ${KEYS_MAX}`);
  }
  const signers = lines.map((line) => loadSigner(line));
  const [first] = signers;
  for (const { type, name } of signers) {
    // A plain Ed25519 key would sign something that a log could have said as well.
    if (type !== COSIGNATURE_TYPE && type !== MLDSA44_TYPE) {
      throw invalid(`${path}: the key of ${name} is no cosigner`);
    }
    if (name !== first?.name) throw invalid(`${path}: all keys of a witness have one name`);
  }
  return signers;
}

async function readSecret(path: string): Promise<string | undefined> {
  let handle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new LedgerError('KIN_LEDGER_IO', `cannot read the witness key ${path}`, { cause });
  }
  try {
    const { mode, size } = await handle.stat();
    if ((mode & 0o077) !== 0) throw invalid(`others may read ${path}: it must have mode 0600`);
    if (size > KEY_BYTES_MAX) throw invalid(`${path} is too large for a key file`);
    // Made by a process that was killed before its sync: nobody may learn of a key that can vanish.
    await handle.sync();
    const folder = await open(dirname(path), constants.O_RDONLY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_KEY_INVALID', why);
}
