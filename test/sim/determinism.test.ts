// Is a simulation a function of its seed? Two processes must come to the same trace, or a violation
// that was seen once may never be seen again.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SIM = fileURLToPath(new URL('./sim.ts', import.meta.url));

async function digestOf(seed: number): Promise<string> {
  const args = [SIM, '--seed', String(seed), '--hours', '0.5', '--json'];
  const { stdout } = await run(process.execPath, args, { timeout: 60_000 });
  const report = JSON.parse(stdout) as { readonly digest: string; readonly acts: number };
  assert.ok(report.acts > 0);
  return report.digest;
}

describe('determinism', () => {
  it('the same seed gives the same trace in two processes, another seed another', async () => {
    const [first, second, other] = [await digestOf(6), await digestOf(6), await digestOf(9)];
    assert.match(first, /^[0-9a-f]{64}$/u);
    assert.equal(first, second);
    assert.notEqual(first, other);
  });

  it('bad arguments of the simulator are refused with what was wrong', async () => {
    await assert.rejects(
      run(process.execPath, [SIM, '--hours', 'many']),
      /--hours takes a number/u,
    );
  });
});
