// The simulator's question, asked at every point: the machine dies here; is anything lost that was
// acknowledged, and did the log ever say two different things?
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryFiles, verifyConsistency, verifyLedgerDir } from '../src/index.ts';
import type { Checkpoint, Ledger } from '../src/index.ts';
import { open, signer } from './support.ts';

interface Acked {
  readonly index: number;
  readonly text: string;
}

interface Run {
  readonly files: MemoryFiles;
  readonly acked: Acked[];
  readonly checkpoints: Checkpoint[];
  operations: number;
}

type Step = { readonly kind: 'one' | 'burst' | 'intent' | 'big'; readonly count: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('one', 'burst', 'intent', 'big'),
  count: fc.integer({ min: 1, max: 4 }),
});

/** Runs the steps and cuts the power in front of operation number `crashAt`. */
async function runUntilCrash(run: Run, steps: readonly Step[]): Promise<void> {
  let ledger: Ledger | undefined;
  try {
    ledger = await open(run.files, { groupEntriesMax: 3 });
    for (const next of steps) await apply(run, ledger, next);
    await ledger.close();
  } catch {
    // The crash, seen from inside.
  }
}

async function apply(run: Run, ledger: Ledger, { kind, count }: Step): Promise<void> {
  const one = async (at: number): Promise<void> => {
    const detail = { at, pad: kind === 'big' ? 'x'.repeat(9000) : '' };
    const { index, checkpoint } = await ledger.record('test.entry', detail);
    run.acked.push({ index, text: Buffer.from((await ledger.read(index)).bytes).toString() });
    run.checkpoints.push(checkpoint);
  };
  if (kind === 'burst') {
    const all = await Promise.allSettled(Array.from({ length: count }, (_, at) => one(at)));
    const failed = all.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw new Error('crashed');
    return;
  }
  for (let at = 0; at < count; at++) {
    if (kind !== 'intent') await one(at);
    else {
      const intent = await ledger.intent({ kind: 'a.b', subject: 's', detail: { at } });
      await intent.outcome({ result: 'succeeded', detail: null });
    }
  }
}

function diskThatDies(crashAt: number): Run {
  const run: Run = {
    acked: [],
    checkpoints: [],
    operations: 0,
    files: new MemoryFiles({
      before: () => {
        run.operations += 1;
        if (run.operations >= crashAt) throw Object.assign(new Error('power cut'), { code: 'EIO' });
      },
    }),
  };
  return run;
}

/** After recovery: all acknowledged entries are there, every checkpoint handed out is a prefix. */
async function checkSurvivor(run: Run, disk: MemoryFiles): Promise<void> {
  const ledger = await open(disk);
  for (const { index, text } of run.acked) {
    assert.equal(Buffer.from((await ledger.read(index)).bytes).toString(), text);
  }
  await ledger.record('after', null);
  const after = ledger.checkpoint();
  for (const before of run.checkpoints) {
    const proof = await ledger.consistency(before.size, after.size);
    const verdict = verifyConsistency(
      { before: before.text, after: after.text, proof },
      signer.vkey,
    );
    assert.equal(verdict.kind, 'valid', `fork at size ${before.size}`);
  }
  await ledger.close();
  const report = await verifyLedgerDir('ledger', signer.vkey, { files: disk });
  assert.equal(report.kind, 'intact', JSON.stringify(report));
}

async function crashEverywhere(
  steps: readonly Step[],
  keep: (path: string, sector: number) => boolean,
  every: number,
): Promise<number> {
  const dry = diskThatDies(Infinity);
  await runUntilCrash(dry, steps);
  let points = 0;
  for (let crashAt = 1; crashAt <= dry.operations + 1; crashAt += every) {
    const run = diskThatDies(crashAt);
    await runUntilCrash(run, steps);
    run.files.crash({ keepSector: keep, keepNames: (dir) => keep(dir, crashAt) });
    await checkSurvivor(run, run.files.copy());
    points += 1;
  }
  return points;
}

const SCRIPT: readonly Step[] = [
  { kind: 'one', count: 3 },
  { kind: 'burst', count: 4 },
  { kind: 'intent', count: 2 },
  { kind: 'big', count: 4 },
];

test('commit C2, files F1: power cut before every operation, unsynced bytes lost', async () => {
  const points = await crashEverywhere(SCRIPT, () => false, 1);
  assert.ok(points > 40, `${points} crash points`);
});

test('power cut before every single operation, everything unsynced survives', async () => {
  await crashEverywhere(SCRIPT, () => true, 1);
});

test('power cut before every single operation, sectors torn at random', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    await crashEverywhere(SCRIPT, (path, sector) => mix(seed, path, sector) % 2 === 0, 1);
  }
});

function mix(seed: number, path: string, sector: number): number {
  let hash = seed;
  for (const char of `${path}#${sector}`) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) >>> 0;
  return (hash ^ (hash >>> 13)) >>> 0;
}

test('any script, crash point and torn sectors: no acknowledged entry lost, no fork', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 150 }),
      fc.nat(),
      async (steps, crashAt, seed) => {
        const run = diskThatDies(crashAt);
        await runUntilCrash(run, steps);
        run.files.crash({
          keepSector: (path, sector) => mix(seed, path, sector) % 3 !== 0,
          keepNames: (dir) => mix(seed, dir, 0) % 2 === 0,
        });
        await checkSurvivor(run, run.files.copy());
      },
    ),
    { numRuns: 120 },
  );
});

test('crash after crash: each recovery is itself interrupted and nothing is lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 5, max: 60 }), { minLength: 2, maxLength: 5 }),
      fc.nat(),
      async (crashes, seed) => {
        let left = Infinity;
        const files = new MemoryFiles({
          before: () => {
            left -= 1;
            if (left <= 0) throw Object.assign(new Error('power cut'), { code: 'EIO' });
          },
        });
        const run: Run = { files, acked: [], checkpoints: [], operations: 0 };
        for (const [round, after] of crashes.entries()) {
          left = after;
          await runUntilCrash(run, SCRIPT);
          files.crash({
            keepSector: (path, sector) => mix(seed + round, path, sector) % 2 === 0,
            keepNames: (dir) => mix(seed, dir, round) % 2 === 0,
          });
        }
        left = Infinity;
        await checkSurvivor(run, files);
      },
    ),
    { numRuns: 60 },
  );
});

test('operations fail at random while writing, then the power goes: nothing is lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      async (steps, faults, seed) => {
        const run: Run = {
          acked: [],
          checkpoints: [],
          operations: 0,
          files: new MemoryFiles({
            before: () => {
              run.operations += 1;
              if (!faults.includes(run.operations)) return;
              throw Object.assign(new Error('flaky disk'), { code: 'EIO' });
            },
          }),
        };
        await runUntilCrash(run, steps);
        run.operations = 1000;
        run.files.crash({
          keepSector: (path, sector) => mix(seed, path, sector) % 2 === 0,
          keepNames: (dir) => mix(seed, dir, 0) % 2 === 0,
        });
        await checkSurvivor(run, run.files.copy());
      },
    ),
    { numRuns: 150 },
  );
});

test('memory files Y1, Y2: only synced bytes must survive, old handles are dead', async () => {
  const files = new MemoryFiles();
  const file = await files.open('d/one', 'create');
  await file.preallocate(4096);
  await file.write(Buffer.alloc(1024, 1), 0);
  await file.datasync();
  await files.syncDir('d');
  await file.write(Buffer.alloc(1024, 2), 512);
  await files.open('d/two', 'create');
  const torn = files.copy();
  void torn;
  files.crash({ keepSector: (_path, sector) => sector === 2 });
  assert.deepEqual(await files.list('d'), ['one']);
  const bytes = (await files.readWhole('d/one', 1e6)) ?? new Uint8Array(0);
  assert.deepEqual([bytes[0], bytes[512], bytes[1023], bytes[1024]], [1, 1, 1, 2]);
  await assert.rejects(file.write(Buffer.alloc(1), 0), { code: 'EIO' });
});

test('recover G4, memory files Y3: killed before the sync, then the power goes', async () => {
  for (const operation of ['datasync', 'syncDir'] as const) {
    for (let nth = 1; nth <= 12; nth++) {
      let count = 0;
      const files = new MemoryFiles({
        before: (now) => {
          if (now !== operation || (count += 1) < nth) return;
          throw Object.assign(new Error('killed'), { code: 'EIO' });
        },
      });
      const run: Run = { files, acked: [], checkpoints: [], operations: 0 };
      await runUntilCrash(run, [{ kind: 'one', count: 4 }]);
      files.kill();
      count = -Infinity;
      // The next process sees what was never synced, promises more, and only then the power goes.
      const next = await open(files);
      const promised = next.checkpoint();
      await next.publish();
      files.crash();
      const last = await open(files);
      assert.ok(last.size >= promised.size, `${operation} ${nth}`);
      assert.equal(await last.rootAt(promised.size), promised.root);
      await last.close();
      await checkSurvivor(run, files.copy());
    }
  }
});
