// How do frames travel on the unix socket? One JSON value a line, with a limit on its length.
//
//   LI1. A line past its limit, or one that is not JSON, ends the connection; nothing is guessed.
import { StringDecoder } from 'node:string_decoder';

/** Table frames hold every tenant and key. */
export const TABLE_LINE_MAX = 16 * 1_024 * 1_024;
export const GATEWAY_LINE_MAX = 4 * 1_024 * 1_024;
export const SDK_LINE_MAX = 64 * 1_024;

export type LineFault = 'too-long' | 'not-json';

export interface LineReader {
  /** Feeds bytes; calls `onValue` for each complete line. Answers a fault, then reads no more. */
  feed(bytes: Uint8Array): LineFault | undefined;
  charsMax: number;
}

export function openLines(charsMax: number, onValue: (value: unknown) => void): LineReader {
  const decoder = new StringDecoder('utf8');
  let parts: string[] = [];
  let size = 0;
  let fault: LineFault | undefined;
  const reader: LineReader = {
    charsMax,
    feed(bytes) {
      if (fault !== undefined) return fault;
      let text = decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = parts.join('') + text.slice(0, end);
        text = text.slice(end + 1);
        parts = [];
        size = 0;
        if (line.length > reader.charsMax) return (fault = 'too-long');
        const value = parse(line);
        if (value === undefined) return (fault = 'not-json');
        onValue(value);
      }
      parts.push(text);
      size += text.length;
      if (size > reader.charsMax) fault = 'too-long';
      return fault;
    },
  };
  return reader;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
