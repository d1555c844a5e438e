// The process that starts replicas dies, and then a replica does: the death is told all the same,
// and the next start works. Covers process-runtime.ts, start.ts and launcher.ts.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { RuntimeEvent } from '../../src/world/runtime.ts';
import { isUp, NOBODY, serving, testReceipt } from '../contract/runtime.ts';
import { isAlive, openBench, until, type ProcessBench } from './bench.ts';

const receipt = testReceipt();
const skip = process.platform === 'linux' ? false : 'reads /proc';

let bench: ProcessBench;
const events: RuntimeEvent[] = [];

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

describe('a replica whose launcher died', { skip }, () => {
  beforeEach(async () => {
    bench = await openBench();
    events.length = 0;
    bench.runtime.onEvent((event) => events.push(event));
    await bench.runtime.adopt(NOBODY);
  });
  afterEach(async () => await bench.dispose());

  it('LA2 PD9: lives on; its later death is told, and another one starts', async () => {
    const first = await bench.runtime.start(bench.order('web-1', 'serve'), receipt);
    isUp(first);
    await serving(bench, first.endpoint);
    const launcher = parentOf(first.pid);
    assert.notEqual(launcher, process.pid);
    process.kill(launcher, 'SIGKILL');
    await until('the launcher is gone', () => !isAlive(launcher));
    assert.ok(isAlive(first.pid));
    assert.equal(events.length, 0);
    process.kill(first.pid, 'SIGKILL');
    await until('it is told', () => events.length > 0);
    assert.equal(events[0]?.kind === 'exited' ? events[0].replica : '', 'web-1');
    const second = await bench.runtime.start(bench.order('web-2', 'serve'), receipt);
    isUp(second);
    assert.notEqual(parentOf(second.pid), launcher);
    await serving(bench, second.endpoint);
    assert.equal(events.length, 1);
  });
});
