// How does one transaction get into the chain and stay there? Signed here, sent, watched, replaced
// at the same nonce with a higher fee when it is stuck, and watched until enough blocks bury it.
// The account is used by nothing else, so the nonce is always that of the newest block.
//
//   ES1. The fee never passes the cap; a market above it is a typed error, not a payment.
//   ES2. Every wait ends: by its deadline at the latest, with a typed error.
//   ES3. A block that disappears is noticed: the transaction is sent again and counted anew.
import { Transaction } from 'micro-eth-signer';
import type { Clock, Log } from '../../world/clock.ts';
import { AnchorError } from './errors.ts';
import { withKey } from './evm-key.ts';
import {
  baseFee,
  blockAt,
  count,
  type MinedTransaction,
  minedTransaction,
  quantity,
  type Rpc,
  RpcRefusal,
} from './evm-rpc.ts';

const GWEI = 1_000_000_000n;
const TIP_DEFAULT = GWEI;
const REPLACEMENTS_MAX = 20;
const UNDERPRICED_TRIES = 12;
/** The first anchor of a log, which is the dearest, takes 70 094 (measured on EDR). */
const GAS_MIN = 90_000n;

export interface SendLimits {
  readonly maxFeeGwei: number;
  readonly gasMax: number;
  readonly confirmations: number;
  readonly pollMs: number;
  /** Without a block for so long, a transaction is replaced. */
  readonly stuckMs: number;
  /** All of it, from sending to the last confirmation. */
  readonly waitMs: number;
}

export interface Sender {
  readonly rpc: Rpc;
  readonly chainId: number;
  readonly owner: string;
  readonly keyFile: string;
  readonly limits: SendLimits;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly log: Pick<Log, 'warn'>;
  readonly signal: AbortSignal | undefined;
}

export interface Payload {
  /** Undefined deploys a contract. */
  readonly to: string | undefined;
  readonly data: string;
}

interface Fee {
  readonly max: bigint;
  readonly tip: bigint;
}

interface Sent {
  readonly nonce: number;
  readonly gas: bigint;
  fee: Fee;
  raw: string;
  readonly hashes: string[];
  sentAtMs: number;
  replacements: number;
}

/** `superseded`: the nonce was used by something else; look again before another try. */
export type SendAnswer =
  | { readonly kind: 'confirmed'; readonly mined: MinedTransaction; readonly confirmations: number }
  | { readonly kind: 'superseded' };

export async function send(sender: Sender, payload: Payload): Promise<SendAnswer> {
  const deadlineMs = sender.clock.monotonicMs() + sender.limits.waitMs;
  const { rpc, owner } = sender;
  const gas = await gasFor(sender, payload);
  const nonce = count(await rpc('eth_getTransactionCount', [owner, 'latest']), 'a nonce');
  const fee = await marketFee(sender);
  const sent: Sent = { nonce, gas, fee, raw: '', hashes: [], sentAtMs: 0, replacements: 0 };
  if ((await broadcast(sender, payload, sent)) === 'superseded') return { kind: 'superseded' };
  const mined = await waitMined(sender, payload, sent, deadlineMs);
  if (mined === undefined) return { kind: 'superseded' };
  return confirm(sender, mined.transaction, deadlineMs, sent.raw);
}

async function gasFor({ rpc, owner, limits }: Sender, { to, data }: Payload): Promise<bigint> {
  const call = to === undefined ? { from: owner, data } : { from: owner, to, data };
  // `latest`: on top of our own waiting transaction the same call would look far cheaper.
  const answer = await rpc('eth_estimateGas', [call, 'latest']);
  const estimate = (quantity(answer, 'a gas estimate') * 6n) / 5n;
  // Some nodes estimate on the pending block whatever one asks; what is not used is not paid.
  const gas = estimate > GAS_MIN ? estimate : GAS_MIN;
  if (gas > BigInt(limits.gasMax))
    throw new AnchorError('KIN_ANCHOR_FEE', `the node asks for ${gas} gas: more than it can need`);
  return gas;
}

async function marketFee({ rpc, limits }: Sender): Promise<Fee> {
  const cap = capOf(limits);
  const base = await baseFee(rpc);
  const tip = await rpc('eth_maxPriorityFeePerGas', []).then(
    (value) => quantity(value, 'a tip'),
    (error: unknown) => {
      if (error instanceof RpcRefusal) return TIP_DEFAULT;
      throw error;
    },
  );
  if (base + tip > cap)
    throw new AnchorError(
      'KIN_ANCHOR_FEE',
      `gas costs ${(base + tip) / GWEI} gwei, the cap is ${limits.maxFeeGwei}`,
    );
  const wanted = base * 2n + tip;
  return { max: wanted > cap ? cap : wanted, tip };
}

function capOf({ maxFeeGwei }: SendLimits): bigint {
  return BigInt(Math.floor(maxFeeGwei * 1e9));
}

/** A quarter more: nodes demand a tenth. Undefined when that would pass the cap. */
function raised({ max, tip }: Fee, limits: SendLimits): Fee | undefined {
  const next = { max: (max * 5n) / 4n + 1n, tip: (tip * 5n) / 4n + 1n };
  return next.max > capOf(limits) ? undefined : next;
}

async function broadcast(
  sender: Sender,
  payload: Payload,
  sent: Sent,
): Promise<'sent' | 'superseded'> {
  for (let tries = 0; tries < UNDERPRICED_TRIES; tries += 1) {
    const { raw, hash } = await sign(sender, payload, sent);
    try {
      await sender.rpc('eth_sendRawTransaction', [raw]);
    } catch (error) {
      if (!(error instanceof RpcRefusal)) throw error;
      if (/nonce.{0,20}too low/i.test(error.message)) return 'superseded';
      if (/underpriced/i.test(error.message)) {
        // An earlier process left one at this nonce; its fee is not known here.
        const fee = raised(sent.fee, sender.limits);
        if (fee === undefined)
          throw new AnchorError('KIN_ANCHOR_FEE', 'replacing the waiting transaction costs more');
        sent.fee = fee;
        continue;
      }
      if (!/already known|known transaction|already imported/i.test(error.message)) throw error;
    }
    sent.raw = raw;
    if (!sent.hashes.includes(hash)) sent.hashes.push(hash);
    sent.sentAtMs = sender.clock.monotonicMs();
    return 'sent';
  }
  throw new AnchorError('KIN_ANCHOR_FEE', 'the node calls every fee up to the cap too low');
}

async function sign(
  { chainId, keyFile, owner }: Sender,
  { to, data }: Payload,
  { nonce, gas, fee }: Sent,
): Promise<{ readonly raw: string; readonly hash: string }> {
  const plain = Transaction.prepare(
    {
      type: 'eip1559',
      chainId: BigInt(chainId),
      nonce: BigInt(nonce),
      maxFeePerGas: fee.max,
      maxPriorityFeePerGas: fee.tip,
      gasLimit: gas,
      to: to ?? '0x',
      value: 0n,
      data,
      accessList: [],
    },
    // Its strict mode stops at nonce 131 072; the limits that matter here are checked above.
    false,
  );
  const signed = await withKey(keyFile, (key) => plain.signBy(key));
  if (signed.sender.toLowerCase() !== owner)
    throw new AnchorError('KIN_ANCHOR_KEY', 'the key file holds the key of another account now');
  const hash = signed.hash.toLowerCase();
  return { raw: signed.toHex(), hash: hash.startsWith('0x') ? hash : `0x${hash}` };
}

/** Undefined: the nonce is spent, but by none of ours. */
async function waitMined(
  sender: Sender,
  payload: Payload,
  sent: Sent,
  deadlineMs: number,
): Promise<MinedTransaction | undefined> {
  const { rpc, owner, clock, limits } = sender;
  let spentSeen = 0;
  // Bounded by the deadline.
  while (true) {
    for (const hash of sent.hashes) {
      const mined = await minedTransaction(rpc, hash);
      if (mined !== undefined) return mined;
    }
    const next = count(await rpc('eth_getTransactionCount', [owner, 'latest']), 'a nonce');
    // Nodes behind one address may lag: believe it only when it is said twice.
    spentSeen = next > sent.nonce ? spentSeen + 1 : 0;
    if (spentSeen > 1) return undefined;
    const nowMs = clock.monotonicMs();
    if (nowMs >= deadlineMs)
      throw new AnchorError('KIN_ANCHOR_STUCK', `no block took it within ${limits.waitMs} ms`);
    if (nowMs - sent.sentAtMs >= limits.stuckMs) await replace(sender, payload, sent);
    await clock.sleep(limits.pollMs, sender.signal);
  }
}

async function replace(sender: Sender, payload: Payload, sent: Sent): Promise<void> {
  const fee = raised(sent.fee, sender.limits);
  if (fee === undefined || sent.replacements >= REPLACEMENTS_MAX) {
    sent.sentAtMs = sender.clock.monotonicMs();
    sender.log.warn('the anchoring transaction is stuck below the fee cap', { nonce: sent.nonce });
    return;
  }
  sent.fee = fee;
  sent.replacements += 1;
  sender.log.warn('the anchoring transaction is replaced with a higher fee', {
    nonce: sent.nonce,
    replacement: sent.replacements,
  });
  await broadcast(sender, payload, sent);
}

/** Waits until `confirmations` blocks hold it, whatever the chain forgets in between. */
export async function confirm(
  sender: Sender,
  transaction: string,
  deadlineMs: number,
  raw: string,
): Promise<SendAnswer> {
  const { rpc, clock, limits, log } = sender;
  let seenIn: string | undefined;
  // Bounded by the deadline.
  while (true) {
    const mined = await minedTransaction(rpc, transaction);
    if (seenIn !== undefined && mined?.blockHash !== seenIn) {
      log.warn('the chain re-organised below an anchor', { transaction });
      if (mined === undefined && raw !== '') await resend(rpc, raw);
    }
    seenIn = mined?.blockHash;
    if (mined !== undefined) {
      if (!mined.isSuccess)
        throw new AnchorError('KIN_ANCHOR_REFUSED', 'the contract reverted the transaction');
      const tip = count(await rpc('eth_blockNumber', []), 'a height');
      const confirmations = tip - mined.blockNumber + 1;
      if (
        confirmations >= limits.confirmations &&
        (await blockAt(rpc, mined.blockNumber))?.hash === mined.blockHash
      )
        return { kind: 'confirmed', mined, confirmations };
    }
    if (clock.monotonicMs() >= deadlineMs)
      throw new AnchorError('KIN_ANCHOR_STUCK', `not confirmed within ${limits.waitMs} ms`);
    await clock.sleep(limits.pollMs, sender.signal);
  }
}

async function resend(rpc: Rpc, raw: string): Promise<void> {
  try {
    await rpc('eth_sendRawTransaction', [raw]);
  } catch (error) {
    // Known again, or its nonce is spent: the next look tells which.
    if (!(error instanceof RpcRefusal)) throw error;
  }
}
