// Which running processes belong to this state folder? Told by marks in their environment, which a
// process cannot lose. Replicas carry the socket of their control plane, which is this folder's
// own.
//
//   OWN1. Only processes of this user with the mark of exactly this folder are ever answered.
import { readdirSync, readFileSync } from 'node:fs';
import { statePaths } from '../../api/state-folder.ts';
import { identify, isAlive } from '../processes.ts';
import type { ProcessId } from '../processes.ts';

/** Set for init, controller and gateways; the name of the part. */
export const PART_VARIABLE = 'KINTSUGI_PART';
export const PART_STATE_VARIABLE = 'KINTSUGI_PART_STATE';

export interface OwnProcess {
  readonly id: ProcessId;
  /** `init`, `controller`, `gateway-1`, or the id of a replica. */
  readonly part: string;
  readonly kind: 'part' | 'replica';
}

export function partEnvironment(stateDir: string, part: string): Record<string, string> {
  return { [PART_VARIABLE]: part, [PART_STATE_VARIABLE]: stateDir };
}

/** Empty where there is no /proc to look into. */
export function ownProcesses(stateDir: string): readonly OwnProcess[] {
  const { socket } = statePaths(stateDir);
  return processIds().flatMap((pid): readonly OwnProcess[] => {
    const pairs = environmentOf(pid);
    const value = (name: string): string | undefined =>
      pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
    const id = identify(pid);
    if (pid === process.pid || !isAlive(id)) return [];
    if (value(PART_STATE_VARIABLE) === stateDir) {
      return [{ id, part: value(PART_VARIABLE) ?? 'unknown', kind: 'part' }];
    }
    const replica = value('KINTSUGI_REPLICA');
    if (replica !== undefined && value('KINTSUGI_SOCKET') === socket) {
      return [{ id, part: replica, kind: 'replica' }];
    }
    return [];
  });
}

function processIds(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isSafeInteger);
  } catch {
    return [];
  }
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
