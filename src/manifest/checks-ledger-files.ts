// Do the files exist that the ledger is told to use, and do they lie where they can do their work?
//
//   LF1. A relative policy does not leave the folder of the manifest, by dots or by links.
//   LF2. The high-water mark lies outside the state folder: whoever restores an old copy of that
//        folder must not bring the old mark back with it.
//   LF3. A key that was pasted in place of its file is never shown.
import { constants } from 'node:fs';
import { access, lstat, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { advise, problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { isInside } from './command.ts';
import type { DraftAnchor } from './keys-ledger.ts';

interface Folders {
  readonly baseDir: string;
  readonly stateDir: string;
}

export async function checkLedgerFiles(
  c: Checking,
  baseDir: string,
  stateDir: string,
): Promise<void> {
  const { witnesses, anchors, highWater } = c.draft.ledger;
  const folders = { baseDir, stateDir };
  if (witnesses?.policy !== undefined) await checkPolicy(c, witnesses.policy, baseDir);
  if (highWater !== undefined) await checkHighWater(c, highWater, folders);
  for (const [i, anchor] of anchors.entries()) {
    await checkAnchorFiles(c, `ledger.anchors[${i}]`, anchor, folders);
  }
}

/** True when there is nothing (more) to look at: nothing written, or told already. */
function isOdd(c: Checking, path: string, text: string): boolean {
  if (!text.includes('${')) return text === '';
  const found = 'a reference, which has no value here';
  problem(c, 'KIN_MANIFEST_RANGE', path, found, 'a plain path');
  return true;
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 100));

/** LF1. */
async function checkPolicy(c: Checking, text: string, baseDir: string): Promise<void> {
  const path = 'ledger.witnesses.policy';
  if (isOdd(c, path, text)) return;
  const file = resolve(baseDir, text);
  const expected = 'a file inside the folder of the manifest, or an absolute path';
  const leaves = async (): Promise<boolean> =>
    !isInside(baseDir, file) || !isInside(await real(baseDir), await real(file));
  if (!isAbsolute(text) && (await leaves())) {
    const found = `${shown(text)}, which leads out of the folder`;
    problem(c, 'KIN_MANIFEST_RANGE', path, found, expected, await real(file));
    return;
  }
  await checkReadable(c, path, text, file, 'a tlog-policy file');
}

async function checkReadable(
  c: Checking,
  path: string,
  text: string,
  file: string,
  expected: string,
): Promise<void> {
  const isReadable = await access(file, constants.R_OK).then(
    () => true,
    () => false,
  );
  if (isReadable && (await kindOf(file)) === 'file') return;
  const found = `${shown(text)}, which cannot be read`;
  problem(c, 'KIN_MANIFEST_NOT_FOUND', path, found, expected);
}

/** LF2. */
async function checkHighWater(c: Checking, text: string, folders: Folders): Promise<void> {
  const path = 'ledger.highWater';
  if (isOdd(c, path, text)) return;
  const file = resolve(folders.baseDir, text);
  if (await isInState(file, folders)) {
    const found = `${shown(text)}, inside the state folder`;
    const expected = 'a file outside it: a copy of the folder would bring its own mark along';
    problem(c, 'KIN_MANIFEST_CONFLICT', path, found, expected);
  } else await checkPlace(c, path, text, file, 'file');
}

async function checkAnchorFiles(
  c: Checking,
  at: string,
  anchor: DraftAnchor,
  folders: Folders,
): Promise<void> {
  const file = (text: string): string => resolve(folders.baseDir, text);
  if (anchor.kind === 'rfc3161') {
    const text = anchor.certificatesFile;
    const path = `${at}.certificatesFile`;
    if (isOdd(c, path, text)) return;
    await checkReadable(c, path, text, file(text), 'a PEM file with certificates');
  }
  if (anchor.kind === 'evm' && anchor.keyFile !== undefined) {
    await checkKey(c, `${at}.keyFile`, anchor.keyFile, file(anchor.keyFile));
  }
  if (anchor.kind === 'file') {
    const path = `${at}.path`;
    if (isOdd(c, path, anchor.path)) return;
    const place = file(anchor.path);
    if (await isInState(place, folders)) {
      const text = 'an anchor inside the state folder proves nothing: it is lost or kept with it';
      advise(c, 'anchor-inside', path, text);
    }
    const kind = anchor.layout === 'append' ? 'file' : 'folder';
    await checkPlace(c, path, anchor.path, place, kind);
  }
}

/** LF3. A missing key would only be noticed at the first anchor, minutes after the start. */
async function checkKey(c: Checking, path: string, text: string, file: string): Promise<void> {
  if (isOdd(c, path, text)) return;
  const expected = 'the path of a file that holds the key, mode 600';
  if (/^\s*(?:0x)?[0-9a-f]{64}\s*$/iu.test(text)) {
    problem(c, 'KIN_MANIFEST_CONFLICT', path, 'a key in plain text (not shown)', expected);
    return;
  }
  const found = await lstat(file).catch(() => undefined);
  if (found?.isFile() !== true) {
    const what = found === undefined ? 'no such file' : 'something that is not a file';
    problem(c, 'KIN_MANIFEST_NOT_FOUND', path, what, expected);
  } else if ((found.mode & 0o077) !== 0) {
    const what = `mode ${(found.mode & 0o777).toString(8)}: others may use the key`;
    problem(c, 'KIN_MANIFEST_CONFLICT', path, what, 'mode 600', `chmod 600 ${file}`);
  }
}

/** A file may still be made, its folder not; a folder has to be there. */
async function checkPlace(
  c: Checking,
  path: string,
  text: string,
  place: string,
  wanted: 'file' | 'folder',
): Promise<void> {
  const there = await kindOf(place);
  if (there === wanted) return;
  if (there !== 'nothing') {
    const found = `${shown(text)}, which is a ${there}`;
    problem(c, 'KIN_MANIFEST_RANGE', path, found, `a ${wanted}`);
    return;
  }
  if (wanted === 'file' && (await kindOf(dirname(place))) === 'folder') return;
  const found = `${shown(text)}, which is not there`;
  const expected = wanted === 'file' ? 'a file in a folder that exists' : 'a folder that exists';
  problem(c, 'KIN_MANIFEST_NOT_FOUND', path, found, expected);
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'nothing' | 'device'> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 'nothing';
  if (found.isDirectory()) return 'folder';
  return found.isFile() ? 'file' : 'device';
}

async function isInState(file: string, { stateDir }: Folders): Promise<boolean> {
  return isInside(stateDir, file) || isInside(await real(stateDir), await real(file));
}

/** The path behind all links, also of what is not there yet. */
async function real(path: string): Promise<string> {
  const answer = await realpath(path).catch(() => undefined);
  if (answer !== undefined) return answer;
  const above = dirname(path);
  // Each turn is one folder shorter, and the root is always there.
  return above === path ? path : join(await real(above), basename(path));
}
