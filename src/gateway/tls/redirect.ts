// What does the plain port beside a TLS port say? Go there instead: 308, so that a method and its
// body are kept, to the same host and path. Nothing that comes in on it reaches a replica.
import type { Decision, ExchangeView, Hooks } from '../http/hooks.ts';

const CLOSE_SOON = 'cache-control: no-store\r\n';

/** `port`: where TLS is spoken. */
export function redirectHooks(port: () => number, onBug: (error: unknown) => void): Hooks {
  return {
    onRequestHead: (view) => redirect(view, port()),
    onAttemptEnd: () => undefined,
    onExchangeEnd: () => undefined,
    onBug,
  };
}

function redirect({ head }: ExchangeView, port: number): Decision {
  // The parser lets through only a plain host and port, and a target without spaces or controls.
  const host = head.host.replace(/:\d{1,5}$/u, '');
  const { path } = head;
  const to = `https://${host}${port === 443 ? '' : `:${port}`}${path === '*' ? '/' : path}`;
  return {
    kind: 'answer',
    status: 308,
    headers: `location: ${to}\r\n${CLOSE_SOON}`,
    body: '',
  };
}
