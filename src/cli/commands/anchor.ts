// `ledger anchor`: where heads of the log stand outside. Receipts are listed and verified offline
// as far as their medium allows; the EVM contract is deployed once.
//
//   EVI5. A receipt counts for this log only when the log, at that size, has the root that was
//         anchored: a head of a history that was rewritten since is a finding.
//   EVI6. Addresses with access keys come from files, and are never printed.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { verifyCheckpoint } from '@kintsugi/ledger/verify';
import { headOf } from '../../drivers/anchors/anchor.ts';
import type { AnchorReceipt, Verdict } from '../../drivers/anchors/anchor.ts';
import { parseBook } from '../../drivers/anchors/book.ts';
import { deployAnchorContract } from '../../drivers/anchors/evm.ts';
import { openEvmReader } from '../../drivers/anchors/evm-read.ts';
import { openAnchor } from '../../drivers/anchors/open.ts';
import type { AnchorSpec } from '../../drivers/anchors/open.ts';
import { KinError, messageOf } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { answer } from '../context.ts';
import { EXIT } from '../exit.ts';
import { findLedger, keyLines, readNamed, readNamedText, unreadable } from '../offline/place.ts';
import type { FoundLedger, LedgerPlace } from '../offline/place.ts';
import { FRAMES_BYTES_MAX, readRegular } from '../offline/read-file.ts';
import { harmless } from '../style.ts';

export interface AnchorOptions extends LedgerPlace {
  /** PEM with what a time-stamp chain may end in. */
  readonly certificates: string | undefined;
  /** File with the RPC address. */
  readonly rpcUrlFile: string | undefined;
  /** Path of the medium of a `file` anchor. */
  readonly medium: string | undefined;
  readonly book: string | undefined;
}

interface Row {
  readonly receipt: AnchorReceipt;
  readonly verdict: Verdict | { readonly kind: 'unchecked'; readonly detail: string };
}

export async function anchorListCommand(context: Context, options: AnchorOptions): Promise<number> {
  const receipts = receiptsOf(context, findLedger(context, options), options.book);
  answer(context, receipts, () =>
    receipts.length === 0
      ? ['no receipt is kept here']
      : receipts.map((r) => `${line(r)}  ${r.root}`),
  );
  return EXIT.ok;
}

const line = (r: AnchorReceipt): string =>
  `${new Date(r.atMs).toISOString()}  ${harmless(r.anchor)} (${r.kind})  ${r.size} entries`;

export async function anchorVerifyCommand(
  context: Context,
  options: AnchorOptions,
): Promise<number> {
  const found = findLedger(context, options);
  const receipts = receiptsOf(context, found, options.book);
  const { readLog } = await import('../offline/read-log.ts');
  const { tree } = await readLog(found, () => undefined);
  const rows: Row[] = [];
  for (const receipt of receipts) {
    const doubt = contradiction(receipt, found.vkey, tree.size, (size) =>
      Buffer.from(tree.rootAt(size)).toString('base64'),
    );
    const verdict = doubt ?? (await judge(context, receipt, options));
    rows.push({ receipt, verdict });
  }
  answer(context, rows, () =>
    rows.length === 0
      ? ['no receipt is kept here']
      : [
          ...rows.map(({ receipt, verdict }) => {
            const text = `${verdict.kind}: ${harmless(verdict.detail)}`;
            return `${line(receipt)}  ${isBad(verdict) ? context.paint.red(text) : text}`;
          }),
          ...keyLines(context, found.keyFrom),
        ],
  );
  // Empty is not green: nothing was shown to stand outside.
  return rows.length === 0 || rows.some(({ verdict }) => isBad(verdict)) ? EXIT.failed : EXIT.ok;
}

const isBad = ({ kind }: Row['verdict']): boolean => kind === 'invalid' || kind === 'unreachable';

/** EVI5. */
function contradiction(
  receipt: AnchorReceipt,
  vkey: string,
  size: number,
  rootAt: (size: number) => string,
): Verdict | undefined {
  const bad = (detail: string): Verdict => ({ kind: 'invalid', reason: 'other-head', detail });
  const signed = verifyCheckpoint(receipt.checkpoint, vkey);
  if (signed.kind === 'invalid') return bad(`its checkpoint is not of this log: ${signed.reason}`);
  if (Number(signed.head.size) !== receipt.size || signed.head.root !== receipt.root) {
    return bad('the receipt differs from its checkpoint');
  }
  if (receipt.size > size) {
    return bad(`${receipt.size} entries were anchored, the log holds ${size}: rolled back`);
  }
  try {
    return rootAt(receipt.size) === receipt.root
      ? undefined
      : bad(`another tree of ${receipt.size} entries was anchored: a fork`);
  } catch (error) {
    if (error instanceof KinError && error.code === 'KIN_LEDGER_PRUNED') return undefined;
    throw error;
  }
}

async function judge(
  context: Context,
  receipt: AnchorReceipt,
  options: AnchorOptions,
): Promise<Row['verdict']> {
  const head = headOf(receipt.checkpoint);
  if (receipt.kind === 'evm') {
    if (options.rpcUrlFile === undefined) {
      return { kind: 'unchecked', detail: 'a chain has to be asked: --rpc-url-file FILE' };
    }
    const { chainId, contract, confirmations } = receipt;
    const rpcUrl = readNamedText(context, options.rpcUrlFile).trim();
    const reader = openEvmReader({ rpcUrl, chainId, contract });
    return reader.verify(receipt, head, Math.max(1, confirmations));
  }
  const spec = specOf(context, receipt, options);
  if (typeof spec === 'string') return { kind: 'unchecked', detail: spec };
  const anchor = await openAnchor(spec, worldOf(context));
  return anchor.verify(receipt, head);
}

/** Text: what is missing for a check. */
function specOf(
  context: Context,
  receipt: Exclude<AnchorReceipt, { readonly kind: 'evm' }>,
  options: AnchorOptions,
): AnchorSpec | string {
  const name = 'receipt';
  switch (receipt.kind) {
    case 'rfc3161':
      if (options.certificates === undefined) return 'pass --certificates FILE of the authority';
      return {
        kind: 'rfc3161',
        name,
        // Never asked: verifying is offline.
        url: 'http://127.0.0.1/',
        certificatesFile: resolve(context.cwd, options.certificates),
      };
    case 'opentimestamps':
      return { kind: 'opentimestamps', name, calendars: ['https://calendar.invalid'] };
    case 'file':
      if (options.medium === undefined) return 'pass --medium PATH of the write-once file';
      return {
        kind: 'file',
        name,
        path: resolve(context.cwd, options.medium),
        layout: receipt.layout,
      };
  }
}

/** Waiting and logging as the drivers want them, on this command's own clock. */
function worldOf(context: Context): Parameters<typeof openAnchor>[1] {
  const warn = (text: string): void => context.term.err(`${harmless(text)}\n`);
  return {
    clock: {
      nowMs: () => context.nowMs(),
      monotonicMs: () => performance.now(),
      sleep: (ms, signal) => context.sleep(ms, signal),
    },
    log: { warn },
  };
}

/** Newest first. The book lies beside the ledger; nothing is locked or repaired. */
function receiptsOf(
  context: Context,
  found: FoundLedger,
  named: string | undefined,
): readonly AnchorReceipt[] {
  const paths = named === undefined ? [join(found.dir, BOOK), join(found.dir, '..', BOOK)] : [];
  if (named !== undefined) return parseBook(readNamed(context, named)).receipts.toReversed();
  for (const path of paths) {
    let bytes: Buffer;
    try {
      bytes = readRegular(path, FRAMES_BYTES_MAX);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue;
      throw unreadable(path, error);
    }
    return parseBook(bytes).receipts.toReversed();
  }
  return [];
}

const BOOK = 'anchors.log';

export interface DeployOptions {
  readonly rpcUrlFile: string;
  readonly chainId: number;
  readonly keyFile: string;
  readonly maxFeeGwei: number;
}

export async function anchorDeployCommand(
  context: Context,
  options: DeployOptions,
): Promise<number> {
  // EVI6.
  const rpcUrl = readNamedText(context, options.rpcUrlFile).trim();
  const { chainId, maxFeeGwei } = options;
  const keyFile = resolve(context.cwd, options.keyFile);
  const spec = { rpcUrl, chainId, keyFile, maxFeeGwei, bytecode: bytecode() };
  const { contract, transaction, gasUsed } = await deployAnchorContract(spec, worldOf(context));
  answer(context, { contract, transaction, gasUsed, chainId }, () => [
    `contract    ${contract} on chain ${chainId}`,
    `transaction ${transaction}, ${gasUsed} gas`,
    context.paint.dim('put it into ledger.anchors as `contract`'),
  ]);
  return EXIT.ok;
}

/** Beside `src` in a clone and beside `dist` in an installed package. */
function bytecode(): string {
  const path = join(import.meta.dirname, '..', '..', '..', 'contracts', 'KintsugiAnchor.json');
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as { readonly bytecode?: unknown };
    if (typeof value.bytecode === 'string') return value.bytecode;
    throw new Error('it holds no bytecode');
  } catch (error) {
    throw unreadable(path, new Error(messageOf(error)));
  }
}
