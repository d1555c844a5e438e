// How does Bitcoin see a head? Through OpenTimestamps calendars: a digest is sent, the calendar
// promises at once and names a Bitcoin block hours later. The promise is kept and upgraded.
//
//   OC1. What leaves is SHA-256(digest ‖ 16 random bytes): a calendar learns nothing, not even that
//        two requests are about one checkpoint.
//   OC2. Only the calendars given are ever asked, also by `upgrade`, whatever a proof names.
//   OC3. Without Bitcoin headers the last step is not checked here, and the verdict says so.
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../world/clock.ts';
import {
  type AnchoredHead,
  type AnchorReceipt,
  type CalendarReceipt,
  checkHead,
  digestOf,
  doubtAbout,
  invalid,
  receiptBase,
  type UpgradingAnchor,
  type Verdict,
  verdictOf,
} from './anchor.ts';
import { AnchorError } from './errors.ts';
import { ask, checkUrl } from './http.ts';
import {
  append,
  grow,
  leavesOf,
  merge,
  newStamp,
  parseProof,
  parseStamp,
  PROOF_BYTES_MAX,
  sha256,
  type Stamp,
  writeProof,
} from './ots.ts';

const ANSWER_BYTES_MAX = 10_000;
const CALENDARS_MAX = 8;
const ACCEPT = { accept: 'application/vnd.opentimestamps.v1' };

export interface OpenTimestampsSpec {
  readonly kind: 'opentimestamps';
  readonly name: string;
  /** Base addresses. There is no default: whom to trust with availability is your choice. */
  readonly calendars: readonly string[];
  /**
   * Calendars that may be asked for the rest of a proof although nothing is sent to them: behind an
   * aggregation pool another address keeps the promise.
   */
  readonly upgradeFrom?: readonly string[];
  readonly timeoutMs?: number;
}

export function openOpenTimestampsAnchor(
  spec: OpenTimestampsSpec,
  clock: Pick<Clock, 'nowMs'>,
): UpgradingAnchor {
  const { name, timeoutMs = 15_000 } = spec;
  if (spec.calendars.length === 0 || spec.calendars.length > CALENDARS_MAX)
    throw new AnchorError('KIN_ANCHOR_CONFIG', `${name}: give 1 to ${CALENDARS_MAX} calendars`);
  const calendars = spec.calendars.map((calendar) => checkUrl(calendar, 'anywhere'));
  const others = (spec.upgradeFrom ?? []).map((calendar) => checkUrl(calendar, 'anywhere'));
  const keepers = new Map([...calendars, ...others].map((url) => [baseOf(url.href), url]));
  return {
    name,
    async anchor(head: AnchoredHead) {
      checkHead(head);
      const stamp = newStamp(digestOf(head.checkpointText));
      const blinded = grow(grow(stamp, append(randomBytes(16))), sha256);
      const answers = await Promise.allSettled(
        calendars.map((calendar) => submit(calendar, blinded.message, timeoutMs)),
      );
      for (const answer of answers) if (answer.status === 'fulfilled') merge(blinded, answer.value);
      const failed = answers.find((answer) => answer.status === 'rejected');
      if (leavesOf(stamp).length === 0 && failed !== undefined) throw failed.reason;
      checkKeepers(stamp, keepers);
      return receiptOf(name, head, clock.nowMs(), stamp);
    },
    async upgrade(receipt) {
      if (receipt.kind !== 'opentimestamps' || receipt.state !== 'pending') return receipt;
      return upgrade(receipt, keepers, timeoutMs);
    },
    async verify(receipt, head) {
      if (receipt.kind !== 'opentimestamps')
        return invalid('malformed', 'no OpenTimestamps receipt');
      return doubtAbout(receipt, head) ?? verify(receipt);
    },
  };
}

/** The file for `ots verify`, beside the checkpoint text that it is about. */
export function exportProof(receipt: AnchorReceipt): {
  readonly ots: Buffer;
  readonly checkpoint: string;
} {
  if (receipt.kind !== 'opentimestamps')
    throw new AnchorError('KIN_ANCHOR_RECEIPT', 'only OpenTimestamps receipts hold an .ots file');
  return { ots: writeProof(readProof(receipt)), checkpoint: receipt.checkpoint };
}

function receiptOf(name: string, head: AnchoredHead, atMs: number, stamp: Stamp): CalendarReceipt {
  const proof = writeProof(stamp);
  if (proof.length > PROOF_BYTES_MAX)
    throw new AnchorError('KIN_ANCHOR_ANSWER', 'the calendars answered more than a proof may hold');
  return {
    kind: 'opentimestamps',
    ...receiptBase(name, head, atMs),
    proof: proof.toString('base64'),
    state: stateOf(stamp),
  };
}

function stateOf(stamp: Stamp): CalendarReceipt['state'] {
  const isAttested = leavesOf(stamp).some(({ attestation }) => attestation.kind === 'bitcoin');
  return isAttested ? 'attested' : 'pending';
}

function baseOf(address: string): string {
  return address.replace(/\/+$/, '');
}

function pathOf(calendar: URL, path: string): URL {
  return new URL(`${baseOf(calendar.href)}/${path}`);
}

/** A promise that nobody here may ever ask for would stay one for ever: say so at once. */
function checkKeepers(stamp: Stamp, keepers: ReadonlyMap<string, URL>): void {
  if (stateOf(stamp) === 'attested') return;
  const uris = leavesOf(stamp).flatMap(({ attestation }) =>
    attestation.kind === 'pending' ? [attestation.uri] : [],
  );
  if (!uris.some((uri) => keepers.has(baseOf(uri))))
    throw new AnchorError(
      'KIN_ANCHOR_CONFIG',
      `only ${uris.join(', ')} can complete the proof: add it to upgradeFrom`,
    );
}

async function submit(calendar: URL, digest: Buffer, timeoutMs: number): Promise<Stamp> {
  const { status, body } = await ask({
    url: pathOf(calendar, 'digest'),
    method: 'POST',
    headers: { ...ACCEPT, 'content-type': 'application/x-www-form-urlencoded' },
    body: digest,
    timeoutMs,
    answerBytesMax: ANSWER_BYTES_MAX,
  });
  if (status !== 200)
    throw new AnchorError('KIN_ANCHOR_ANSWER', `${calendar.host} answered status ${status}`);
  const stamp = parseStamp(body, digest);
  if (!leavesOf(stamp).some(({ attestation }) => attestation.kind !== 'unknown'))
    throw new AnchorError('KIN_ANCHOR_MISMATCH', `${calendar.host} promised nothing known`);
  return stamp;
}

async function upgrade(
  receipt: CalendarReceipt,
  keepers: ReadonlyMap<string, URL>,
  timeoutMs: number,
): Promise<CalendarReceipt> {
  const stamp = readProof(receipt);
  const before = writeProof(stamp);
  const asked = leavesOf(stamp).flatMap(({ stamp: at, attestation }) => {
    if (attestation.kind !== 'pending') return [];
    const calendar = keepers.get(baseOf(attestation.uri));
    return calendar === undefined
      ? []
      : [{ at, answer: complete(calendar, at.message, timeoutMs) }];
  });
  const answers = await Promise.allSettled(asked.map(({ answer }) => answer));
  for (const [index, answer] of answers.entries()) {
    const at = asked[index]?.at;
    if (answer.status === 'fulfilled' && answer.value !== undefined && at !== undefined)
      merge(at, answer.value);
  }
  const failed = answers.find((answer) => answer.status === 'rejected');
  const proof = writeProof(stamp);
  if (proof.equals(before)) {
    if (failed !== undefined) throw failed.reason;
    return receipt;
  }
  if (proof.length > PROOF_BYTES_MAX)
    throw new AnchorError('KIN_ANCHOR_ANSWER', 'the calendars answered more than a proof may hold');
  return { ...receipt, proof: proof.toString('base64'), state: stateOf(stamp) };
}

/** Undefined: the calendar has nothing new yet. */
async function complete(
  calendar: URL,
  commitment: Buffer,
  timeoutMs: number,
): Promise<Stamp | undefined> {
  const { status, body } = await ask({
    url: pathOf(calendar, `timestamp/${commitment.toString('hex')}`),
    method: 'GET',
    headers: ACCEPT,
    timeoutMs,
    answerBytesMax: ANSWER_BYTES_MAX,
  });
  if (status === 404) return undefined;
  if (status !== 200)
    throw new AnchorError('KIN_ANCHOR_ANSWER', `${calendar.host} answered status ${status}`);
  return parseStamp(body, commitment);
}

function readProof(receipt: CalendarReceipt): Stamp {
  if (receipt.proof.length > PROOF_BYTES_MAX * 2)
    throw new AnchorError('KIN_ANCHOR_PROOF', 'the proof is too long');
  return parseProof(Buffer.from(receipt.proof, 'base64'));
}

function verify(receipt: CalendarReceipt): Verdict {
  try {
    const stamp = readProof(receipt);
    if (!stamp.message.equals(digestOf(receipt.checkpoint)))
      return invalid('other-content', 'the proof is about another checkpoint');
    const leaves = leavesOf(stamp);
    const heights = leaves.flatMap(({ attestation, stamp: at }) =>
      attestation.kind === 'bitcoin' && at.message.length === 32 ? [attestation.height] : [],
    );
    if (heights.length > 0)
      return {
        kind: 'partial',
        reason: 'bitcoin-header-unchecked',
        detail:
          `leads to the Merkle root of Bitcoin block ${Math.min(...heights)}; ` +
          'check that header with `ots verify` and a Bitcoin node',
      };
    const uris = leaves.flatMap(({ attestation }) =>
      attestation.kind === 'pending' ? [attestation.uri] : [],
    );
    if (uris.length === 0) return invalid('untrusted-signer', 'no attestation that is known here');
    return {
      kind: 'pending',
      reason: 'calendar-promised',
      detail: `promised by ${uris.join(', ')}`,
    };
  } catch (error) {
    return verdictOf(error);
  }
}
