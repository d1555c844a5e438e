// Is anything lost that was acknowledged, and does the log ever say two different things?
// Thousands of small logs that are killed, torn and made to fail, each from one seed. Used by the
// tests and by scripts/ledger/kill.ts.
//   kill   a real process, real files, SIGKILL at a random moment
//   torn   killed or power cut in front of a random operation; unsynced 512-byte sectors survive at
//          random
//   fault  random operations fail (EIO, ENOSPC), then the power goes
//   prune  as torn, with pruning in between
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MemoryFiles, openLedger, signerFromSeed } from '../src/index.ts';
import { verifyLedgerDir } from '../src/index.ts';
import type { Files, Ledger, LedgerOptions, OpenFile } from '../src/index.ts';
import { FakeClock } from './support.ts';

export const KINDS = ['kill', 'torn', 'fault', 'prune'] as const;
export type RunKind = (typeof KINDS)[number];

export interface Tally {
  readonly runs: Record<RunKind, number>;
  /** Crashes: a run may hold several. */
  crashes: number;
  faults: number;
  acknowledged: number;
  checkpoints: number;
  lost: number;
  forks: number;
  /** Opens that refused although nothing but a crash had happened. */
  refused: number;
  readonly firstFailures: string[];
}

export interface RunPlan {
  readonly runs: number;
  /** How many of them are real processes. */
  readonly kills: number;
  readonly seed: number;
  /** Repeats one run in memory, to look at it. */
  readonly only?: number;
  readonly onRun?: (done: number) => void;
  /** A planted fault: the disk says that it synced, and did not. */
  readonly lyingDisk?: boolean;
}

interface Acked {
  readonly index: number;
  readonly n: number;
}

interface Head {
  readonly size: number;
  readonly root: string;
}

interface Memory {
  /** Numbers the entries, so that none can be mistaken for another. */
  numbers: number;
  readonly acked: Acked[];
  readonly heads: Head[];
}

export function emptyTally(): Tally {
  return {
    runs: { kill: 0, torn: 0, fault: 0, prune: 0 },
    crashes: 0,
    faults: 0,
    acknowledged: 0,
    checkpoints: 0,
    lost: 0,
    forks: 0,
    refused: 0,
    firstFailures: [],
  };
}

export async function runMany(plan: RunPlan): Promise<Tally> {
  const { runs, kills, seed, only, onRun, lyingDisk } = plan;
  const tally = emptyTally();
  if (only === undefined) await killRuns(tally, kills, seed, onRun);
  for (let run = only ?? kills; run < (only === undefined ? runs : only + 1); run++) {
    const kind = KINDS[1 + (run % 3)] ?? 'torn';
    const next = random(seed * 1_000_003 + run);
    await memoryRun(tally, kind, next, `${kind} run ${run}`, lyingDisk);
    tally.runs[kind] += 1;
    onRun?.(run + 1);
  }
  return tally;
}

/** mulberry32: the same seed gives the same runs on every machine. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ORIGIN = 'kill.example/ledger';
const { signer, secret } = signerFromSeed(ORIGIN, new Uint8Array(32).fill(5));

async function memoryRun(
  tally: Tally,
  kind: RunKind,
  next: () => number,
  label: string,
  lyingDisk = false,
): Promise<void> {
  let operations = 0;
  let crashAt = Infinity;
  let faultRate = 0;
  const files = new (lyingDisk ? LyingFiles : MemoryFiles)({
    before: () => {
      operations += 1;
      if (operations >= crashAt) throw coded('EIO', 'power cut');
      if (faultRate > 0 && next() < faultRate) {
        tally.faults += 1;
        throw coded(next() < 0.2 ? 'ENOSPC' : 'EIO', 'injected');
      }
    },
  });
  const memory: Memory = { numbers: 0, acked: [], heads: [] };
  const crashes = 1 + Math.floor(next() * 3);
  for (let crash = 0; crash < crashes; crash++) {
    operations = 0;
    crashAt = kind === 'fault' ? Infinity : 1 + Math.floor(next() * 160);
    faultRate = kind === 'fault' ? 0.002 + next() * 0.05 : 0;
    const life = { dead: false };
    await writeSome(ownedBy(life, files), memory, kind, next);
    life.dead = true;
    faultRate = 0;
    crashAt = Infinity;
    const keep = next();
    // A fresh draw per sector: a torn write of any shape.
    // Only the process dies: the next one sees what was not synced, and the power may take it.
    if (next() < 0.4) files.kill();
    else files.crash({ keepSector: () => next() < keep, keepNames: () => next() < 0.5 });
    tally.crashes += 1;
  }
  await checkSurvivor(tally, memory, { files, dir: 'ledger' }, label);
}

/** The disk as one process has it: once that is dead, nothing it still wanted to do happens. */
function ownedBy(life: { readonly dead: boolean }, files: Files): Files {
  const never = new Promise<never>(() => undefined);
  const settled = async <R>(work: Promise<R>): Promise<R> => {
    try {
      const value = await work;
      return life.dead ? await never : value;
    } catch (cause) {
      if (life.dead) return never;
      throw cause;
    }
  };
  const guard =
    <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> =>
      life.dead ? never : settled(work(...args));
  return {
    mkdir: guard((path: string) => files.mkdir(path)),
    list: guard((dir: string) => files.list(dir)),
    open: guard((path: string, mode: 'read' | 'write' | 'create') => files.open(path, mode)),
    readWhole: guard((path: string, bytesMax: number) => files.readWhole(path, bytesMax)),
    rename: guard((from: string, to: string) => files.rename(from, to)),
    remove: guard((path: string) => files.remove(path)),
    syncDir: guard((dir: string) => files.syncDir(dir)),
    identity: guard((path: string) => files.identity(path)),
    lock: guard((dir: string) => files.lock(dir)),
  };
}

class LyingFiles extends MemoryFiles {
  override async open(path: string, mode: 'read' | 'write' | 'create'): Promise<OpenFile> {
    const file = await super.open(path, mode);
    return path.endsWith('.wal') ? { ...file, datasync: () => Promise.resolve() } : file;
  }
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

function options(where: Partial<LedgerOptions>): LedgerOptions {
  return { origin: ORIGIN, signer, segmentBytes: 64 * 1024, groupEntriesMax: 4, ...where };
}

/** Errors are what a crash or a fault looks like from inside; only acknowledgements count. */
async function writeSome(
  files: Files,
  memory: Memory,
  kind: RunKind,
  next: () => number,
): Promise<void> {
  try {
    const clock = new FakeClock();
    const ledger = await openLedger(options({ files, dir: 'ledger', clock }));
    const steps = 1 + Math.floor(next() * 8);
    for (let step = 0; step < steps; step++) {
      const burst = 1 + Math.floor(next() * 6);
      const pad = next() < 0.15 ? 9000 : Math.floor(next() * 600);
      const all = Array.from({ length: burst }, () => appendOne(ledger, memory, pad));
      const failed = (await Promise.allSettled(all)).some(({ status }) => status === 'rejected');
      if (failed && kind !== 'fault') return;
      if (kind === 'prune' && next() < 0.4) {
        await ledger.prune({ first: Math.floor(next() * (ledger.size + 1)), basis: 'test' });
      }
      if (next() < 0.2) await ledger.publish();
    }
    if (next() < 0.3) await ledger.close();
  } catch {
    // The crash.
  }
}

async function appendOne(ledger: Ledger, memory: Memory, pad: number): Promise<void> {
  const n = memory.numbers++;
  const { index, checkpoint } = await ledger.record('test.entry', { n, pad: 'x'.repeat(pad) });
  memory.acked.push({ index, n });
  memory.heads.push({ size: checkpoint.size, root: checkpoint.root });
}

async function checkSurvivor(
  tally: Tally,
  memory: Memory,
  where: Partial<LedgerOptions>,
  label: string,
): Promise<void> {
  const fail = (what: 'lost' | 'forks' | 'refused', message: string): void => {
    tally[what] += 1;
    if (tally.firstFailures.length < 10) tally.firstFailures.push(`${label}: ${message}`);
  };
  let ledger: Ledger;
  try {
    const clock = where.files === undefined ? {} : { clock: new FakeClock() };
    ledger = await openLedger(options({ ...where, ...clock }));
  } catch (cause) {
    fail('refused', String(cause));
    return;
  }
  const { first } = ledger.stats();
  for (const { index, n } of memory.acked) {
    tally.acknowledged += 1;
    if (index < first) continue;
    const found = index < ledger.size ? (await ledger.read(index)).decoded : undefined;
    const detail = found?.type === 'plain' ? found.entry.detail : undefined;
    const isSame = typeof detail === 'object' && detail !== null && 'n' in detail;
    if (!isSame || detail['n'] !== n) fail('lost', `entry ${index} (${n})`);
  }
  for (const { size, root } of memory.heads) {
    if (size <= first && size % 256 !== 0) continue;
    tally.checkpoints += 1;
    if (size > ledger.size || (await ledger.rootAt(size)) !== root) fail('forks', `size ${size}`);
  }
  await ledger.record('after', null);
  const heads = [ledger.checkpoint()];
  await ledger.close();
  if (where.files instanceof MemoryFiles) await checkAgain(fail, memory, where, heads);
  const { files, dir = '' } = where;
  const report = await verifyLedgerDir(dir, signer.vkey, files === undefined ? {} : { files });
  if (report.kind === 'damaged') fail('refused', JSON.stringify(report.findings[0]));
}

/** The power goes right behind the recovery: what it has signed must have been on disk. */
async function checkAgain(
  fail: (what: 'lost' | 'forks' | 'refused', message: string) => void,
  memory: Memory,
  where: Partial<LedgerOptions>,
  heads: readonly Head[],
): Promise<void> {
  if (where.files instanceof MemoryFiles) where.files.crash();
  try {
    const ledger = await openLedger(options({ ...where, clock: new FakeClock() }));
    const { first } = ledger.stats();
    for (const { size, root } of [...memory.heads, ...heads]) {
      if (size <= first && size % 256 !== 0) continue;
      if (size > ledger.size) fail('lost', `size ${size} after the second crash`);
      else if ((await ledger.rootAt(size)) !== root) fail('forks', `size ${size}, second crash`);
    }
    await ledger.close();
  } catch (cause) {
    fail('refused', `second crash: ${String(cause)}`);
  }
}

const RUNS_PER_FOLDER = 12;
const WRITER = join(import.meta.dirname, 'writer.ts');

async function killRuns(
  tally: Tally,
  kills: number,
  seed: number,
  onRun: RunPlan['onRun'],
): Promise<void> {
  const next = random(seed);
  for (let done = 0; done < kills;) {
    const dir = await mkdtemp(join(tmpdir(), 'kintsugi-kill-'));
    const memory: Memory = { numbers: 0, acked: [], heads: [] };
    try {
      for (let round = 0; round < RUNS_PER_FOLDER && done < kills; round++) {
        // Some die while they start, the others in the middle of their work.
        const acksMin = next() < 0.15 ? -1 : Math.floor(next() * 40);
        await writeAndKill(`${dir}/log`, memory, acksMin, next() * (acksMin < 0 ? 200 : 12));
        tally.crashes += 1;
        tally.runs.kill += 1;
        done += 1;
        await checkSurvivor(tally, memory, { dir: `${dir}/log` }, `kill run ${done}`);
        onRun?.(done);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
}

/** Lets it acknowledge some entries, and a moment later kills it without a word. */
async function writeAndKill(
  dir: string,
  memory: Memory,
  acksMin: number,
  delayMs: number,
): Promise<void> {
  const child = spawn(process.execPath, [WRITER], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ dir, secret }));
  const exited = once(child, 'exit');
  const kill = (): void => void setTimeout(() => child.kill('SIGKILL'), delayMs);
  if (acksMin < 0) kill();
  let acks = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [word = '', index, n, size, root = ''] = line.split(' ');
    // A last line may be cut off.
    if (word === 'ack' && root.length === 44) {
      memory.acked.push({ index: Number(index), n: Number(n) });
      memory.heads.push({ size: Number(size), root });
      acks += 1;
    }
    if (acks === acksMin) kill();
  }
  await exited;
}
