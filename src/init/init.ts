// Who keeps the control plane itself up? This small program, started detached by the CLI:
//   node init.ts <state>/init.json
// It needs nothing but Node, so that it does not fall with what it supervises.
//
//   IN5. One init a state folder. `<state>/init.pid` holds its pid and start time,
//        `<state>/init-status.json` what it sees, `<state>/init.log` what it did.
//   SIGTERM or SIGINT: ends the children in order, then itself with 0; a second one hurries.
//   SIGHUP: reads the configuration again.
import { createHash } from 'node:crypto';
import { realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readConfig } from './config.ts';
import { claim, readClaim } from './files.ts';
import { identityOf } from './identity.ts';
import { Supervisor } from './supervisor.ts';

/** sysexits(3), as the CLI documents them. */
const EXIT_USAGE = 64;
const EXIT_UNAVAILABLE = 69;
const EXIT_CONFIG = 78;

const CLAIM_POLL_MS = 1000;

function fail(exitCode: number, code: string, cause: string, fix: string): never {
  process.stderr.write(`error ${code}\n  cause: ${cause}\n  fix:   ${fix}\n`);
  process.exit(exitCode);
}

function main(configPath: string | undefined): void {
  if (configPath === undefined)
    fail(EXIT_USAGE, 'KIN_INIT_USAGE', 'no configuration named', 'init STATE/init.json');
  const config = readConfig(configPath);
  if (config.kind === 'invalid') {
    const cause = `${configPath} cannot be used: ${config.why}`;
    fail(EXIT_CONFIG, 'KIN_INIT_CONFIG', cause, 'start Kintsugi by `kintsugi up`');
  }
  const state = realpathSync(dirname(configPath));
  const own = identityOf(process.pid) ?? { pid: process.pid, start: '' };
  const pidFile = join(state, 'init.pid');
  const other = claim(pidFile, own);
  if (other !== undefined) {
    const cause = `another init, pid ${other.pid}, runs on ${state}`;
    fail(EXIT_UNAVAILABLE, 'KIN_INIT_RUNNING', cause, '`kintsugi down` stops it');
  }
  const stateId = createHash('sha256').update(state).digest('hex').slice(0, 16);
  const paths = {
    status: join(state, 'init-status.json'),
    log: join(state, 'init.log'),
    stateId,
  };
  const supervisor = new Supervisor(paths, own);
  const end = (): void => {
    void supervisor.close().then((isOver) => {
      if (!isOver) return;
      if (readClaim(pidFile)?.pid === own.pid) rmSync(pidFile, { force: true });
      process.exit(0);
    });
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => {
    const again = readConfig(configPath);
    if (again.kind === 'config') supervisor.reload(again.children);
    else supervisor.refuse(again.why);
  });
  supervisor.open(config.children);
  // Should the file go away, it is made again; should it be another's, the children are theirs.
  setInterval(() => {
    if (readClaim(pidFile)?.pid === own.pid) return;
    if (claim(pidFile, own) !== undefined) process.exit(EXIT_UNAVAILABLE);
  }, CLAIM_POLL_MS).unref();
}

main(process.argv[2]);
