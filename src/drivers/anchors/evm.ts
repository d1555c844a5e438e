// How does an EVM chain see a head? Through KintsugiAnchor.sol, which keeps the newest size and
// root of each (account, log) and lets nobody take them back: the best external high-water mark.
//
//   EA1. Before sending, the chain is asked: a larger size there means that we were rolled back,
//        the same size with another root that the log forked. Neither is ever sent.
//   EA2. Anchoring the same head again answers with the event that is there, and pays nothing.
import type { Clock, Log } from '../../world/clock.ts';
import {
  type AnchoredHead,
  checkHead,
  type EvmReceipt,
  receiptBase,
  type RememberingAnchor,
} from './anchor.ts';
import { AnchorError } from './errors.ts';
import { anchorCall, readAddress, REVERT } from './evm-codec.ts';
import { addressOfKey } from './evm-key.ts';
import { checkChain, type EvmPlace, type EvmReader, isEventOf, openEvmReader } from './evm-read.ts';
import { hex, type MinedTransaction, openRpc, RpcRefusal } from './evm-rpc.ts';
import { confirm, send, type Sender, type SendLimits } from './evm-send.ts';
import { checkUrl } from './http.ts';

const ROUNDS_MAX = 3;

const LIMITS: SendLimits = {
  maxFeeGwei: 100,
  gasMax: 200_000,
  confirmations: 12,
  pollMs: 4_000,
  stuckMs: 120_000,
  waitMs: 1_800_000,
};
const DEPLOY_GAS_MAX = 1_000_000;

export interface EvmSpec extends EvmPlace, Partial<Omit<SendLimits, 'gasMax'>> {
  readonly kind: 'evm';
  readonly name: string;
  /** The account that anchors. Its key is not needed to verify. */
  readonly owner: string;
  /** Undefined for an auditor: `anchor` is refused. */
  readonly keyFile?: string;
  /** Where the search for an old event begins: the block of the deployment. */
  readonly fromBlock?: number;
}

export interface EvmWorld {
  readonly clock: Pick<Clock, 'nowMs' | 'monotonicMs' | 'sleep'>;
  readonly log: Pick<Log, 'warn'>;
}

export function openEvmAnchor(spec: EvmSpec, { clock, log }: EvmWorld): RememberingAnchor {
  const reader = openEvmReader(spec);
  const owner = readAddress(spec.owner);
  const { keyFile, name, fromBlock = 0 } = spec;
  const limits = limitsOf(spec);
  return {
    name,
    async anchor(head, signal) {
      checkHead(head);
      if (keyFile === undefined)
        throw new AnchorError('KIN_ANCHOR_KEY', `${name} has no key file: it can only verify`);
      const { rpc, chainId } = reader;
      const sender: Sender = { rpc, chainId, owner, keyFile, limits, clock, log, signal };
      const { mined, confirmations } = await place(reader, sender, head, fromBlock);
      return receiptOf(spec, reader, head, mined, confirmations, clock.nowMs());
    },
    verify: (receipt, head) => reader.verify(receipt, head, limits.confirmations),
    async highWater(origin) {
      await reader.check();
      return reader.highWater(owner, origin);
    },
  };
}

function limitsOf(spec: EvmSpec): SendLimits {
  const { maxFeeGwei, confirmations, pollMs, stuckMs, waitMs } = { ...LIMITS, ...spec };
  return { maxFeeGwei, gasMax: LIMITS.gasMax, confirmations, pollMs, stuckMs, waitMs };
}

interface Placed {
  readonly mined: Pick<MinedTransaction, 'transaction' | 'blockNumber' | 'blockHash'>;
  readonly confirmations: number;
}

async function place(
  reader: EvmReader,
  sender: Sender,
  head: AnchoredHead,
  fromBlock: number,
): Promise<Placed> {
  const { owner, clock, limits } = sender;
  await reader.check();
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    if (await isHeld(reader, owner, head)) {
      const event = await reader.find(owner, head, fromBlock);
      if (event === undefined)
        throw new AnchorError('KIN_ANCHOR_CONTRACT', 'the chain holds the head but no event of it');
      const deadlineMs = clock.monotonicMs() + limits.waitMs;
      const answer = await confirm(sender, event.transaction, deadlineMs, '');
      if (answer.kind === 'confirmed') return answer;
      continue;
    }
    const payload = { to: reader.contract, data: anchorCall(head) };
    const answer = await send(sender, payload).catch((error: unknown) => {
      throw revertOf(error);
    });
    if (answer.kind === 'superseded') continue;
    if (answer.mined.logs.some((row) => isEventOf(row, reader.contract, owner, head)))
      return answer;
  }
  throw new AnchorError('KIN_ANCHOR_STUCK', 'something else uses the account at the same time');
}

async function isHeld(reader: EvmReader, owner: string, head: AnchoredHead): Promise<boolean> {
  const mark = await reader.highWater(owner, head.origin);
  if (mark === undefined || mark.size < head.size) return false;
  if (mark.size > head.size)
    throw new AnchorError(
      'KIN_ANCHOR_ROLLED_BACK',
      `the chain holds size ${mark.size} of this log, we only have ${head.size}`,
    );
  if (mark.root !== head.root)
    throw new AnchorError(
      'KIN_ANCHOR_FORK',
      `the chain holds another root for size ${head.size} of this log`,
    );
  return true;
}

/** The contract said the same in the moment between our look and the estimate. */
function revertOf(error: unknown): unknown {
  if (!(error instanceof RpcRefusal)) return error;
  if (error.data.startsWith(REVERT.fork))
    return new AnchorError('KIN_ANCHOR_FORK', 'the contract refuses the head: fork');
  if (error.data.startsWith(REVERT.shrunk))
    return new AnchorError('KIN_ANCHOR_ROLLED_BACK', 'the contract holds a larger size');
  return error;
}

function receiptOf(
  { name, owner }: EvmSpec,
  { chainId, contract }: EvmReader,
  head: AnchoredHead,
  { transaction, blockNumber, blockHash }: Placed['mined'],
  confirmations: number,
  atMs: number,
): EvmReceipt {
  return {
    kind: 'evm',
    ...receiptBase(name, head, atMs),
    chainId,
    contract,
    owner: readAddress(owner),
    transaction,
    blockNumber,
    blockHash,
    confirmations,
  };
}

export interface DeploySpec extends Omit<EvmPlace, 'contract'>, Partial<SendLimits> {
  readonly keyFile: string;
  /** `bytecode` of contracts/KintsugiAnchor.json. */
  readonly bytecode: string;
}

/** Once per chain; any account may use the contract of any other deployer. */
export async function deployAnchorContract(
  spec: DeploySpec,
  { clock, log }: EvmWorld,
): Promise<{ readonly contract: string; readonly transaction: string; readonly gasUsed: number }> {
  const rpc = openRpc(checkUrl(spec.rpcUrl, 'loopback'), spec.timeoutMs ?? 10_000);
  await checkChain(rpc, spec.chainId);
  const owner = await addressOfKey(spec.keyFile);
  const { keyFile, chainId } = spec;
  const limits = { ...LIMITS, ...spec, gasMax: DEPLOY_GAS_MAX };
  const signal = undefined;
  const sender: Sender = { rpc, chainId, owner, keyFile, limits, clock, log, signal };
  const answer = await send(sender, { to: undefined, data: hex(spec.bytecode, 'bytecode') });
  if (answer.kind !== 'confirmed' || answer.mined.contractAddress === undefined)
    throw new AnchorError('KIN_ANCHOR_STUCK', 'the account sent something else at the same time');
  const { contractAddress, transaction, gasUsed } = answer.mined;
  return { contract: contractAddress, transaction, gasUsed };
}
