// Where is a chain to test on? In this process: hardhat's EDR, behind a local JSON-RPC server, with
// one rich account. Mining is automatic unless a test takes it over.
import { createRequire } from 'node:module';
import { addr } from 'micro-eth-signer';
import type * as Edr from '@nomicfoundation/edr';
import { type LocalServer, serve } from './stage.ts';

const CHAIN_ID = 31_337;
export const KEY = `0x${'ac'.repeat(32)}`;
export const OWNER = addr.fromPrivateKey(KEY).toLowerCase();
export const OTHER_KEY = `0x${'bd'.repeat(32)}`;

export interface Chain {
  readonly chainId: number;
  readonly server: LocalServer;
  /** Asks the chain itself, beside the server. */
  request(method: string, ...params: readonly unknown[]): Promise<unknown>;
  /** Answers in place of the chain when it returns something. */
  intercept: ((method: string, params: readonly unknown[]) => unknown) | undefined;
  /** Methods asked through the server, in order. */
  readonly asked: string[];
  close(): Promise<void>;
}

interface Call {
  readonly id: unknown;
  readonly method: string;
  readonly params: readonly unknown[];
}

let context: Promise<Edr.EdrContext> | undefined;
// Its types come from a napi build: it is CommonJS without named exports for the loader.
const edr = createRequire(import.meta.url)('@nomicfoundation/edr') as typeof Edr;

async function openContext(): Promise<Edr.EdrContext> {
  const made = new edr.EdrContext();
  await made.registerProviderFactory(edr.L1_CHAIN_TYPE, edr.l1ProviderFactory());
  return made;
}

export async function openChain(): Promise<Chain> {
  context ??= openContext();
  const provider = await (
    await context
  ).createProvider(
    edr.L1_CHAIN_TYPE,
    providerConfig(),
    { enable: false, decodeConsoleLogInputsCallback: () => [], printLineCallback: () => {} },
    { subscriptionCallback: () => {} },
    new edr.ContractDecoder(),
  );
  const handle = async (call: Call): Promise<Readonly<Record<string, unknown>>> => {
    const { data } = await provider.handleRequest(JSON.stringify({ jsonrpc: '2.0', ...call }));
    return (typeof data === 'string' ? JSON.parse(data) : data) as Record<string, unknown>;
  };
  const server = await serve(async (_request, body, response) => {
    const call = JSON.parse(body.toString()) as Call;
    chain.asked.push(call.method);
    const instead: unknown = chain.intercept?.(call.method, call.params);
    // The chain answers without the envelope; a test may overwrite parts of it.
    const inner = instead === undefined ? await handle(call) : (instead as object);
    const answer = { jsonrpc: '2.0', id: call.id, ...inner };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  });
  const chain: Chain = {
    chainId: CHAIN_ID,
    server,
    asked: [],
    intercept: undefined,
    async request(method, ...params) {
      const answer = await handle({ id: 1, method, params });
      if (!('result' in answer)) throw new Error(`${method}: ${JSON.stringify(answer['error'])}`);
      return answer['result'];
    },
    close: () => server.close(),
  };
  return chain;
}

function providerConfig(): Edr.ProviderConfig {
  const rich = (key: string): Edr.AccountOverride => ({
    address: Buffer.from(addr.fromPrivateKey(key).slice(2), 'hex'),
    balance: 10n ** 22n,
  });
  return {
    allowBlocksWithSameTimestamp: true,
    allowUnlimitedContractSize: false,
    bailOnCallFailure: true,
    bailOnTransactionFailure: true,
    chainId: BigInt(CHAIN_ID),
    coinbase: Buffer.alloc(20, 0xc0),
    defaultTransactionGasLimit: 1_000_000n,
    genesisState: [...edr.l1GenesisState(edr.L1Hardfork.Prague), rich(KEY), rich(OTHER_KEY)],
    hardfork: edr.l1HardforkToString(edr.L1Hardfork.Prague),
    initialBaseFeePerGas: 1_000_000_000n,
    minGasPrice: 0n,
    mining: {
      autoMine: true,
      blockGasLimit: 30_000_000n,
      memPool: { order: edr.MineOrdering.Priority },
    },
    network: { genesisBlockGasLimit: 30_000_000n },
    networkId: BigInt(CHAIN_ID),
    observability: {},
    ownedAccounts: [],
    precompileOverrides: [],
  };
}
