// Which exchanges get a line, and what becomes of it? Lines gather in a buffer that is handed to
// the file when it is nearly full or 250 ms old; there are so many buffers and no more.
//
//   AL1. What failed always has a line; of the rest a share, evenly.
//   AL2. A request never waits: without a free buffer its line is dropped and counted.
//   AL3. At the end everything that was accepted is on disk, or counted as dropped.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../model/errors.ts';
import type { AccessLogRule } from '../../model/routing.ts';
import { EcsLines, LINE_BYTES_MAX, isGood, lineRule } from './ecs-line.ts';
import type { LineRule } from './ecs-line.ts';
import type { ExchangeFacts } from './facts.ts';
import { JsonBytes } from './json-bytes.ts';
import { LogFile } from './log-file.ts';

/** A batch wakes another thread: few large ones cost less than many small ones. */
const BATCH_BYTES = 262_144;
const BUFFER_BYTES = BATCH_BYTES + LINE_BYTES_MAX;
const BUFFERS_MAX = 8;
const FLUSH_MS = 250;
const CLOSE_MS = 3_000;

export interface AccessLogSetup {
  readonly folder: string;
  readonly worker: string;
  readonly warn: (text: string) => void;
  readonly monotonicMs: () => number;
}

export function accessLogPath(folder: string, worker: string): string {
  return join(folder, `access-${worker.replaceAll(/[^A-Za-z0-9-]/gu, '_')}.ndjson`);
}

/** Files are rotated between two batches: some fit into the smallest of them. */
function batchBytes({ maxBytes }: AccessLogRule): number {
  return Math.min(BATCH_BYTES, Math.floor(maxBytes / 4));
}

export class AccessLog {
  readonly #file: LogFile;
  readonly #free: Buffer[] = [];
  #made = 0;
  #rule: LineRule;
  #batchBytes: number;
  readonly #lines = new EcsLines();
  #open = false;
  #count = 0;
  #owed = 0;
  #noRoom = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(setup: AccessLogSetup, rule: AccessLogRule) {
    const { folder, worker, warn, monotonicMs } = setup;
    this.#rule = lineRule(rule);
    this.#batchBytes = batchBytes(rule);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      // The file says what is wrong with it at the first line, and tries again by itself.
      warn(`the folder of the access log cannot be made: ${messageOf(error)}`);
    }
    const onFree = (bytes: Buffer): void => {
      this.#free.push(bytes);
    };
    const path = accessLogPath(folder, worker);
    this.#file = new LogFile({ path, warn, monotonicMs, onFree }, rule);
  }

  get written(): number {
    return this.#file.written;
  }

  get dropped(): number {
    return this.#file.dropped + this.#noRoom;
  }

  use(rule: AccessLogRule): void {
    this.#rule = lineRule(rule);
    this.#batchBytes = batchBytes(rule);
    this.#file.limit(rule);
  }

  add(facts: ExchangeFacts): void {
    const rule = this.#rule;
    if (rule.sample < 1 && isGood(facts) && !this.#isDue(rule.sample)) return;
    if (!this.#open && !this.#begin()) {
      this.#noRoom += 1;
      return;
    }
    this.#lines.add(facts, rule);
    this.#count += 1;
    if (this.#lines.out.pos > this.#batchBytes) this.flush();
  }

  /** Hands over what there is. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#open) return;
    this.#open = false;
    const { out } = this.#lines;
    this.#file.write(out.buf, out.pos, this.#count);
    this.#count = 0;
  }

  async close(): Promise<void> {
    this.flush();
    // A disk that hangs must not keep the gateway from ending.
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    await Promise.race([this.#file.close(), late]);
  }

  /** Every tenth with 0.1, not one in ten by chance: then counts can be scaled up. */
  #isDue(sample: number): boolean {
    this.#owed += sample;
    // Ten tenths are not quite one.
    if (this.#owed < 1 - 1e-9) return false;
    this.#owed -= 1;
    return true;
  }

  #begin(): boolean {
    const buf = this.#free.pop() ?? this.#make();
    if (buf === undefined) return false;
    this.#lines.out = new JsonBytes(buf);
    this.#open = true;
    this.#timer = setTimeout(() => this.flush(), FLUSH_MS).unref();
    return true;
  }

  #make(): Buffer | undefined {
    if (this.#made >= BUFFERS_MAX) return undefined;
    this.#made += 1;
    return Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }
}
