// The plain forwarder as its own process, for the bench: node plain-gateway.ts PORT UPSTREAM_PORT
import type { Forward } from '../../src/gateway/http/hooks.ts';
import { NO_NAMES } from '../../src/gateway/http/names.ts';
import { openHttpServer, openUpstreams } from '../../src/gateway/http/server.ts';

const [port = '0', upstreamPort = '0'] = process.argv.slice(2);
const forward: Forward = {
  kind: 'forward',
  to: openUpstreams().pool('127.0.0.1', Number(upstreamPort)),
  plan: {
    dropFromRequest: NO_NAMES,
    dropFromAnswer: NO_NAMES,
    replayBytesMax: 65_536,
    bodyBytesMax: 1_073_741_824,
    totalTimeoutMs: 30_000,
    headTimeoutMs: 30_000,
    bodyIdleMs: 60_000,
  },
  add: '',
  addToAnswer: '',
  partition: '',
};
const server = await openHttpServer(
  { host: '127.0.0.1', port: Number(port), reusePort: false, connectionsMax: 20_000 },
  {
    onRequestHead: () => forward,
    onAttemptEnd: () => undefined,
    onExchangeEnd: () => undefined,
    onBug: (error) => process.stderr.write(`bug: ${String(error)}\n`),
  },
);
process.stdout.write(`${server.port}\n`);
process.once('SIGTERM', () => process.exit(0));
