// How long until the clinic stands? The command of `npm start` on a state folder that is not there
// yet (the store, a PostgreSQL, keys and releases are made), and then on the same folder again.
import { join } from 'node:path';
import { ownProcesses } from '../../../src/cli/up/own.ts';
import { bar } from '../bench.ts';
import type { Bench, RowReport } from '../bench.ts';
import { nowMs, until } from '../clock.ts';
import { kintsugi } from '../kintsugi.ts';
import { median, msText, spreadText } from '../numbers.ts';
import { atEnd, freePorts, makeFolder, signal } from '../processes.ts';

const MANIFEST = join(import.meta.dirname, '../../../examples/clinic/kintsugi.yaml');
const FIRST_MAX_MS = 30_000;
const LATER_MAX_MS = 5_000;

export async function startRow(bench: Bench): Promise<RowReport> {
  const rounds = bench.options.rounds ?? (bench.options.quick ? 1 : 3);
  const first: number[] = [];
  const later: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    bench.say(`start: round ${round} of ${rounds}`);
    const clinic = await place();
    first.push(await clinic.up());
    await clinic.down();
    later.push(await clinic.up());
    await clinic.down();
  }
  return {
    name: 'start',
    title: 'start of the clinic: from the command to "everything is up"; 3 services, a database',
    table: [
      ['', 'p50 (least–most)'],
      ['first start, nothing there yet', spreadText(first)],
      ['later start', spreadText(later)],
    ],
    bars: [
      startBar('first start, p50', first, FIRST_MAX_MS),
      startBar('later start, p50', later, LATER_MAX_MS),
    ],
    notes: [],
    inside: [],
    data: { first, later },
  };
}

function startBar(
  what: string,
  took: readonly number[],
  mostMs: number,
): RowReport['bars'][number] {
  const middle = median(took);
  const isMet = middle !== undefined && middle <= mostMs;
  return bar(what, `≤ ${msText(mostMs)}`, msText(middle), isMet);
}

interface Clinic {
  /** Milliseconds until the command has answered. */
  up(): Promise<number>;
  down(): Promise<void>;
}

async function place(): Promise<Clinic> {
  const state = join(makeFolder(), 'state');
  const [gateway = 0, control = 0] = await freePorts(2);
  const at = ['--state', state, '--gateway-port', String(gateway), '--control-port', `${control}`];
  const down = async (): Promise<void> => {
    await kintsugi(['down', '--state', state]).catch(() => undefined);
    for (const { id } of ownProcesses(state)) signal(id.pid, 'SIGKILL');
    await until(5_000, () => ownProcesses(state).length === 0);
  };
  atEnd(down);
  return {
    async up() {
      const fromMs = nowMs();
      await kintsugi([...at, 'up', MANIFEST, '--detach', '--json']);
      return nowMs() - fromMs;
    },
    down,
  };
}
