// `unit`: a systemd unit for this manifest. Printed, never installed: that is the operator's act.
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { KinError } from '../../model/errors.ts';
import { manifestPath, stateDirOf } from '../connect.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../exit.ts';

export interface UnitPlaces {
  readonly node: string;
  readonly cli: string;
  readonly manifest: string;
  readonly stateDir: string;
  readonly user: string;
}

export function unitCommand(context: Context, manifest: string | undefined): number {
  const path = manifestPath(context, manifest);
  const places: UnitPlaces = {
    node: process.execPath,
    cli: join(
      import.meta.dirname,
      '..',
      import.meta.filename.endsWith('.ts') ? NAMES.ts : NAMES.js,
    ),
    manifest: path,
    stateDir: stateDirOf(context, path),
    user: userInfo().username,
  };
  context.term.out(unitText(places));
  return EXIT.ok;
}

const NAMES = { ts: 'kintsugi.ts', js: 'kintsugi.js' };

/**
 * `up --detach` starts init and ends; systemd then watches over the control group. `reload` applies
 * a changed manifest, and starts init again should it have died; what serves is adopted.
 */
export function unitText(places: UnitPlaces): string {
  const { node, cli, manifest, stateDir, user } = places;
  const up = [node, cli, 'up', manifest, '--state', stateDir].map(quoted).join(' ');
  const down = [node, cli, 'down', '--state', stateDir].map(quoted).join(' ');
  return `[Unit]
Description=Kintsugi control plane for ${plain(manifest)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
User=${plain(user)}
WorkingDirectory=${plain(dirname(manifest))}
ExecStart=${up} --detach
ExecReload=${up} --detach
ExecStop=${down}
Delegate=yes
TimeoutStartSec=200
TimeoutStopSec=180
UMask=0077
NoNewPrivileges=yes
PrivateTmp=no
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}

/** systemd splits at spaces, expands `%` and `$`. */
function quoted(word: string): string {
  const safe = plain(word).replaceAll('$', '$$$$');
  return /^[\w./@:%+$-]+$/u.test(safe) ? safe : `"${safe.replaceAll(/["\\]/gu, String.raw`\$&`)}"`;
}

function plain(word: string): string {
  // oxlint-disable-next-line no-control-regex -- a line break would begin another setting.
  if (/[\u{0}-\u{1f}]/u.test(word)) {
    throw new KinError(
      'KIN_USAGE',
      'a path with control characters cannot stand in a systemd unit',
      'Rename the folder.',
    );
  }
  return word.replaceAll('%', '%%');
}
