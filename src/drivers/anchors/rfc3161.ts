// How does a time-stamp authority see a head? By RFC 3161: one request with the SHA-256 of the
// checkpoint text, one signed answer, which an auditor checks offline with the TSA's certificates.
//
//   TQ1. A response is kept only after it passed every check that the auditor will make.
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../world/clock.ts';
import {
  type Anchor,
  type AnchoredHead,
  checkHead,
  digestOf,
  doubtAbout,
  invalid,
  receiptBase,
  verdictOf,
} from './anchor.ts';
import { AnchorError } from './errors.ts';
import { ask, checkUrl } from './http.ts';
import { checkStamp, readCertificates } from './time-stamp.ts';

const ANSWER_BYTES_MAX = 256 * 1024;
const RESPONSE_BASE64_MAX = 512 * 1024;

export interface Rfc3161Spec {
  readonly kind: 'rfc3161';
  readonly name: string;
  readonly url: string;
  /** PEM: the authority's root, or any certificate that a chain may end in. */
  readonly certificates: string;
  readonly timeoutMs?: number;
}

export function openRfc3161Anchor(spec: Rfc3161Spec, clock: Pick<Clock, 'nowMs'>): Anchor {
  const { name, timeoutMs = 15_000 } = spec;
  // Most public authorities speak plain HTTP; the answer is signed.
  const url = checkUrl(spec.url, 'anywhere');
  const trusted = readCertificates(spec.certificates);
  return {
    name,
    async anchor(head: AnchoredHead) {
      checkHead(head);
      const nonce = drawNonce();
      const { status, body } = await ask({
        url,
        method: 'POST',
        headers: {
          'content-type': 'application/timestamp-query',
          accept: 'application/timestamp-reply',
        },
        body: timeStampRequest(digestOf(head.checkpointText), nonce),
        timeoutMs,
        answerBytesMax: ANSWER_BYTES_MAX,
      });
      if (status !== 200)
        throw new AnchorError('KIN_ANCHOR_ANSWER', `${url.host} answered status ${status}`);
      const response = Buffer.from(body);
      checkStamp({ response, text: head.checkpointText, nonce: asInteger(nonce), trusted });
      return {
        kind: 'rfc3161',
        ...receiptBase(name, head, clock.nowMs()),
        response: response.toString('base64'),
      };
    },
    async verify(receipt, head) {
      if (receipt.kind !== 'rfc3161') return invalid('malformed', 'no RFC 3161 receipt');
      const doubt = doubtAbout(receipt, head);
      if (doubt !== undefined) return doubt;
      if (receipt.response.length > RESPONSE_BASE64_MAX)
        return invalid('malformed', 'the response is too long');
      try {
        const { genTimeMs, signer } = checkStamp({
          response: Buffer.from(receipt.response, 'base64'),
          text: receipt.checkpoint,
          nonce: undefined,
          trusted,
        });
        const at = new Date(genTimeMs).toISOString();
        return { kind: 'anchored', atMs: genTimeMs, detail: `stamped ${at} by ${signer}` };
      } catch (error) {
        // Nobody was asked: an answer that cannot be read is a bad receipt, not a bad network.
        const verdict = verdictOf(error);
        return verdict.kind === 'unreachable' ? invalid('malformed', verdict.detail) : verdict;
      }
    },
  };
}

/** 64 bits whose first byte is 0x40–0x7f: positive and minimal as a DER INTEGER. */
function drawNonce(): Buffer {
  const nonce = randomBytes(8);
  nonce[0] = ((nonce[0] ?? 0) & 0x3f) | 0x40;
  return nonce;
}

function asInteger(nonce: Buffer): bigint {
  return BigInt(`0x${nonce.toString('hex')}`);
}

const SHA256_ALGORITHM = Buffer.from('300d06096086480165030402010500', 'hex');

/** TimeStampReq: version 1, messageImprint, nonce, certReq TRUE; every length stays below 128. */
export function timeStampRequest(digest: Buffer, nonce: Buffer): Buffer {
  const imprint = der(0x30, SHA256_ALGORITHM, der(0x04, digest));
  return der(0x30, der(0x02, Buffer.of(1)), imprint, der(0x02, nonce), der(0x01, Buffer.of(0xff)));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag, value.length), value]);
}
