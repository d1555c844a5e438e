// How does one start a witness? Folder, lock, keys, logs, socket: the single entry for the command
// line and for tests. It serves this machine only unless a host is named.
// WA1. The state folder belongs to its owner: a link in its place, or one that others may write,
//      is refused.

import { lstat } from 'node:fs/promises';
import { LedgerError } from '../errors.ts';
import { systemClock } from '../files.ts';
import type { Files } from '../files.ts';
import { nodeFiles } from '../node-files.ts';
import { validKeyName } from '../note.ts';
import type { Signer } from '../note.ts';
import { listen } from './http-server.ts';
import { createWitnessKeys, loadWitnessKeys } from './keys.ts';
import type { CosignerKind } from './keys.ts';
import { checkLogs, parseWitnessLogs } from './logs-file.ts';
import { openWitnessStore } from './store.ts';
import { Witness } from './witness.ts';
import type { WitnessEvent, WitnessedLog } from './witness.ts';

export interface StartWitnessOptions {
  /** State folder: key file and one record a log. Made when it is missing. */
  readonly dir: string;
  /** Key name, a URL without scheme. Needed at the first start; later it must be the same. */
  readonly name?: string;
  /** The logs, or the text of a list of them (`log <vkey>` lines). */
  readonly logs: readonly WitnessedLog[] | string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Kinds of keys to make at the first start. Default both. */
  readonly keyKinds?: readonly CosignerKind[];
  /** Default `<dir>/witness.key`. */
  readonly keyFile?: string;
  readonly connectionsMax?: number;
  readonly onEvent?: (event: WitnessEvent) => void;
  readonly nowMs?: () => number;
  readonly files?: Files;
}

export interface RunningWitness {
  readonly address: { readonly host: string; readonly port: number; readonly url: string };
  readonly name: string;
  /** What the operators of logs put into their policies. */
  readonly vkeys: readonly string[];
  readonly origins: readonly string[];
  close(): Promise<void>;
}

export async function startWitness(options: StartWitnessOptions): Promise<RunningWitness> {
  const logs =
    typeof options.logs === 'string' ? parseWitnessLogs(options.logs) : checkLogs(options.logs);
  const files = options.files ?? nodeFiles();
  const dir = options.dir.replace(/\/+$/, '');
  if (dir === '') throw invalid('dir is empty');
  const store = await openStore(files, dir);
  try {
    const cosigners = await keysOf(files, dir, options);
    const witness = new Witness({
      logs,
      cosigners,
      store,
      nowMs: options.nowMs ?? (() => systemClock.nowMs()),
      ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
    });
    const listening = await listen(witness, {
      host: options.host ?? '127.0.0.1',
      port: options.port ?? 0,
      connectionsMax: options.connectionsMax ?? 256,
    });
    const { host, port } = listening;
    const shown = host.includes(':') ? `[${host}]` : host;
    return {
      address: { host, port, url: `http://${shown}:${port}` },
      name: cosigners[0]?.name ?? '',
      vkeys: cosigners.map(({ vkey }) => vkey),
      origins: logs.map(({ origin }) => origin),
      close: async () => {
        await listening.close();
        await store.close();
      },
    };
  } catch (cause) {
    await store.close();
    throw cause;
  }
}

/** WA1: looked at after it was made, so that a link planted before is seen. */
async function openStore(files: Files, dir: string): ReturnType<typeof openWitnessStore> {
  await files.mkdir(dir);
  const stat = await lstat(dir);
  if (!stat.isDirectory()) throw invalid(`${dir} is not a folder`);
  if ((stat.mode & 0o022) !== 0) throw invalid(`others may write into ${dir}`);
  return openWitnessStore(files, dir);
}

async function keysOf(
  files: Files,
  dir: string,
  options: StartWitnessOptions,
): Promise<readonly Signer[]> {
  const { name } = options;
  const path = options.keyFile ?? `${dir}/witness.key`;
  const found = await loadWitnessKeys(path);
  if (found !== undefined) {
    if (name !== undefined && found[0]?.name !== name) {
      throw new LedgerError('KIN_LEDGER_WRONG_KEY', `${path} belongs to another name than ${name}`);
    }
    return found;
  }
  if (name === undefined || !validKeyName(name)) {
    throw invalid('a new witness needs a name: a URL without scheme, without spaces and plus');
  }
  return createWitnessKeys(files, path, name, options.keyKinds);
}

function invalid(why: string): LedgerError {
  return new LedgerError('KIN_LEDGER_OPTION_INVALID', why);
}
