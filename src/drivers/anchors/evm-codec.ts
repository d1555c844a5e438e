// How do the contract's words look on the wire? Fixed 32-byte words only, so the encoding is a
// dozen lines; a test compares every constant with what the compiler says.
import type { AnchoredHead } from './anchor.ts';
import { AnchorError } from './errors.ts';
import { digestOf, logIdOf } from './anchor.ts';

export const SELECTOR = { anchor: '0x7f00e393', latest: '0x68205bc3' } as const;
export const TOPIC_ANCHORED = '0xa58519225e4f9c8267cd9793b73fec57d8d8f98424e8f206c6d7288d6fe037e7';
export const REVERT = { fork: '0x4c34c6fc', shrunk: '0x7de8f9c5' } as const;
/** SHA-256 of the contract's code on the chain; it holds no constructor value, so it is one. */
export const CODE_SHA256 = 'abdf2f5a367bdc69651c2685987aaf320c66f54342dccbb0537099060da0da41';

const ADDRESS = /^0x[0-9a-f]{40}$/;

/** Lower case; a checksum in the letters is not demanded, because not every tool writes one. */
export function readAddress(text: string): string {
  const address = text.toLowerCase();
  if (!ADDRESS.test(address))
    throw new AnchorError('KIN_ANCHOR_CONFIG', 'an EVM address is 0x and 40 hexadecimal digits');
  return address;
}

const word = (value: bigint): string => value.toString(16).padStart(64, '0');
const addressWord = (address: string): string => address.slice(2).padStart(64, '0');

export function rootHex(root: string): string {
  return `0x${Buffer.from(root, 'base64').toString('hex')}`;
}

export function anchorCall(head: AnchoredHead): string {
  return [
    SELECTOR.anchor,
    logIdOf(head.origin).toString('hex'),
    word(BigInt(head.size)),
    rootHex(head.root).slice(2),
    digestOf(head.checkpointText).toString('hex'),
  ].join('');
}

export function latestCall(owner: string, origin: string): string {
  return `${SELECTOR.latest}${addressWord(owner)}${logIdOf(origin).toString('hex')}`;
}

export function decodeLatest(data: string): { readonly size: number; readonly root: string } {
  const [, size, root] = /^0x([0-9a-f]{64})([0-9a-f]{64})$/.exec(data) ?? [];
  if (size === undefined || root === undefined)
    throw new AnchorError(
      'KIN_ANCHOR_CONTRACT',
      'the contract answered something else than a head',
    );
  return { size: Number(BigInt(`0x${size}`)), root: Buffer.from(root, 'hex').toString('base64') };
}

/** The topics that an event of this head carries; `eth_getLogs` takes them as a filter. */
export function topicsOf(owner: string, origin: string, size: number): readonly string[] {
  return [
    TOPIC_ANCHORED,
    `0x${addressWord(owner)}`,
    `0x${logIdOf(origin).toString('hex')}`,
    `0x${word(BigInt(size))}`,
  ];
}
