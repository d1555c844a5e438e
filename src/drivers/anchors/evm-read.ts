// What does the chain say about a log? The auditor's half: needs an RPC address, no key, and trusts
// only what it can compare. The writer uses the same functions.
//
//   EV1. A receipt is anchored only if its event stands now in that block, with this size and root,
//        in the known contract, from the named owner, under the configured chain id.
import {
  type AnchoredHead,
  type AnchorReceipt,
  type EvmReceipt,
  type HighWaterMark,
  doubtAbout,
  digestOf,
  invalid,
  type Verdict,
  verdictOf,
} from './anchor.ts';
import { createHash } from 'node:crypto';
import { AnchorError } from './errors.ts';
import {
  CODE_SHA256,
  decodeLatest,
  latestCall,
  readAddress,
  rootHex,
  topicsOf,
} from './evm-codec.ts';
import {
  blockAt,
  count,
  hex,
  logRow,
  type LogRow,
  minedTransaction,
  openRpc,
  type Rpc,
} from './evm-rpc.ts';
import { checkUrl } from './http.ts';

export interface EvmPlace {
  /** May hold an access key: never shown. `https:`, or `http:` on this machine. */
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly contract: string;
  readonly timeoutMs?: number;
}

export interface EvmReader {
  readonly rpc: Rpc;
  readonly contract: string;
  readonly chainId: number;
  /** Throws unless it is the chain meant and the contract of this version. */
  check(): Promise<void>;
  highWater(owner: string, origin: string): Promise<HighWaterMark | undefined>;
  /** The event of this head, if the chain holds one. */
  find(owner: string, head: AnchoredHead, fromBlock: number): Promise<LogRow | undefined>;
  verify(receipt: AnchorReceipt, head: AnchoredHead, needed: number): Promise<Verdict>;
}

export function openEvmReader(place: EvmPlace): EvmReader {
  const rpc = openRpc(checkUrl(place.rpcUrl, 'loopback'), place.timeoutMs ?? 10_000);
  const contract = readAddress(place.contract);
  const { chainId } = place;
  const check = async (): Promise<void> => {
    await checkChain(rpc, chainId);
    const code = hex(await rpc('eth_getCode', [contract, 'latest']), 'code');
    const sha256 = createHash('sha256')
      .update(Buffer.from(code.slice(2), 'hex'))
      .digest('hex');
    if (sha256 !== CODE_SHA256)
      throw new AnchorError(
        'KIN_ANCHOR_CONTRACT',
        code === '0x'
          ? `no contract at ${contract}`
          : `the code at ${contract} is not that of KintsugiAnchor.sol`,
      );
  };
  const reader: EvmReader = {
    rpc,
    contract,
    chainId,
    check,
    async highWater(owner, origin) {
      const data = await rpc('eth_call', [
        { to: contract, data: latestCall(readAddress(owner), origin) },
        'latest',
      ]);
      const mark = decodeLatest(hex(data, 'a head'));
      return mark.size === 0 ? undefined : mark;
    },
    async find(owner, head, fromBlock) {
      const topics = topicsOf(owner, head.origin, head.size);
      const filter = { address: contract, topics, fromBlock: `0x${fromBlock.toString(16)}` };
      const rows = await rpc('eth_getLogs', [filter]);
      if (!Array.isArray(rows))
        throw new AnchorError('KIN_ANCHOR_ANSWER', 'the node answered logs that cannot be read');
      return rows.map(logRow).find((row) => isEventOf(row, contract, owner, head));
    },
    verify: (receipt, head, needed) => verify(reader, receipt, head, needed),
  };
  return reader;
}

export async function checkChain(rpc: Rpc, chainId: number): Promise<void> {
  const actual = count(await rpc('eth_chainId', []), 'a chain id');
  if (actual !== chainId)
    throw new AnchorError('KIN_ANCHOR_CHAIN', `the node is on chain ${actual}, not ${chainId}`);
}

export function isEventOf(
  row: LogRow,
  contract: string,
  owner: string,
  head: AnchoredHead,
): boolean {
  const topics = topicsOf(owner, head.origin, head.size);
  return (
    row.address === contract &&
    row.topics.length === topics.length &&
    row.topics.every((topic, at) => topic === topics[at]) &&
    row.data.length === 2 + 128 &&
    row.data.slice(0, 66) === rootHex(head.root)
  );
}

async function verify(
  reader: EvmReader,
  receipt: AnchorReceipt,
  head: AnchoredHead,
  needed: number,
): Promise<Verdict> {
  if (receipt.kind !== 'evm') return invalid('malformed', 'no EVM receipt');
  const doubt = doubtAbout(receipt, head);
  if (doubt !== undefined) return doubt;
  if (receipt.chainId !== reader.chainId || receipt.contract !== reader.contract)
    return invalid('other-chain', 'the receipt names another chain or contract');
  if (!/^0x[0-9a-f]{64}$/.test(receipt.transaction) || !/^0x[0-9a-f]{40}$/.test(receipt.owner))
    return invalid('malformed', 'the receipt names no transaction');
  try {
    await reader.check();
    return await lookAt(reader, receipt, head, needed);
  } catch (error) {
    return verdictOf(error);
  }
}

async function lookAt(
  { rpc, contract }: EvmReader,
  receipt: EvmReceipt,
  head: AnchoredHead,
  needed: number,
): Promise<Verdict> {
  const mined = await minedTransaction(rpc, receipt.transaction);
  if (mined === undefined || !mined.isSuccess)
    return invalid('not-in-medium', 'the chain does not hold the transaction');
  const event = mined.logs.find((row) => isEventOf(row, contract, receipt.owner, head));
  if (event === undefined)
    return invalid('other-content', 'the transaction did not anchor this size and root');
  if (mined.blockHash !== receipt.blockHash || mined.blockNumber !== receipt.blockNumber)
    return invalid('not-in-medium', 'the transaction stands in another block: a re-organisation');
  const block = await blockAt(rpc, mined.blockNumber);
  if (block?.hash !== mined.blockHash)
    return invalid('not-in-medium', 'the block is not part of the chain any more');
  const tip = count(await rpc('eth_blockNumber', []), 'a height');
  const confirmations = tip - mined.blockNumber + 1;
  const isSameText = event.data.slice(66) === digestOf(receipt.checkpoint).toString('hex');
  const note = isSameText ? '' : '; anchored with other signatures on the same head';
  const detail = `block ${mined.blockNumber}, ${confirmations} confirmations${note}`;
  if (confirmations < needed) return { kind: 'pending', reason: 'confirmations-missing', detail };
  return { kind: 'anchored', atMs: block.atMs, detail };
}
