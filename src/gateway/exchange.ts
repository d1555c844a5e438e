// What does the proxy see of an HTTP server? One request and the answer to it, free of node:http,
// so that another front (a parser of our own, TLS, HTTP/2) can take its place.
//
//   EX1. `begin` at most once; after `end` or `abort` nothing is written.
//   EX2. `onGone` fires once if the client leaves before the answer is whole, and else never.
import type { Readable } from 'node:stream';

export interface Exchange {
  readonly method: string;
  /** Origin-form target as received. */
  readonly target: string;
  /** Names and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  /** Lower-case name; repeated headers are joined or cut down by the front's own rules. */
  header(name: string): string | undefined;
  readonly remoteAddress: string;
  readonly body: RequestBody;
  readonly begun: boolean;
  begin(status: number, rawHeaders: string[]): void;
  /** False: wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  onDrain(resume: () => void): void;
  end(chunk?: Uint8Array): void;
  /** Cuts the connection, so that the client cannot take a torn answer for a whole one. */
  abort(): void;
  onGone(listener: () => void): void;
}

export type RequestBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly bytes: number; readonly stream: Readable }
  | { readonly kind: 'chunked'; readonly stream: Readable };
