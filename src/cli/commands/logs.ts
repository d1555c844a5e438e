// `logs`: what a replica, the controller, a gateway or init wrote. Our own logs are read from the
// state folder, so that they can be read when nothing answers any more.
import type { LogPart } from '../../api/contract.ts';
import { connect, findStateDir } from '../connect.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../exit.ts';
import { persist } from '../follow.ts';
import { ownLogs } from '../logs.ts';
import { harmless } from '../style.ts';

export interface LogsOptions {
  readonly follow: boolean;
  readonly bytes: number;
}

const POLL_MS = 500;
const OWN = /^(?:controller|init|gateway(?:-\d+)?|access(?:-gateway-\d+)?)$/u;

export async function logsCommand(
  context: Context,
  target: string,
  options: LogsOptions,
): Promise<number> {
  const read = readerFor(context, target);
  let before = await read(options.bytes);
  print(context, before, before.length > 1);
  // Ends with Ctrl-C (the default action of SIGINT).
  while (options.follow) {
    await context.sleep(POLL_MS);
    const now = await read(Math.max(options.bytes, 65_536));
    const fresh = now.flatMap((part) => {
      const old = before.find((p) => p.source === part.source)?.text ?? '';
      const text = newText(old, part.text);
      return text === '' ? [] : [{ ...part, text }];
    });
    print(context, fresh, now.length > 1);
    before = now;
  }
  return EXIT.ok;
}

function readerFor(context: Context, target: string) {
  if (OWN.test(target)) {
    const dir = findStateDir(context);
    return (bytes: number): Promise<readonly LogPart[]> =>
      Promise.resolve(ownLogs(dir, target, bytes));
  }
  const { client } = connect(context);
  return (bytes: number): Promise<readonly LogPart[]> =>
    persist(context, () => client.logs(target, bytes));
}

/**
 * What is behind the old tail in the new one; all of it when the old tail is not in it any more.
 */
export function newText(old: string, now: string): string {
  if (old === '') return now;
  if (now.startsWith(old)) return now.slice(old.length);
  const mark = old.slice(-512);
  const at = now.lastIndexOf(mark);
  return at < 0 ? now : now.slice(at + mark.length);
}

function print(context: Context, parts: readonly LogPart[], many: boolean): void {
  if (context.globals.json) {
    for (const part of parts) context.term.out(`${JSON.stringify(part)}\n`);
    return;
  }
  for (const { source, text } of parts) {
    if (text === '') continue;
    const lines = text.replace(/\n$/u, '').split('\n').map(harmless);
    const prefix = many ? `${context.paint.cyan(source)} | ` : '';
    context.term.out(`${lines.map((line) => `${prefix}${line}`).join('\n')}\n`);
  }
}
