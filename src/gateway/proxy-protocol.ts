// Who is behind the load balancer? Reads the PROXY protocol, version 2: a header of binary fields
// before everything else on a connection. Pure: bytes in, an address out.
//
//   PX1. Only listed peers are asked for one, and they must send it: nobody guesses. What others
//        send is read as their request, and refused as such.
//   PX2. Signature, version, command, family and all lengths are exact; a checksum that is there
//        is verified; nothing past the header is taken.
//   PX3. A header has at most 536 bytes.
import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net';

export const HEADER_BYTES_MAX = 536;
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED_BYTES = 16;
const TLV_CRC32C = 0x03;

export type ProxyFault =
  | 'signature'
  | 'version'
  | 'command'
  | 'family'
  | 'too-long'
  | 'too-short'
  | 'tlv'
  | 'checksum';

export type ProxyHeader =
  | { readonly kind: 'more' }
  /** The balancer speaks for itself (a health check), or knows no address. */
  | { readonly kind: 'local'; readonly bytes: number }
  | { readonly kind: 'from'; readonly bytes: number; readonly address: string }
  | { readonly kind: 'refused'; readonly reason: ProxyFault };

const MORE: ProxyHeader = { kind: 'more' };
const refused = (reason: ProxyFault): ProxyHeader => ({ kind: 'refused', reason });

export function readProxyHeader(buf: Buffer): ProxyHeader {
  const known = Math.min(buf.length, SIGNATURE.length);
  if (buf.compare(SIGNATURE, 0, known, 0, known) !== 0) return refused('signature');
  if (buf.length < FIXED_BYTES) return MORE;
  const version = buf.readUInt8(12) >> 4;
  const command = buf.readUInt8(12) & 0x0f;
  if (version !== 2) return refused('version');
  if (command > 1) return refused('command');
  const bytes = FIXED_BYTES + buf.readUInt16BE(14);
  if (bytes > HEADER_BYTES_MAX) return refused('too-long');
  if (buf.length < bytes) return MORE;
  const header = buf.subarray(0, bytes);
  // LOCAL: whatever follows in the header means nothing.
  return command === 0 ? { kind: 'local', bytes } : readFrom(header);
}

function readFrom(header: Buffer): ProxyHeader {
  const family = header.readUInt8(13);
  // Unknown to the sender: what follows is not looked at, and the connection's own address counts.
  if (family === 0x00) return { kind: 'local', bytes: header.length };
  // This port speaks TCP; what claims to come by UDP or a unix socket comes from somewhere else.
  if (family !== 0x11 && family !== 0x21) return refused('family');
  const rest = FIXED_BYTES + (family === 0x11 ? 12 : 36);
  if (header.length < rest) return refused('too-short');
  const fault = tlvFault(header, rest);
  if (fault !== undefined) return refused(fault);
  const address = family === 0x11 ? ipv4(header, FIXED_BYTES) : ipv6(header, FIXED_BYTES);
  return { kind: 'from', bytes: header.length, address };
}

function tlvFault(header: Buffer, from: number): ProxyFault | undefined {
  let at = from;
  while (at < header.length) {
    if (header.length - at < 3) return 'tlv';
    const type = header.readUInt8(at);
    const length = header.readUInt16BE(at + 1);
    const valueAt = at + 3;
    at = valueAt + length;
    if (at > header.length) return 'tlv';
    if (type !== TLV_CRC32C) continue;
    if (length !== 4) return 'tlv';
    const copy = Buffer.from(header);
    copy.writeUInt32BE(0, valueAt);
    if (crc32c(copy) !== header.readUInt32BE(valueAt)) return 'checksum';
  }
  return undefined;
}

function ipv4(buf: Buffer, at: number): string {
  return [...buf.subarray(at, at + 4)].join('.');
}

function ipv6(buf: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => buf.readUInt16BE(at + 2 * i).toString(16));
  const { address } = new SocketAddress({ address: groups.join(':'), family: 'ipv6' });
  return plainAddress(address);
}

/** An IPv4 address that came over an IPv6 socket is an IPv4 address. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/iu.exec(address);
  return mapped?.[1] ?? address;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let k = 0; k < 8; k += 1) c = (c & 1) === 0 ? c >>> 1 : (c >>> 1) ^ 0x82f63b78;
  return c;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = ((TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)) >>> 0;
  return (crc ^ 0xffffffff) >>> 0;
}

export interface TrustedPeers {
  has(address: string | undefined): boolean;
}

export type Trust =
  | { readonly kind: 'peers'; readonly peers: TrustedPeers }
  | { readonly kind: 'refused'; readonly cidr: string };

/** `10.0.0.0/8`, `fd00::/8`, or one address. */
export function trustPeers(cidrs: readonly string[]): Trust {
  const list = new BlockList();
  for (const cidr of cidrs) if (!addCidr(list, cidr)) return { kind: 'refused', cidr };
  const peers: TrustedPeers = {
    has(given) {
      const address = plainAddress(given ?? '');
      if (isIPv4(address)) return list.check(address, 'ipv4');
      return isIPv6(address) && list.check(address, 'ipv6');
    },
  };
  return { kind: 'peers', peers };
}

function addCidr(list: BlockList, cidr: string): boolean {
  const [address = '', bits, ...more] = cidr.split('/');
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  if (more.length > 0 || (family === 'ipv6' && (!isIPv6(address) || address.includes('%')))) {
    return false;
  }
  const max = family === 'ipv4' ? 32 : 128;
  if (bits !== undefined && !/^(?:0|[1-9]\d{0,2})$/u.test(bits)) return false;
  const prefix = bits === undefined ? max : Number(bits);
  if (prefix > max) return false;
  list.addSubnet(address, prefix, family);
  return true;
}
