// The service that the bench breaks: plain node:http with the SDK, the same file for every
// contender. It takes about 150 ms to boot (half of it waiting, like a service that connects to a
// database), 5 ms for a request, and says in each answer which process and which release it is.
//
// A release is bad when its folder has a file `bad`: probes stay fine, every real request gets 500.
import { createService } from '@kintsugi/sdk';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const WORK_MS = 5;
const CONNECT_MS = 70;
const BODY_MAX = 65_536;

const here = import.meta.dirname;
const release = readFileSync(join(here, 'release'), 'utf8').trim();
const isBad = existsSync(join(here, 'bad'));
const own = { 'x-bench-pid': String(process.pid), 'x-bench-release': release };

const service = createService({ trust: 'none', drainDeadlineMs: 5_000 });
const server = createServer(
  service.handle((request, response) => {
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > BODY_MAX) request.destroy();
    });
    request.on('end', () => {
      setTimeout(() => {
        const status = isBad ? 500 : 200;
        const body = JSON.stringify({ method: request.method, bytes, release });
        response.writeHead(status, { ...own, 'content-type': 'application/json' });
        response.end(body);
      }, WORK_MS);
    });
  }),
);
await new Promise((resolve) => void setTimeout(resolve, CONNECT_MS));
await service.listen(server);
// What PM2's `wait_ready` and nobody else listens to.
process.send?.('ready');
