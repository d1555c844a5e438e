// How does one speak JSON-RPC with a node that one does not trust much? One call, one bounded
// answer, every value checked for its form before anybody uses it.
//
//   ER1. An answer with another id, another form or no result is an error, never a default.
//   ER2. What a node says is quoted short and clean; its address is shown without its path.
import { AnchorError, foreign } from './errors.ts';
import { ask } from './http.ts';

const ANSWER_BYTES_MAX = 1024 * 1024;

/** The node understood and said no. */
export class RpcRefusal extends AnchorError {
  /** What a revert returned, or an empty text. */
  readonly data: string;

  constructor(message: string, data: string) {
    super('KIN_ANCHOR_REFUSED', message);
    this.data = data;
  }
}

export type Rpc = (method: string, params: readonly unknown[]) => Promise<unknown>;

export function openRpc(url: URL, timeoutMs: number): Rpc {
  let lastId = 0;
  return async (method, params) => {
    lastId += 1;
    const id = lastId;
    const { status, body } = await ask({
      url,
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method, params })),
      timeoutMs,
      answerBytesMax: ANSWER_BYTES_MAX,
    });
    const answer = parse(body);
    const error = answer?.['error'];
    if (typeof error === 'object' && error !== null) throw refusalOf(method, error);
    if (answer === undefined || status !== 200 || answer['id'] !== id || !('result' in answer))
      throw new AnchorError(
        'KIN_ANCHOR_ANSWER',
        `${url.host} answered ${method} with status ${status} and no result`,
      );
    return answer['result'];
  };
}

type Fields = Readonly<Record<string, unknown>>;

function parse(body: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

function refusalOf(method: string, error: object): RpcRefusal {
  const { message, data } = error as { readonly message?: unknown; readonly data?: unknown };
  const inner: unknown =
    typeof data === 'object' && data !== null && 'data' in data ? data.data : data;
  const text = typeof message === 'string' ? foreign(message) : 'without a reason';
  return new RpcRefusal(
    `the node refused ${method}: ${text}`,
    typeof inner === 'string' && /^0x[0-9a-f]*$/i.test(inner) ? inner.toLowerCase() : '',
  );
}

const odd = (what: string): AnchorError =>
  new AnchorError('KIN_ANCHOR_ANSWER', `the node answered ${what} that cannot be read`);

export function quantity(value: unknown, what: string): bigint {
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,64}$/i.test(value)) throw odd(what);
  return BigInt(value);
}

export function count(value: unknown, what: string): number {
  const number = Number(quantity(value, what));
  if (!Number.isSafeInteger(number)) throw odd(what);
  return number;
}

export function hex(value: unknown, what: string): string {
  if (typeof value !== 'string' || !/^0x(?:[0-9a-f]{2})*$/i.test(value)) throw odd(what);
  return value.toLowerCase();
}

export function hash(value: unknown, what: string): string {
  const text = hex(value, what);
  if (text.length !== 66) throw odd(what);
  return text;
}

export interface LogRow {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
  readonly transaction: string;
  readonly blockNumber: number;
  readonly blockHash: string;
}

export interface MinedTransaction {
  readonly transaction: string;
  readonly blockNumber: number;
  readonly blockHash: string;
  readonly isSuccess: boolean;
  readonly gasUsed: number;
  readonly contractAddress: string | undefined;
  readonly logs: readonly LogRow[];
}

export function logRow(value: unknown): LogRow {
  if (typeof value !== 'object' || value === null) throw odd('a log');
  const row = value as Fields;
  const topics = row['topics'];
  if (!Array.isArray(topics)) throw odd('a log');
  return {
    address: hex(row['address'], 'a log'),
    topics: topics.map((topic) => hash(topic, 'a log')),
    data: hex(row['data'], 'a log'),
    transaction: hash(row['transactionHash'], 'a log'),
    blockNumber: count(row['blockNumber'], 'a log'),
    blockHash: hash(row['blockHash'], 'a log'),
  };
}

/** Undefined while the transaction is in no block. */
export async function minedTransaction(
  rpc: Rpc,
  transaction: string,
): Promise<MinedTransaction | undefined> {
  const value = await rpc('eth_getTransactionReceipt', [transaction]);
  if (value === null) return undefined;
  if (typeof value !== 'object') throw odd('a receipt');
  const row = value as Fields;
  const logs = row['logs'];
  if (hash(row['transactionHash'], 'a receipt') !== transaction || !Array.isArray(logs))
    throw odd('a receipt');
  // Some nodes show a receipt without a block while it is pending.
  if (row['blockHash'] === null) return undefined;
  const contract = row['contractAddress'];
  return {
    transaction,
    blockNumber: count(row['blockNumber'], 'a receipt'),
    blockHash: hash(row['blockHash'], 'a receipt'),
    isSuccess: count(row['status'], 'a receipt') === 1,
    gasUsed: count(row['gasUsed'], 'a receipt'),
    contractAddress: typeof contract === 'string' ? hex(contract, 'a receipt') : undefined,
    logs: logs.map(logRow),
  };
}

/** The block that the chain holds at this height now; undefined above its end. */
export async function blockAt(
  rpc: Rpc,
  height: number,
): Promise<{ readonly hash: string; readonly atMs: number } | undefined> {
  const block = await rpc('eth_getBlockByNumber', [`0x${height.toString(16)}`, false]);
  if (block === null) return undefined;
  if (typeof block !== 'object') throw odd('a block');
  const { hash: name, timestamp } = block as Fields;
  return { hash: hash(name, 'a block'), atMs: count(timestamp, 'a block') * 1_000 };
}

export async function baseFee(rpc: Rpc): Promise<bigint> {
  const block = await rpc('eth_getBlockByNumber', ['latest', false]);
  if (typeof block !== 'object' || block === null) throw odd('a block');
  return quantity((block as Fields)['baseFeePerGas'], 'a base fee');
}
