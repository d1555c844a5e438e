// What do the rows of the bench share? The options, the service's own boot time, the contenders,
// and the shape of a report. A row gets contenders that no other row has broken: each is opened
// when the row first asks for it, and closed when the row is over.
import { writeApp } from './app.ts';
import type { App } from './app.ts';
import { boots, warmCompileCache } from './boot.ts';
import { openKintsugi } from './kintsugi.ts';
import type { Kintsugi } from './kintsugi.ts';
import { median } from './numbers.ts';
import { openPm2 } from './pm2.ts';
import type { Pm2 } from './pm2.ts';
import { makeFolder } from './processes.ts';
import { openRespawn } from './respawn.ts';
import type { Respawn } from './respawn.ts';

export interface Options {
  readonly json: boolean;
  readonly check: boolean;
  readonly quick: boolean;
  readonly only: readonly string[];
  readonly rounds: number | undefined;
  readonly peers: boolean;
}

export interface Bar {
  readonly what: string;
  readonly wanted: string;
  readonly got: string;
  readonly state: 'met' | 'missed' | 'not measured';
}

export interface RowReport {
  readonly name: string;
  readonly title: string;
  /** The first line is the head. */
  readonly table: readonly (readonly string[])[];
  readonly bars: readonly Bar[];
  readonly notes: readonly string[];
  /** Share of the machine that others used right before this row, when nothing of ours ran. */
  readonly others?: number | undefined;
  /** Where the time goes inside Kintsugi: lines of text. */
  readonly inside: readonly string[];
  readonly data: unknown;
}

export interface BootFacts {
  /** With nothing else going on here. */
  readonly quietMs: readonly number[];
  /** While the load of the row was on. */
  readonly loadedMs: number[];
}

export interface Bench {
  readonly options: Options;
  readonly app: App;
  readonly boot: BootFacts;
  readonly say: (text: string) => void;
  readonly kintsugi: () => Promise<Kintsugi>;
  readonly pm2: () => Promise<Pm2>;
  readonly respawn: () => Promise<Respawn>;
  /** Between two rows. */
  readonly closeAll: () => Promise<void>;
}

export async function openBench(options: Options, say: (text: string) => void): Promise<Bench> {
  const app = writeApp(makeFolder());
  await warmCompileCache(app);
  const quietMs = await boots(app, options.quick ? 5 : 10);
  say(`the service boots by itself in ${Math.round(median(quietMs) ?? 0)} ms`);
  const kintsugi = kept(() => openKintsugi(app));
  const pm2 = kept(() => openPm2(app));
  const respawn = kept(() => openRespawn(app));
  return {
    options,
    app,
    boot: { quietMs, loadedMs: [] },
    say,
    kintsugi: kintsugi.open,
    pm2: pm2.open,
    respawn: respawn.open,
    closeAll: async () => {
      for (const one of [kintsugi, pm2, respawn]) await one.close();
    },
  };
}

interface Kept<T> {
  readonly open: () => Promise<T>;
  readonly close: () => Promise<void>;
}

/** The same one until it is closed, then another. */
function kept<T extends { close(): Promise<void> }>(open: () => Promise<T>): Kept<T> {
  let opened: Promise<T> | undefined;
  return {
    open: () => (opened ??= open()),
    close: async () => {
      const last = opened;
      opened = undefined;
      await (await last?.catch(() => undefined))?.close();
    },
  };
}

export function bar(what: string, wanted: string, got: string, isMet: boolean): Bar {
  return { what, wanted, got, state: isMet ? 'met' : 'missed' };
}

/** The default, unless `--quick` or `--rounds` say otherwise. */
export function roundsOf(options: Options, usual: number, quick: number): number {
  return options.rounds ?? (options.quick ? quick : usual);
}
