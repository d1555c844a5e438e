// Does the chain remember heads so that nobody can take them back, and does the driver cope with a
// market, a stuck transaction, a re-organisation and a node that lies?
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test, type TestContext } from 'node:test';
import { addr, Transaction } from 'micro-eth-signer';
import type { EvmReceipt } from '../../src/drivers/anchors/anchor.ts';
import {
  anchorCall,
  CODE_SHA256,
  REVERT,
  SELECTOR,
  TOPIC_ANCHORED,
} from '../../src/drivers/anchors/evm-codec.ts';
import { addressOfKey } from '../../src/drivers/anchors/evm-key.ts';
import {
  deployAnchorContract,
  type EvmSpec,
  openEvmAnchor,
} from '../../src/drivers/anchors/evm.ts';
import { type Chain, KEY, openChain, OTHER_KEY, OWNER } from './chain.ts';
import { compileContract } from './compile.ts';
import { clock, linesLog, makeHead, rootOf, temporaryFolder, until } from './stage.ts';

const artifact = JSON.parse(
  await readFile(new URL('../../contracts/KintsugiAnchor.json', import.meta.url), 'utf8'),
) as { readonly abi: unknown; readonly bytecode: string; readonly deployedBytecode: string };

const codeIs = (code: string, says?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, code, String(error));
  if (says !== undefined) assert.match(String(error), says);
  return true;
};

describe('KintsugiAnchor.sol', () => {
  test('the committed ABI and bytecode are what the compiler makes of the source', () => {
    const compiled = compileContract();
    assert.deepEqual(artifact.abi, compiled.abi);
    assert.equal(artifact.bytecode, compiled.bytecode);
    assert.equal(artifact.deployedBytecode, compiled.deployedBytecode);
    assert.ok((artifact.bytecode.length - 2) / 2 <= 1024, 'at most 1 KiB');
    assert.deepEqual(compiled.methods, {
      'anchor(bytes32,uint64,bytes32,bytes32)': SELECTOR.anchor.slice(2),
      'latest(address,bytes32)': SELECTOR.latest.slice(2),
    });
    const code = Buffer.from(artifact.deployedBytecode.slice(2), 'hex');
    assert.equal(createHash('sha256').update(code).digest('hex'), CODE_SHA256);
  });

  test('the constants of the driver are the hashes of the names', () => {
    const { keccak256 } = createRequire(import.meta.url)('@nomicfoundation/edr') as {
      keccak256(data: Uint8Array): Uint8Array;
    };
    const hash = (text: string): string =>
      `0x${Buffer.from(keccak256(Buffer.from(text))).toString('hex')}`;
    assert.equal(TOPIC_ANCHORED, hash('Anchored(address,bytes32,uint64,bytes32,bytes32)'));
    assert.equal(REVERT.fork, hash('Fork()').slice(0, 10));
    assert.equal(REVERT.shrunk, hash('Shrunk()').slice(0, 10));
  });
});

describe('the EVM anchor', () => {
  let chain: Chain;
  let contract = '';
  let deployGas = 0;
  let snapshot: unknown;
  let folder = '';
  let cleanups: (() => void | Promise<void>)[] = [];

  before(async () => {
    chain = await openChain();
    folder = await temporaryFolder({
      after: (work: () => Promise<void>) => cleanups.push(work),
    } as unknown as TestContext);
    await writeFile(join(folder, 'key'), `${KEY}\n`, { mode: 0o600 });
    await writeFile(join(folder, 'other'), OTHER_KEY, { mode: 0o600 });
    const deployed = await deployAnchorContract(
      {
        rpcUrl: chain.server.url,
        chainId: chain.chainId,
        keyFile: join(folder, 'key'),
        bytecode: artifact.bytecode,
        confirmations: 1,
        pollMs: 1,
      },
      { clock, log: linesLog() },
    );
    contract = deployed.contract;
    deployGas = deployed.gasUsed;
    snapshot = await chain.request('evm_snapshot');
  });
  after(async () => {
    await chain.close();
    for (const work of cleanups) await work();
    cleanups = [];
  });
  beforeEach(async () => {
    chain.intercept = undefined;
    await chain.request('evm_revert', snapshot);
    snapshot = await chain.request('evm_snapshot');
    await chain.request('evm_setAutomine', true);
    chain.asked.length = 0;
  });

  const spec = (change: Partial<EvmSpec> = {}): EvmSpec => ({
    kind: 'evm',
    name: 'chain',
    rpcUrl: chain.server.url,
    chainId: chain.chainId,
    contract,
    owner: OWNER,
    keyFile: join(folder, 'key'),
    confirmations: 1,
    pollMs: 1,
    waitMs: 15_000,
    ...change,
  });
  const log = linesLog();
  const open = (change: Partial<EvmSpec> = {}) => openEvmAnchor(spec(change), { clock, log });
  const mine = (): Promise<unknown> => chain.request('evm_mine');
  const pendingHashes = async (): Promise<readonly string[]> => {
    const block = (await chain.request('eth_getBlockByNumber', 'pending', false)) as {
      readonly transactions: readonly string[];
    };
    return block.transactions;
  };

  test('EV1 a head is anchored, found by an auditor without a key, and remembered', async (t) => {
    const anchor = open();
    assert.equal(await anchor.highWater(makeHead(1).origin), undefined);
    const gas: number[] = [];
    for (const size of [10, 25, 90]) {
      const receipt = (await anchor.anchor(makeHead(size))) as EvmReceipt;
      const mined = (await chain.request('eth_getTransactionReceipt', receipt.transaction)) as {
        readonly gasUsed: string;
      };
      gas.push(Number(mined.gasUsed));
      const { keyFile: _no, ...auditor } = spec();
      const verdict = await openEvmAnchor(auditor, { clock, log }).verify(receipt, makeHead(size));
      assert.equal(verdict.kind, 'anchored', JSON.stringify(verdict));
    }
    t.diagnostic(`gas: deploy ${deployGas}, first ${gas[0]}, later ${gas.slice(1).join(', ')}`);
    assert.deepEqual(await anchor.highWater(makeHead(1).origin), { size: 90, root: rootOf(90) });
    assert.ok(deployGas < 220_000 && (gas[0] ?? 0) < 75_000 && (gas[1] ?? 0) < 40_000);
  });

  test('AN1 only digest, size, root and log id stand in the transaction', async () => {
    const receipt = (await open().anchor(makeHead(5))) as EvmReceipt;
    const sent = (await chain.request('eth_getTransactionByHash', receipt.transaction)) as {
      readonly input: string;
    };
    assert.equal(sent.input, anchorCall(makeHead(5)));
    assert.equal(sent.input.length, 2 + 8 + 4 * 64);
    assert.ok(!Buffer.from(sent.input.slice(2), 'hex').includes('clinic'));
  });

  test('EA2 the same head again costs nothing and gives the same event', async () => {
    const first = (await open().anchor(makeHead(10))) as EvmReceipt;
    chain.asked.length = 0;
    const again = (await open().anchor(makeHead(10))) as EvmReceipt;
    assert.equal(again.transaction, first.transaction);
    assert.ok(!chain.asked.includes('eth_sendRawTransaction'));
  });

  test('EA1 a smaller size and another root are findings, and nothing is sent', async () => {
    const anchor = open();
    await anchor.anchor(makeHead(10));
    chain.asked.length = 0;
    await assert.rejects(anchor.anchor(makeHead(9)), codeIs('KIN_ANCHOR_ROLLED_BACK'));
    await assert.rejects(anchor.anchor(makeHead(10, rootOf('x'))), codeIs('KIN_ANCHOR_FORK'));
    assert.ok(!chain.asked.includes('eth_sendRawTransaction'));
  });

  test('the contract itself reverts a fork and a smaller size', async () => {
    await open().anchor(makeHead(10));
    // The look before is made blind: as if the head came between the look and the sending.
    chain.intercept = (method) =>
      method === 'eth_call' ? { result: `0x${'0'.repeat(128)}` } : undefined;
    await assert.rejects(open().anchor(makeHead(10, rootOf('x'))), codeIs('KIN_ANCHOR_FORK'));
    await assert.rejects(open().anchor(makeHead(4)), codeIs('KIN_ANCHOR_ROLLED_BACK'));
  });

  test('nobody anchors for another account: the same log id stands apart by owner', async () => {
    const mallory = addr.fromPrivateKey(OTHER_KEY).toLowerCase();
    const theirs = open({ owner: mallory, keyFile: join(folder, 'other') });
    await theirs.anchor(makeHead(1_000));
    assert.equal(await open().highWater(makeHead(1).origin), undefined);
    const receipt = (await open().anchor(makeHead(10))) as EvmReceipt;
    const forged = { ...receipt, owner: mallory };
    const verdict = await open().verify(forged, makeHead(10));
    assert.equal(verdict.kind === 'invalid' && verdict.reason, 'other-content');
  });

  test('a receipt that is changed, or of another head, is invalid', async () => {
    const anchor = open();
    const receipt = (await anchor.anchor(makeHead(10))) as EvmReceipt;
    const second = (await anchor.anchor(makeHead(20))) as EvmReceipt;
    const reasonOf = async (change: Partial<EvmReceipt>, head = makeHead(10)): Promise<string> => {
      const verdict = await anchor.verify({ ...receipt, ...change }, head);
      return verdict.kind === 'invalid' ? verdict.reason : verdict.kind;
    };
    assert.equal(await reasonOf({}, makeHead(20)), 'other-head');
    assert.equal(await reasonOf({ transaction: second.transaction }), 'other-content');
    assert.equal(await reasonOf({ transaction: `0x${'1'.repeat(64)}` }), 'not-in-medium');
    assert.equal(await reasonOf({ transaction: 'nonsense' }), 'malformed');
    assert.equal(await reasonOf({ blockHash: second.blockHash }), 'not-in-medium');
    assert.equal(await reasonOf({ chainId: 1 }), 'other-chain');
    assert.equal(
      await reasonOf({ checkpoint: makeHead(20).checkpointText }),
      'receipt-inconsistent',
    );
  });

  test('confirmations are waited for, and an auditor who wants more is told pending', async () => {
    const anchor = open({ confirmations: 4 });
    const waiting = anchor.anchor(makeHead(10));
    let isDone = false;
    void waiting.then(() => (isDone = true));
    await until('the transaction is mined', () => chain.asked.includes('eth_blockNumber'));
    while (!isDone) {
      await mine();
      await until('the driver looked', () => isDone || chain.asked.length > 0);
    }
    const receipt = (await waiting) as EvmReceipt;
    assert.ok(receipt.confirmations >= 4);
    const verdict = await open({ confirmations: 1_000_000 }).verify(receipt, makeHead(10));
    assert.equal(verdict.kind === 'pending' && verdict.reason, 'confirmations-missing');
  });

  test('another chain, another contract and none are refused before sending', async () => {
    await assert.rejects(open({ chainId: 1 }).anchor(makeHead(1)), codeIs('KIN_ANCHOR_CHAIN'));
    const nowhere = `0x${'9'.repeat(40)}`;
    await assert.rejects(
      open({ contract: nowhere }).anchor(makeHead(1)),
      codeIs('KIN_ANCHOR_CONTRACT', /no contract/),
    );
    chain.intercept = (method) => (method === 'eth_getCode' ? { result: '0x6000' } : undefined);
    await assert.rejects(open().anchor(makeHead(1)), codeIs('KIN_ANCHOR_CONTRACT', /not that/));
    assert.ok(!chain.asked.includes('eth_sendRawTransaction'));
  });

  test('ES1 a market above the cap is not paid, and the fee never passes the cap', async () => {
    await assert.rejects(
      open({ maxFeeGwei: 0.001 }).anchor(makeHead(1)),
      codeIs('KIN_ANCHOR_FEE', /the cap is 0.001/),
    );
    const receipt = (await open({ maxFeeGwei: 2.5 }).anchor(makeHead(1))) as EvmReceipt;
    const sent = (await chain.request('eth_getTransactionByHash', receipt.transaction)) as {
      readonly maxFeePerGas: string;
    };
    assert.ok(BigInt(sent.maxFeePerGas) <= 2_500_000_000n);
  });

  test('a stuck transaction is replaced at the same nonce with a higher fee', async () => {
    await chain.request('evm_setAutomine', false);
    const waiting = open({ stuckMs: 20 }).anchor(makeHead(10));
    await until(
      'it was replaced',
      () => chain.asked.filter((method) => method === 'eth_sendRawTransaction').length >= 3,
    );
    assert.equal((await pendingHashes()).length, 1);
    await mine();
    const receipt = (await waiting) as EvmReceipt;
    assert.equal((await open().verify(receipt, makeHead(10))).kind, 'anchored');
    assert.ok(log.lines.some((line) => line.includes('replaced with a higher fee')));
  });

  test('ES2 without a block it ends by its deadline; the next try replaces', async () => {
    await chain.request('evm_setAutomine', false);
    await assert.rejects(
      open({ waitMs: 60 }).anchor(makeHead(10)),
      codeIs('KIN_ANCHOR_STUCK', /within 60 ms/),
    );
    const [left] = await pendingHashes();
    // A new process, which knows nothing of the old fee.
    const waiting = open().anchor(makeHead(12));
    await until('the old one is replaced', async () => {
      const [now] = await pendingHashes();
      return now !== undefined && now !== left;
    });
    await mine();
    assert.equal(((await waiting) as EvmReceipt).size, 12);
  });

  test('ES3 a re-organisation is noticed and the transaction sent again', async () => {
    const inner = await chain.request('evm_snapshot');
    log.lines.length = 0;
    const waiting = open({ confirmations: 3 }).anchor(makeHead(10));
    await until('it was seen in a block', () => chain.asked.includes('eth_blockNumber'));
    const looks = chain.asked.length;
    await until('it was seen again', () => chain.asked.length > looks + 4);
    await chain.request('evm_revert', inner);
    await until(
      'it was sent again',
      () => chain.asked.filter((method) => method === 'eth_sendRawTransaction').length >= 2,
    );
    await until('it is in a block again', async () => {
      const next = await chain.request('eth_getTransactionCount', OWNER, 'latest');
      return Number(next) > 1;
    });
    await mine();
    await mine();
    const receipt = (await waiting) as EvmReceipt;
    assert.ok(log.lines.some((line) => line.includes('re-organised')));
    assert.equal((await open().verify(receipt, makeHead(10))).kind, 'anchored');
  });

  test('a receipt whose block was re-organised away is invalid for the auditor', async () => {
    const inner = await chain.request('evm_snapshot');
    const receipt = (await open().anchor(makeHead(10))) as EvmReceipt;
    await chain.request('evm_revert', inner);
    const verdict = await open().verify(receipt, makeHead(10));
    assert.equal(verdict.kind === 'invalid' && verdict.reason, 'not-in-medium');
  });

  test('another use of the account at this nonce leads to another try', async () => {
    await chain.request('evm_setAutomine', false);
    const waiting = open({ stuckMs: 60_000 }).anchor(makeHead(10));
    await until('it waits', async () => (await pendingHashes()).length === 1);
    const other = Transaction.prepare({
      chainId: BigInt(chain.chainId),
      nonce: 1n,
      to: OWNER,
      value: 1n,
      maxFeePerGas: 90_000_000_000n,
      maxPriorityFeePerGas: 50_000_000_000n,
      gasLimit: 21_000n,
    }).signBy(KEY);
    await chain.request('eth_sendRawTransaction', other.toHex());
    await mine();
    await chain.request('evm_setAutomine', true);
    assert.equal(((await waiting) as EvmReceipt).size, 10);
  });

  test('ER1 a node that answers nonsense gets typed errors', async () => {
    for (const [method, answer, code] of [
      ['eth_chainId', { result: 'x' }, 'KIN_ANCHOR_ANSWER'],
      ['eth_chainId', { id: 999, result: '0x1' }, 'KIN_ANCHOR_ANSWER'],
      ['eth_chainId', { error: { code: -1, message: 'no\nkey \u0007here' } }, 'KIN_ANCHOR_REFUSED'],
      ['eth_call', { result: '0x12' }, 'KIN_ANCHOR_CONTRACT'],
      ['eth_getBlockByNumber', { result: null }, 'KIN_ANCHOR_ANSWER'],
      ['eth_getTransactionCount', { result: '-1' }, 'KIN_ANCHOR_ANSWER'],
      ['eth_estimateGas', { result: '0xffffffff' }, 'KIN_ANCHOR_FEE'],
      ['eth_getTransactionReceipt', { result: { logs: 7 } }, 'KIN_ANCHOR_ANSWER'],
    ] as const) {
      chain.intercept = (asked) => (asked === method ? answer : undefined);
      await assert.rejects(open().anchor(makeHead(10)), codeIs(code), method);
    }
  });

  test('ER2 a node that is away is named without the access key in its path', async () => {
    const gone = open({ rpcUrl: 'http://127.0.0.1:9/v3/access-key' });
    await assert.rejects(gone.anchor(makeHead(1)), (error: unknown) => {
      codeIs('KIN_ANCHOR_UNREACHABLE')(error);
      assert.doesNotMatch(String(error), /access-key/);
      return true;
    });
    const receipt = (await open().anchor(makeHead(10))) as EvmReceipt;
    assert.equal((await gone.verify(receipt, makeHead(10))).kind, 'unreachable');
    assert.throws(() => open({ rpcUrl: 'http://node.example/' }), codeIs('KIN_ANCHOR_CONFIG'));
  });

  test('EK2 a key of another account signs nothing, and no log line holds a key', async () => {
    await assert.rejects(
      open({ keyFile: join(folder, 'other') }).anchor(makeHead(10)),
      codeIs('KIN_ANCHOR_KEY', /another account/),
    );
    assert.ok(!chain.asked.includes('eth_sendRawTransaction'));
    assert.ok(log.lines.every((line) => !/(?:ac|bd){8}/.test(line)));
  });

  test('an abort ends a long wait', async () => {
    await chain.request('evm_setAutomine', false);
    const stop = new AbortController();
    const waiting = open({ pollMs: 60_000 }).anchor(makeHead(10), stop.signal);
    await until('it waits', async () => (await pendingHashes()).length === 1);
    stop.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
  });
});

describe('the key of an EVM anchor', () => {
  test('EK1 a file that others may read, a link and a missing file are refused', async (t) => {
    const folder = await temporaryFolder(t);
    const path = join(folder, 'key');
    await writeFile(path, KEY, { mode: 0o600 });
    assert.equal(await addressOfKey(path), OWNER);
    for (const mode of [0o640, 0o604, 0o660, 0o700 | 0o001]) {
      await chmod(path, mode);
      await assert.rejects(addressOfKey(path), codeIs('KIN_ANCHOR_KEY', /others may use it/));
    }
    await chmod(path, 0o600);
    await symlink(path, join(folder, 'link'));
    await assert.rejects(addressOfKey(join(folder, 'link')), codeIs('KIN_ANCHOR_KEY'));
    await assert.rejects(addressOfKey(join(folder, 'no')), codeIs('KIN_ANCHOR_KEY', /ENOENT/));
    await assert.rejects(addressOfKey(folder), codeIs('KIN_ANCHOR_KEY'));
  });

  test('EK2 no error carries what the file holds', async (t) => {
    const folder = await temporaryFolder(t);
    const path = join(folder, 'key');
    for (const text of ['', 'a-secret-thing', KEY.slice(0, 40), 'f'.repeat(64), `${KEY}${KEY}`]) {
      await writeFile(path, text, { mode: 0o600 });
      await assert.rejects(addressOfKey(path), (error: unknown) => {
        codeIs('KIN_ANCHOR_KEY')(error);
        const all = `${String(error)} ${(error as Error).stack} ${JSON.stringify(error)}`;
        assert.ok(text === '' || !all.includes(text.slice(0, 12)));
        assert.equal((error as Error).cause, undefined);
        return true;
      });
    }
  });
});
