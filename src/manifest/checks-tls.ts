// Do the settings of TLS and of the PROXY protocol fit together?
//
//   CS1. Client certificates are asked for only with authorities of one's own.
//   CS2. What is trusted to speak for others is a network that exists.
import { isIPv4, isIPv6 } from 'node:net';
import { problem } from './checking.ts';
import type { Checking } from './checking.ts';

export function checkTls(c: Checking): void {
  const { tls, proxyProtocol, port } = c.draft.gateway;
  if (tls !== undefined) {
    if (tls.clientAuth !== 'none' && tls.clientCa === undefined) {
      const expected = 'gateway.tls.clientCa as well: without it nobody could be verified';
      problem(c, 'KIN_MANIFEST_MISSING', 'gateway.tls.clientAuth', tls.clientAuth, expected);
    }
    if (tls.clientAuth === 'none' && tls.clientCa !== undefined) {
      const expected = 'gateway.tls.clientAuth optional or required as well';
      problem(c, 'KIN_MANIFEST_CONFLICT', 'gateway.tls.clientCa', 'a file', expected);
    }
    const { redirectPort } = tls;
    if (redirectPort !== 0 && redirectPort === port) {
      const expected = 'a port of its own: gateway.port has it already';
      const path = 'gateway.tls.redirectPort';
      problem(c, 'KIN_MANIFEST_CONFLICT', path, `port ${redirectPort}`, expected, '80');
    }
  }
  for (const [i, network] of (proxyProtocol?.from ?? []).entries()) {
    if (network === '' || isNetwork(network)) continue;
    const path = `gateway.proxyProtocol.from[${i}]`;
    const expected = 'an IP address, alone or with the bits of its network';
    problem(c, 'KIN_MANIFEST_RANGE', path, network, expected, '10.0.0.0/8');
  }
}

function isNetwork(text: string): boolean {
  const [address = '', bits] = text.split('/');
  const max = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  if (bits === undefined) return max >= 0;
  return /^(?:0|[1-9]\d{0,2})$/u.test(bits) && Number(bits) <= max;
}
