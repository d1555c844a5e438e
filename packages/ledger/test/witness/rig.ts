// Shared pieces of the witness tests: a small log that can fork, witnesses without a network, and
// a clock that only moves when told.

import { Buffer } from 'node:buffer';
import { MemoryFiles } from '../../src/memory-files.ts';
import { leafHash, nodeHash, emptyRoot } from '../../src/merkle.ts';
import { formatTreeHead, signNote } from '../../src/note.ts';
import type { Signer } from '../../src/note.ts';
import { parsePolicy } from '../../src/policy.ts';
import type { Policy } from '../../src/policy.ts';
import { signerFromSeed } from '../../src/signer.ts';
import type { OwnCheckpoint } from '../../src/witness/client.ts';
import type {
  WitnessHttp,
  WitnessRequest,
  WitnessResponse,
} from '../../src/witness/http-client.ts';
import { openWitnessStore } from '../../src/witness/store.ts';
import { Witness } from '../../src/witness/witness.ts';
import type { WitnessEvent, WitnessedLog } from '../../src/witness/witness.ts';

export const ORIGIN = 'log.example/one';
export const logSigner = signerFromSeed(ORIGIN, new Uint8Array(32).fill(1)).signer;
export const strangerSigner = signerFromSeed(ORIGIN, new Uint8Array(32).fill(2)).signer;
export const NOW_MS = Date.UTC(2026, 10, 20);

export function witnessSigner(name: string, seed = 9): Signer {
  const bytes = new Uint8Array(32).fill(seed);
  for (let at = 0; at < name.length && at < 31; at++) bytes[at] = name.charCodeAt(at) & 0xff;
  return signerFromSeed(name, bytes, 'cosigner').signer;
}

/** A log in memory; a copy of it can go on differently. */
export class SmallLog {
  readonly leaves: Uint8Array[] = [];
  readonly #signer: Signer;
  readonly #origin: string;
  shown: number | undefined;

  constructor(signer: Signer = logSigner, origin = ORIGIN) {
    this.#signer = signer;
    this.#origin = origin;
  }

  grow(count: number, text = 'entry'): this {
    for (let at = 0; at < count; at++) {
      this.leaves.push(leafHash(Buffer.from(`${text} ${this.leaves.length}`)));
    }
    return this;
  }

  fork(size: number): SmallLog {
    const other = new SmallLog(this.#signer, this.#origin);
    other.leaves.push(...this.leaves.slice(0, size));
    return other;
  }

  rootAt(size: number): Uint8Array {
    return size === 0 ? emptyRoot() : rootOf(this.leaves.slice(0, size));
  }

  checkpoint(): OwnCheckpoint {
    return this.checkpointAt(this.leaves.length);
  }

  checkpointAt(size: number): OwnCheckpoint {
    const root = this.rootAt(size);
    const text = signNote(formatTreeHead(this.#origin, size, root), this.#signer);
    return { origin: this.#origin, size, root: Buffer.from(root).toString('base64'), text };
  }

  async consistency(before: number, after: number): Promise<readonly string[]> {
    await Promise.resolve();
    return this.proof(before, after);
  }

  proof(before: number, after: number): readonly string[] {
    if (before < 1 || before > after || after > this.leaves.length) throw new Error('no proof');
    const hashes = subproof(before, this.leaves.slice(0, after), true);
    return hashes.map((hash) => Buffer.from(hash).toString('base64'));
  }
}

function split(count: number): number {
  let size = 1;
  while (size * 2 < count) size *= 2;
  return size;
}

function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (only === undefined) return emptyRoot();
  if (leaves.length === 1) return only;
  const at = split(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, at)), rootOf(leaves.slice(at)));
}

/** RFC 6962 §2.1.2, as it stands there. */
function subproof(m: number, leaves: readonly Uint8Array[], isWhole: boolean): Uint8Array[] {
  if (m === leaves.length) return isWhole ? [] : [rootOf(leaves)];
  const at = split(leaves.length);
  if (m <= at) return [...subproof(m, leaves.slice(0, at), isWhole), rootOf(leaves.slice(at))];
  return [...subproof(m - at, leaves.slice(at), false), rootOf(leaves.slice(0, at))];
}

export interface LocalWitness {
  readonly witness: Witness;
  readonly signer: Signer;
  readonly events: WitnessEvent[];
  readonly files: MemoryFiles;
}

export async function localWitness(
  name: string,
  more: {
    readonly files?: MemoryFiles;
    readonly nowMs?: () => number;
    readonly queueMax?: number;
    readonly logs?: readonly WitnessedLog[];
  } = {},
): Promise<LocalWitness> {
  const files = more.files ?? new MemoryFiles();
  const events: WitnessEvent[] = [];
  const signer = witnessSigner(name);
  const witness = new Witness({
    logs: more.logs ?? [{ origin: ORIGIN, vkeys: [logSigner.vkey] }],
    cosigners: [signer],
    store: await openWitnessStore(files, 'witness'),
    nowMs: more.nowMs ?? (() => NOW_MS),
    onEvent: (event) => events.push(event),
    ...(more.queueMax === undefined ? {} : { queueMax: more.queueMax }),
  });
  return { witness, signer, events, files };
}

export type Behaviour = (
  request: WitnessRequest,
) => Promise<WitnessResponse | Error> | WitnessResponse | Error;

/** What a real witness would answer, without a socket. */
export function honest(witness: Witness): Behaviour {
  return async ({ method, url, body }) => {
    if (method === 'POST') return witness.addCheckpoint(body ?? '');
    return witness.checkpoint(/([0-9a-f]{64})\/checkpoint$/.exec(url)?.[1] ?? '');
  };
}

export class FakeHttp implements WitnessHttp {
  readonly requests: WitnessRequest[] = [];
  readonly behaviours = new Map<string, Behaviour>();

  async send(request: WitnessRequest): Promise<WitnessResponse> {
    this.requests.push(request);
    const host = new URL(request.url).hostname;
    const answer = await this.behaviours.get(host)?.(request);
    if (answer === undefined) throw new Error('connection refused');
    if (answer instanceof Error) throw answer;
    return answer;
  }

  close(): void {
    this.behaviours.clear();
  }

  posts(host: string): readonly WitnessRequest[] {
    return this.requests.filter(
      ({ url, method }) => method === 'POST' && new URL(url).hostname === host,
    );
  }
}

export function policyOf(signers: readonly Signer[], needs: number | 'none'): Policy {
  const lines = signers.map(({ name, vkey }) => `witness ${name} ${vkey} http://${name}/\n`);
  const names = signers.map(({ name }) => name).join(' ');
  const quorum =
    needs === 'none' ? 'quorum none\n' : `group all-of ${needs} ${names}\nquorum all-of\n`;
  const reading = parsePolicy(`log ${logSigner.vkey}\n${lines.join('')}${quorum}`);
  if (reading.kind === 'invalid') throw new Error(reading.reason);
  return reading.policy;
}

/** Waits for a condition by letting promises and real I/O go on; fails instead of hanging. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 5000; round++) {
    if (condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`never: ${what}`);
}
