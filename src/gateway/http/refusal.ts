// Why is a message not accepted? One closed list for both directions. A refused request is answered
// with its status and the connection is closed; a refused response becomes a 502 with its code.

export type RefusalStatus = 400 | 408 | 413 | 414 | 417 | 431 | 501 | 505;

export interface Refusal {
  readonly status: RefusalStatus;
  readonly code: RefusalCode;
  readonly reason: string;
}

const LIST = {
  'bad-method': [400, 'the method is not a token'],
  'method-unknown': [501, 'the method is not spelled like one'],
  'method-unsupported': [501, 'CONNECT and TRACE are not served here'],
  'bad-target': [400, 'the request target is not a path, a URL of this host, or *'],
  'target-too-long': [414, 'the request target is too long'],
  'bad-version': [400, 'the version is not HTTP/x.y'],
  'version-unsupported': [505, 'only HTTP/1.1 and HTTP/1.0 are spoken here'],
  'bad-status-line': [400, 'the status line is malformed'],
  'bare-lf': [400, 'a line ends without CR'],
  'bare-cr': [400, 'a CR stands without LF'],
  nul: [400, 'a NUL byte'],
  'control-char': [400, 'a control character in a field'],
  'obs-fold': [400, 'a folded header line'],
  'space-before-colon': [400, 'white space before the colon of a field'],
  'bad-field-name': [400, 'a field name is not a token'],
  'look-alike-field': [400, 'a field name that some servers read as a framing field'],
  'head-too-large': [431, 'the head is too large'],
  'too-many-fields': [431, 'too many header fields'],
  'host-missing': [400, 'no Host field'],
  'host-repeated': [400, 'more than one Host field'],
  'bad-host': [400, 'the Host field is not a host and port'],
  'host-mismatch': [400, 'the request target names another host than the Host field'],
  'bad-content-length': [400, 'Content-Length is not one plain number'],
  'content-length-repeated': [400, 'more than one Content-Length'],
  'length-and-coding': [400, 'both Content-Length and Transfer-Encoding'],
  'bad-coding': [400, 'Transfer-Encoding is malformed, repeated, or chunked is not its end'],
  'coding-unknown': [501, 'a transfer coding other than chunked'],
  'coding-in-http10': [400, 'Transfer-Encoding in HTTP/1.0'],
  'bad-connection': [400, 'Connection is malformed or names a field that must stay'],
  'expectation-unknown': [417, 'an expectation other than 100-continue'],
  'bad-chunk-size': [400, 'a chunk size is malformed or too large'],
  'chunk-extension-too-large': [400, 'too many bytes of chunk extensions'],
  'bad-chunk-extension': [400, 'a chunk extension is malformed'],
  'bad-chunk-end': [400, 'a chunk does not end where it said'],
  'bad-trailer': [400, 'a trailer field is malformed'],
  'trailers-too-large': [431, 'the trailer section is too large'],
  'body-too-large': [413, 'the body is too large'],
  'head-timeout': [408, 'the head came too slowly'],
  'body-timeout': [408, 'the body came too slowly'],
  'body-on-empty': [400, 'a length or coding where no body may be'],
  'too-many-interim': [400, 'too many interim responses'],
  'unasked-upgrade': [400, 'a switch of protocols that nobody asked for'],
  'early-end': [400, 'the connection ended inside a message'],
} as const satisfies Readonly<Record<string, readonly [RefusalStatus, string]>>;

export type RefusalCode = keyof typeof LIST;

const made = new Map<RefusalCode, Refusal>();
for (const [code, [status, reason]] of Object.entries(LIST)) {
  const key = code as RefusalCode;
  made.set(key, Object.freeze({ status, code: key, reason }));
}

export const refusalCodes: readonly RefusalCode[] = [...made.keys()];

export function refusalOf(code: RefusalCode): Refusal {
  const found = made.get(code);
  if (found === undefined) throw new Error(`no refusal ${code}`);
  return found;
}
