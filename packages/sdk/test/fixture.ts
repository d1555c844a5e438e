// A small service that the tests run as a real process, drain and block.
import { createServer } from 'node:http';
import { createService } from '../src/index.ts';

const service = createService({
  trust: 'none',
  drainDeadlineMs: Number(process.env['FIXTURE_DEADLINE_MS'] ?? 10_000),
});

const server = createServer(
  service.handle((request, response) => {
    const url = new URL(request.url ?? '/', 'http://fixture.invalid');
    const ms = Number(url.searchParams.get('ms') ?? 0);
    switch (url.pathname) {
      case '/slow':
        setTimeout(() => response.end('done'), ms);
        return;
      case '/block': {
        response.end('blocking');
        response.once('close', () => {
          const endMs = performance.now() + ms;
          while (performance.now() < endMs);
        });
        return;
      }
      case '/audit':
        for (let i = 0; i < ms; i += 1) service.audit({ action: 'thing.read', outcome: 'allowed' });
        response.end('ok');
        return;
      default:
        response.end('ok');
    }
  }),
);
const { port } = await service.listen(server);
service.log.info('listening', { port });
