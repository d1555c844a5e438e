// Does the gateway learn which dependency failed a request?
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import { createService, readEnvironment } from '../src/index.ts';
import { get } from './support.ts';

describe('suspect', () => {
  it('names the dependency on the answer, and never breaks an answer by it', async () => {
    const service = createService({ trust: 'none', environment: readEnvironment({}) });
    const server = createServer((request, response) => {
      if (request.url === '/late') response.write('begun');
      service.suspect(request.url === '/odd' ? 'not a\r\nname' : 'postgres', response);
      response.end();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const field = 'x-kintsugi-dependency-failed';
    const seen = await Promise.all(
      ['/', '/odd', '/late'].map(async (path) => (await get(address.port, path)).headers[field]),
    );
    assert.deepEqual(seen, ['postgres', undefined, undefined]);
    server.close();
  });
});
