// Does what the gateway shall write down about requests fit together, and keep what is secret?
//
//   CO1. Spans go to this machine or over TLS; what authorises them comes from a secret.
//   CO2. Credentials cannot be listed for the access log.
import { problem } from './checking.ts';
import type { Checking } from './checking.ts';
import { checkText } from './checks-references.ts';

const CREDENTIAL =
  /^(?:authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-kintsugi-.*)$/iu;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/u;

export function checkObserve(c: Checking): void {
  const { accessLog, tracing } = c.draft.gateway;
  for (const [i, name] of accessLog.headers.entries()) {
    if (!CREDENTIAL.test(name)) continue;
    const expected = 'no header that holds a credential or an identity';
    problem(c, 'KIN_MANIFEST_RANGE', `gateway.accessLog.headers[${i}]`, name, expected);
  }
  checkCollector(c, tracing.otlpUrl);
  for (const [name, value] of tracing.headers) {
    const path = `gateway.tracing.headers.${name}`;
    if (value === '') continue;
    checkText(c, path, value, { kind: 'url' });
    if (value.includes('${secret:')) continue;
    const expected = 'a text with ${secret:…} in it, so that it stands in no file in plain';
    problem(c, 'KIN_MANIFEST_RANGE', path, 'a text without a secret (not shown)', expected);
  }
  if (tracing.otlpUrl !== undefined || tracing.headers.size === 0) return;
  const expected = 'gateway.tracing.otlpUrl as well: nobody is sent them';
  problem(c, 'KIN_MANIFEST_CONFLICT', 'gateway.tracing.headers', 'headers', expected);
}

function checkCollector(c: Checking, text: string | undefined): void {
  if (text === undefined || text === '') return;
  const path = 'gateway.tracing.otlpUrl';
  const add = (found: string, expected: string): void =>
    problem(c, 'KIN_MANIFEST_RANGE', path, found, expected);
  const url = URL.parse(text);
  if (url === null) {
    add('no URL (not shown)', 'an https: URL, or http: of this machine');
  } else if (url.username !== '' || url.password !== '') {
    add('a URL with a password (not shown)', 'the credential under gateway.tracing.headers');
  } else if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) {
    add(`http: to ${url.host}, where anybody on the way could read`, 'https:');
  } else if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    add(`the protocol ${url.protocol}`, 'an https: URL, or http: of this machine');
  }
}
