// May `up` start here? Platform, folder, ports: each refusal names the cause and the fix, before
// anything is started.
import { readFileSync } from 'node:fs';
import { makeStateFolder } from '../../api/state-folder.ts';
import { KinError } from '../../model/errors.ts';
import type { Manifest } from '../../model/manifest.ts';
import { askPort } from '../processes.ts';

export function assertPlatform(platform: string = process.platform): void {
  if (platform === 'linux' || platform === 'darwin') return;
  throw new KinError(
    'KIN_PLATFORM_UNSUPPORTED',
    `Kintsugi does not run on ${platform}: it needs POSIX process groups and signals`,
    'Use Linux (WSL 2 works), or macOS for development.',
  );
}

export async function assertReady(stateDir: string, manifest: Manifest): Promise<void> {
  makeStateFolder(stateDir);
  const { gateway, control } = manifest;
  await assertPort(stateDir, gateway.host, gateway.port, 'the gateway', '--gateway-port');
  await assertPort(stateDir, control.host, control.port, 'the control API', '--control-port');
}

async function assertPort(
  stateDir: string,
  host: string,
  port: number,
  what: string,
  option: string,
): Promise<void> {
  if (port === 0) return;
  const answer = await askPort(host, port);
  if (answer.kind === 'free') return;
  if (answer.kind === 'unusable') {
    throw new KinError(
      'KIN_PORT_UNUSABLE',
      `${what} cannot listen on ${host}:${port}: ${answer.detail}`,
      `Choose another one with ${option} PORT, or correct it in the manifest.`,
    );
  }
  const { by } = answer;
  // Parts that outlived their init go on serving; the next init adopts them.
  if (by !== undefined && isOurs(by.pid, stateDir)) return;
  const taker = by === undefined ? 'another program' : `pid ${by.pid} (${by.name})`;
  throw new KinError(
    'KIN_PORT_TAKEN',
    `port ${port} for ${what} is taken by ${taker}`,
    `Stop it, or choose another port: ${option} PORT.`,
  );
}

function isOurs(pid: number, stateDir: string): boolean {
  try {
    const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return pairs.includes(`KINTSUGI_PART_STATE=${stateDir}`);
  } catch {
    return false;
  }
}
