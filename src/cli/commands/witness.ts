// `witness`: cosigns the checkpoints of other people's logs, until it is interrupted. See
// docs/guide/witnesses.md.
import { resolve } from 'node:path';
import type { Context } from '../context.ts';
import { watchInterruption } from '../context.ts';
import { EXIT } from '../exit.ts';
import { readNamedText } from '../offline/place.ts';
import { harmless } from '../style.ts';

export interface WitnessOptions {
  readonly dir: string;
  readonly name: string | undefined;
  readonly logs: string;
  readonly host: string;
  readonly port: number;
}

export async function witnessCommand(context: Context, options: WitnessOptions): Promise<number> {
  const { startWitness } = await import('@kintsugi/ledger');
  const logs = readNamedText(context, options.logs);
  const { host, port, name } = options;
  const interruption = watchInterruption();
  const say = (value: object, text: string): void =>
    context.term.out(`${context.globals.json ? JSON.stringify(value) : text}\n`);
  const witness = await startWitness({
    dir: resolve(context.cwd, options.dir),
    ...(name === undefined ? {} : { name }),
    logs,
    host,
    port,
    onEvent: (event) => {
      if (event.kind === 'cosigned') say(event, `cosigned ${event.size} of ${event.origin}`);
      else if (event.kind === 'refused') {
        say(event, `refused with ${event.status}: ${harmless(event.reason)}`);
      } else {
        // Both checkpoints are in the file that the guide names; here only the alarm.
        const { kind, origin, size } = event;
        say({ kind, origin, size }, `CONTRADICTION: ${origin} signed two trees of size ${size}`);
      }
    },
  });
  try {
    const { address, vkeys, origins } = witness;
    say(
      { kind: 'started', ...address, name: witness.name, vkeys, origins },
      [
        `witness ${witness.name} at ${address.url}, for ${origins.length} logs`,
        ...vkeys.map((vkey) => `key ${vkey}`),
        ...origins.map((origin) => `log ${origin}`),
      ].join('\n'),
    );
    if (!interruption.signal.aborted) {
      await new Promise<void>((done) => {
        interruption.signal.addEventListener('abort', () => done(), { once: true });
      });
    }
    return EXIT.ok;
  } finally {
    interruption.end();
    await witness.close();
  }
}
