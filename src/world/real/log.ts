// Where do the control plane's own words go? To a file or stderr, one JSON object a line, by pino.
//
//   LG1. Nothing secret-looking is written: fields by their name, URLs by their form.
//   LG2. A log that cannot be written never stops the one who writes.
import { pino } from 'pino';
import type { Log } from '../clock.ts';
import { redact, redactUrl } from './redact.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface OpenLog extends Log {
  close(): void;
}

/** `file` undefined: standard error. The file is made readable by its owner only. */
export function openLog(options: { readonly file?: string; readonly level: LogLevel }): OpenLog {
  const destination = pino.destination({
    dest: options.file ?? 2,
    mkdir: options.file !== undefined,
    mode: 0o600,
    append: true,
    sync: true,
  });
  // A full disk or a closed pipe is an event of the stream; unheard it would end the process.
  destination.on('error', () => undefined);
  const settings = { level: options.level, base: { pid: process.pid } };
  const logger = pino({ ...settings, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const write =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (text: string, fields?: Readonly<Record<string, unknown>>): void => {
      if (!logger.isLevelEnabled(level)) return;
      try {
        logger[level](redact(fields ?? {}) as object, redactUrl(text));
      } catch {
        // LG2.
      }
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    close: () => destination.end(),
  };
}

/** For tests and for tools that speak by other means. */
export const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
