// The simulator's store: the contract, and what happens to writes when the control plane is killed.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { memoryDisk, memoryStore } from '../../src/store/memory.ts';
import type { MemoryStore } from '../../src/store/memory.ts';
import { storeContract } from '../contract/store.ts';
import * as make from '../contract/store-values.ts';

storeContract('in memory', async () => {
  const disk = memoryDisk();
  let open: MemoryStore | undefined;
  return {
    async reopen() {
      await open?.close();
      open = memoryStore(disk, { keep: make.KEEP_SOME });
      return open;
    },
    second: async () => memoryStore(disk, { keep: make.KEEP_SOME }),
    end: async () => open?.close(),
  };
});

describe('the store in memory at a crash', () => {
  test('MM1: an acknowledged write is on the disk for the next handle', async () => {
    const disk = memoryDisk();
    const first = memoryStore(disk);
    const lease = await first.lease('a', 0, 10);
    assert.ok(lease.kind === 'held');
    await first.putSetting('x', 1, lease.epoch);
    first.kill();
    assert.equal(await memoryStore(disk).setting('x'), 1);
  });

  test('MM2: a write that waits at the kill is lost, and answers nobody', async () => {
    const disk = memoryDisk();
    const gate = Promise.withResolvers<void>();
    const store = memoryStore(disk, {
      before: (call) => (call === 'putSetting' ? gate.promise : undefined),
    });
    const lease = await store.lease('a', 0, 10);
    assert.ok(lease.kind === 'held');
    let answered = false;
    void store.putSetting('x', 1, lease.epoch).finally(() => (answered = true));
    store.kill();
    gate.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(answered, false);
    assert.equal(await memoryStore(disk).setting('x'), undefined);
  });

  test('MM2: a write may be durable although its caller died before the answer', async () => {
    const disk = memoryDisk();
    const gate = Promise.withResolvers<void>();
    const store = memoryStore(disk, {
      after: (call) => (call === 'putSetting' ? gate.promise : undefined),
    });
    const lease = await store.lease('a', 0, 10);
    assert.ok(lease.kind === 'held');
    let answered = false;
    void store.putSetting('x', 1, lease.epoch).finally(() => (answered = true));
    await new Promise((resolve) => setImmediate(resolve));
    store.kill();
    gate.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(answered, false);
    assert.equal(await memoryStore(disk).setting('x'), 1);
  });
});
