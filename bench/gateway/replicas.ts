// Replicas that can be broken on command, as children: where they listen, and what reached them.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { OTHER_CORE } from './bench.ts';
import { replicaName } from './kintsugi.ts';
import { end, start } from './peers.ts';
import type { FromReplica, Mode, ToReplica } from './replica.ts';

export interface BrokenReplica {
  readonly name: string;
  readonly port: number;
  readonly child: ChildProcess;
  /** Answers when it is in that mode. */
  set(mode: Mode): Promise<void>;
  /** When those requests were sent that it read since the last call, ms. */
  reached(): Promise<readonly number[]>;
  stop(): Promise<void>;
}

async function openReplica(
  at: number,
  env: Readonly<Record<string, string>>,
): Promise<BrokenReplica> {
  const name = replicaName(at);
  const script = join(import.meta.dirname, 'replica.ts');
  const child = start(OTHER_CORE, [process.execPath, script, name], { ...process.env, ...env });
  const next = async (): Promise<FromReplica> => {
    const [message] = (await once(child, 'message')) as [FromReplica];
    return message;
  };
  const ask = (message: ToReplica): Promise<FromReplica> => {
    const answer = next();
    child.send(message);
    return answer;
  };
  const first = await next();
  return {
    name,
    port: 'port' in first ? first.port : 0,
    child,
    set: async (mode) => void (await ask({ mode })),
    reached: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return [];
      const answer = await ask({ report: true });
      return 'reached' in answer ? answer.reached : [];
    },
    stop: () => end(child),
  };
}

export function openReplicas(
  count: number,
  env: Readonly<Record<string, string>> = {},
): Promise<BrokenReplica[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => openReplica(i, env)));
}
