// `audit` and `ledger`: is everything as it must be, and can it be proved without trusting us?
// `ledger verify` and `ledger export` read the folder alone; nothing needs to run for them.
//
//   EVI1. Verification uses a key that the caller names, or says that it took the folder's own.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { statePaths } from '../../api/state-folder.ts';
import { KinError } from '../../model/errors.ts';
import { connect, findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { showAudit } from '../show/answers.ts';
import { harmless } from '../style.ts';
import { countText } from '../text.ts';

export async function auditCommand(context: Context): Promise<number> {
  const report = await connect(context).client.audit();
  answer(context, report, () => showAudit(report, context.paint));
  return report.verdict === 'satisfied' ? EXIT.ok : EXIT.failed;
}

export interface LedgerPlace {
  readonly dir: string | undefined;
  readonly vkey: string | undefined;
}

interface Found {
  readonly dir: string;
  readonly vkey: string;
  readonly keyFrom: 'given' | 'folder';
}

export async function verifyCommand(context: Context, place: LedgerPlace): Promise<number> {
  const found = findLedger(context, place);
  const { verifyLedgerDir } = await import('@kintsugi/ledger');
  const report = await verifyLedgerDir(found.dir, found.vkey);
  answer(context, { ...found, report }, () => {
    const { paint } = context;
    const own =
      found.keyFrom === 'given'
        ? []
        : [paint.dim('the key is the one in the folder: compare it with the one that you know')];
    if (report.kind === 'intact') {
      return [
        `${paint.green('intact')}: ${countText(report.size, 'entry', 'entries')}, every byte ` +
          'read, every root recomputed, every signature checked',
        `root ${report.root}`,
        `key  ${found.vkey}`,
        ...own,
      ];
    }
    return [
      `${paint.red('DAMAGED')}: ${countText(report.findings.length, 'finding')}`,
      ...report.findings.map(
        (f) => `  ${f.code} ${f.file} at byte ${f.offset}, entry ${f.index}: ${harmless(f.reason)}`,
      ),
      ...own,
    ];
  });
  return report.kind === 'intact' ? EXIT.ok : EXIT.failed;
}

export async function exportCommand(
  context: Context,
  out: string,
  place: LedgerPlace,
): Promise<number> {
  const found = findLedger(context, place);
  const { exportStatic } = await import('@kintsugi/ledger');
  const path = resolve(context.cwd, out);
  const checkpoint = await exportStatic(found.dir, path, found.vkey);
  const files = { checkpoint: join(path, 'checkpoint'), vkey: found.vkey };
  answer(context, { ...files, size: checkpoint.size, root: checkpoint.root }, () => [
    `${countText(checkpoint.size, 'entry', 'entries')} in ${path} as a static log (tlog-tiles)`,
    `root ${checkpoint.root}`,
    `key  ${found.vkey}`,
  ]);
  return EXIT.ok;
}

export async function headCommand(context: Context): Promise<number> {
  const head = await connect(context).client.ledgerHead();
  answer(context, head, () => [
    `${countText(head.size, 'entry', 'entries')} in ${head.origin}`,
    `root ${head.root}`,
    `key  ${head.vkey}`,
    '',
    ...head.checkpoint.trimEnd().split('\n'),
  ]);
  return EXIT.ok;
}

/** What is printed is the proof itself, checked once more here before it is handed out. */
export async function proveCommand(context: Context, index: number): Promise<number> {
  const made = await connect(context).client.ledgerProve(index);
  const { verifyProof } = await import('@kintsugi/ledger/verify');
  const entry = Buffer.from(made.entry, 'base64');
  const verdict = verifyProof(made.proof, entry, made.vkey);
  const valid = verdict.kind === 'valid' && Number(verdict.index) === index;
  answer(context, { ...made, valid }, () => [
    valid
      ? context.paint.green(`entry ${index} is in the log`)
      : context.paint.red(`the proof of entry ${index} does NOT verify`),
    `key   ${made.vkey}`,
    `entry ${harmless(entry.toString('utf8'))}`,
    '',
    ...made.proof.trimEnd().split('\n'),
  ]);
  return valid ? EXIT.ok : EXIT.failed;
}

export async function entriesCommand(
  context: Context,
  options: { readonly from: number; readonly limit: number },
): Promise<number> {
  const entries = await connect(context).client.ledgerEntries(options.from, options.limit);
  answer(context, entries, () =>
    entries.map(
      (e) =>
        `#${e.index}  ${new Date(e.atMs).toISOString()}  ${e.kind}  ` +
        context.paint.dim(harmless(JSON.stringify(e.body))),
    ),
  );
  return EXIT.ok;
}

/** EVI1. */
function findLedger(context: Context, place: LedgerPlace): Found {
  const state = place.dir === undefined ? statePaths(findStateDir(context)).ledger : undefined;
  const candidates =
    place.dir === undefined
      ? [join(state ?? '', 'log'), state ?? '']
      : [resolve(context.cwd, place.dir), join(resolve(context.cwd, place.dir), 'log')];
  const dir = candidates.find((candidate) => existsSync(join(candidate, 'seg')));
  if (dir === undefined) {
    throw new KinError(
      'KIN_LEDGER_NOT_FOUND',
      `there is no ledger in ${candidates[0] ?? ''}`,
      'Pass its folder: kintsugi ledger verify --dir DIR.',
    );
  }
  if (place.vkey !== undefined) {
    const path = resolve(context.cwd, place.vkey);
    const vkey = existsSync(path) ? readFileSync(path, 'utf8').trim() : place.vkey;
    return { dir, vkey, keyFrom: 'given' };
  }
  const vkey = ownKey(dir);
  if (vkey !== undefined) return { dir, vkey, keyFrom: 'folder' };
  throw new KinError(
    'KIN_LEDGER_KEY_MISSING',
    `no public key stands beside ${dir}`,
    'Pass the key, or a file with it: --vkey KEY.',
  );
}

function ownKey(dir: string): string | undefined {
  for (const path of [join(dir, '..', 'vkey'), join(dir, 'vkey')]) {
    if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  }
  try {
    const log: unknown = JSON.parse(readFileSync(join(dir, 'log.json'), 'utf8'));
    const isLog = typeof log === 'object' && log !== null && 'vkey' in log;
    return isLog && typeof log.vkey === 'string' ? log.vkey : undefined;
  } catch {
    return undefined;
  }
}
