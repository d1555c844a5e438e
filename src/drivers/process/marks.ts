// By which marks is a process recognised as ours? By the environment that it was started with: it
// is there from the first instruction on, and children inherit it.
import type { MarkedProcess } from './machine.ts';

/** Reads the marks out of `NAME=value` pairs; undefined when they are another owner's. */
export function marksIn(
  pairs: readonly string[],
  owner: string,
): Omit<MarkedProcess, 'facts'> | undefined {
  const value = (name: string): string =>
    pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
  if (value('KINTSUGI_OWNER') !== owner) return undefined;
  const port = Number(value('PORT'));
  return {
    replica: value('KINTSUGI_REPLICA'),
    service: value('KINTSUGI_SERVICE'),
    release: value('KINTSUGI_RELEASE'),
    port: Number.isInteger(port) && port > 0 && port < 65_536 ? port : 0,
  };
}
