// What an exchange needs of its client's connection.
import type { PeerCertificate } from './hooks.ts';
import type { AnswerSink } from './incoming.ts';
import type { ReadBuffer } from './read-buffer.ts';

export interface ClientSide extends AnswerSink {
  readonly remoteAddress: string;
  /** Undefined: http. */
  readonly scheme?: 'http' | 'https';
  readonly peer?: PeerCertificate | undefined;
  /** Of the hooks; lives as long as the connection. */
  memo?: unknown;
  /** May another request follow, for all that the client asked? */
  readonly mayKeep: boolean;
  /** Is more of what was just read about to be handed over? */
  readonly isTaking: boolean;
  /** Bytes handed over are overwritten by the next read. */
  readonly isBorrowed: boolean;
  /** Where they lie, if that may be the connection's own: then they are lent, not copied (RB1). */
  readonly read?: ReadBuffer;
  /** Of the request's body, so far. */
  bodyBytes(): number;
  /** False: `onClientDrain` follows. */
  writeText(text: string): boolean;
  pauseBody(): void;
  resumeBody(): void;
  /** Infinity once the head of the answer is on its way. */
  setTotal(ms: number): void;
  startTunnel(): void;
  cut(): void;
  over(keep: boolean): void;
}
