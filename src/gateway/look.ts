// Does anybody answer there? Our own look at a replica, on a connection of its own, so that a pool
// full of stuck connections cannot make a sound replica look dead, nor the other way round.
//
//   LO1. Always in time, and never an exception: answered, refused or silent.
import { request as httpRequest } from 'node:http';

const OWN_LAG_MS = 50;

export type Look =
  | { readonly kind: 'answered'; readonly status: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'silent' };

/** Never rejects. */
export function lookAt(host: string, port: number, path: string, timeoutMs: number): Promise<Look> {
  return new Promise((resolve) => {
    const request = httpRequest(
      { host, port, path, method: 'GET', agent: false, headers: { connection: 'close' } },
      (response) => {
        clearTimeout(timer);
        response.resume();
        response.once('error', () => undefined);
        resolve({ kind: 'answered', status: response.statusCode ?? 0 });
        request.destroy();
      },
    );
    const startedMs = performance.now();
    const late = (): void => {
      // If this process itself was held up, the answer may lie there unread: timers run before
      // sockets are read. Then nothing was learned yet, and the look goes on.
      const overMs = performance.now() - startedMs - timeoutMs;
      if (overMs > OWN_LAG_MS && !extended) {
        extended = true;
        timer = setTimeout(late, timeoutMs);
        return;
      }
      resolve({ kind: 'silent' });
      request.destroy();
    };
    let extended = false;
    let timer = setTimeout(late, timeoutMs);
    request.once('error', (error) => {
      clearTimeout(timer);
      const refused = 'code' in error && error.code === 'ECONNREFUSED';
      resolve({ kind: refused ? 'refused' : 'silent' });
    });
    request.end();
  });
}
