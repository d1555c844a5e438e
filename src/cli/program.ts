// Which commands are there, and what does each take? The whole surface as one list; what a command
// does is loaded only when it is called, so that a start stays fast.
//
//   PG1. A command that does not exist, or a wrong argument, exits 2 and names the next likely
//        thing.
import { quarantine } from './quarantine-command.ts';
import { Argument, Command, CommanderError, Option } from 'commander';
import { text, must, yes, numeric, whole, SERVICE, MANIFEST, LIMIT, FOLLOW } from './spec.ts';
import type { MakeContext, Options, Spec } from './spec.ts';
import { evidence } from './evidence-commands.ts';
import { KinError } from '../model/errors.ts';
import type { Context, Globals } from './context.ts';
import { EXIT } from './exit.ts';

const manage: readonly Spec[] = [
  {
    words: 'init',
    about: 'write a manifest for the service in this folder',
    options: [
      new Option('-y, --yes', 'take every guess without asking'),
      new Option('--force', 'overwrite an existing manifest'),
      new Option('--print', 'print it, write nothing'),
    ],
    run: async (context, _args, o) =>
      (await import('./commands/manifest.ts')).initCommand(context, {
        yes: yes(o['yes']),
        force: yes(o['force']),
        print: yes(o['print']),
      }),
  },
  {
    words: 'validate',
    about: 'check the manifest: every problem with its line, what was expected, what to write',
    args: [MANIFEST],
    run: async (context, [manifest]) =>
      (await import('./commands/manifest.ts')).validateCommand(context, text(manifest)),
  },
  {
    words: 'plan',
    about: 'show what `up` would change',
    args: [MANIFEST],
    run: async (context, [manifest]) =>
      (await import('./commands/manifest.ts')).planCommand(context, text(manifest)),
  },
  {
    words: 'up',
    about: 'bring everything up, or apply the difference to what runs',
    args: [MANIFEST],
    options: [new Option('-d, --detach', 'leave it running in the background')],
    run: async (context, [manifest], o) =>
      (await import('./commands/up.ts')).upCommand(context, text(manifest), {
        detach: yes(o['detach']),
      }),
  },
  {
    words: 'down',
    about: 'stop everything cleanly, and wait until all of it is gone',
    run: async (context) => (await import('./commands/down.ts')).downCommand(context),
  },
  {
    words: 'unit',
    about: 'print a systemd unit for this manifest',
    args: [MANIFEST],
    run: async (context, [manifest]) =>
      (await import('./commands/unit.ts')).unitCommand(context, text(manifest)),
  },
];

const watch: readonly Spec[] = [
  {
    words: 'status',
    about: 'what runs, where, since when, what is being healed',
    run: async (context) => (await import('./commands/watch.ts')).statusCommand(context),
  },
  {
    words: 'top',
    about: 'the same, live',
    run: async (context) => (await import('./commands/watch.ts')).topCommand(context),
  },
  {
    words: 'logs',
    about: 'what a replica, a service, the controller, init or the gateway wrote',
    args: [new Argument('[target]', 'replica, service or part').default('controller')],
    options: [
      new Option('-f, --follow', 'go on as more is written'),
      new Option('-b, --bytes <n>', 'how much of its end')
        .argParser(whole(1, 1_048_576))
        .default(16_384),
    ],
    run: async (context, [target], o) =>
      (await import('./commands/logs.ts')).logsCommand(context, must(target), {
        follow: yes(o['follow']),
        bytes: numeric(o['bytes']),
      }),
  },
  {
    words: 'incidents',
    about: 'what went wrong, newest first',
    options: [LIMIT, new Option('--open', 'only those that are not healed')],
    run: async (context, _args, o) =>
      (await import('./commands/watch.ts')).incidentsCommand(context, {
        limit: numeric(o['limit']),
        open: yes(o['open']),
      }),
  },
  {
    words: 'explain',
    about:
      'the story of an incident: signals, findings, diagnosis, decision, acts, verdict, proofs',
    args: [new Argument('[incident]', 'id (default: the newest)')],
    run: async (context, [id]) =>
      (await import('./commands/watch.ts')).explainCommand(context, text(id)),
  },
  {
    words: 'runs',
    about: 'what was done, newest first',
    options: [LIMIT],
    run: async (context, _args, o) =>
      (await import('./commands/watch.ts')).runsCommand(context, { limit: numeric(o['limit']) }),
  },
];

const act: readonly Spec[] = [
  {
    words: 'deploy',
    about: 'make a release of a folder and roll it out; exit 1 when it was rolled back',
    args: [SERVICE],
    options: [
      new Option('-r, --release <path>', 'folder of the artefact').makeOptionMandatory(),
      FOLLOW,
    ],
    run: async (context, [service], o) =>
      (await import('./commands/act.ts')).deployCommand(context, must(service), {
        release: must(o['release']),
        follow: yes(o['follow']),
      }),
  },
  {
    words: 'rollback',
    about: 'go back to the release before',
    args: [SERVICE],
    options: [FOLLOW],
    run: async (context, [service], o) =>
      (await import('./commands/act.ts')).rollbackCommand(context, must(service), {
        follow: yes(o['follow']),
      }),
  },
  {
    words: 'releases',
    about: 'releases of a service, and whether it could go back',
    args: [SERVICE],
    run: async (context, [service]) =>
      (await import('./commands/watch.ts')).releasesCommand(context, must(service)),
  },
  {
    words: 'scale',
    about: 'set the number of replicas, within the bounds of the manifest',
    args: [SERVICE, new Argument('<n>', 'replicas').argParser(whole(1, 1000))],
    options: [FOLLOW],
    run: async (context, [service, replicas], o) =>
      (await import('./commands/act.ts')).scaleCommand(context, must(service), numeric(replicas), {
        follow: yes(o['follow']),
      }),
  },
  {
    words: 'approve',
    about: 'what waits for a person; with an id: approve it',
    args: [new Argument('[id]', 'id of the approval')],
    options: [
      new Option('--deny', 'refuse it instead'),
      new Option('--all', 'list decided ones too'),
    ],
    run: async (context, [id], o) =>
      (await import('./commands/act.ts')).approveCommand(context, text(id), {
        deny: yes(o['deny']),
        all: yes(o['all']),
      }),
  },
  quarantine,
  ...(['pause', 'resume'] as const).map((word) => ({
    words: word,
    about:
      word === 'pause'
        ? 'no automatic act on a service (or on all) until `resume`'
        : 'automatic acts again',
    args: [new Argument('[service]', 'name of a service (default: all)')],
    run: async (context: Context, [service]: readonly unknown[]) =>
      (await import('./commands/act.ts')).pauseCommand(context, text(service), word),
  })),
  {
    words: 'drill',
    about: 'break something on purpose and watch it heal; lists what there is without arguments',
    args: [
      new Argument('[name]', 'which fault'),
      new Argument('[target]', 'on what, as the list says'),
    ],
    options: [
      FOLLOW,
      new Option('--limit <seconds>', 'how long to watch').argParser(whole(1, 3600)).default(180),
    ],
    run: async (context, [name, target], o) =>
      (await import('./commands/drill.ts')).drillCommand(context, text(name), text(target), {
        follow: yes(o['follow']),
        limitMs: numeric(o['limit']) * 1000,
      }),
  },
];

/** What a group does when it is called without a further word. */
const DEFAULTS: Readonly<Record<string, string>> = {
  ledger: 'head',
  tenants: 'list',
  anchor: 'list',
  auditor: 'list',
};
const GROUPS: Readonly<Record<string, string>> = {
  ledger: 'the evidence: verify, prove, fsck, export, checkpoint, anchor, erase, hold …',
  anchor: 'heads of the log that stand outside, and their receipts',
  auditor: 'who may read the whole ledger, and nothing else',
  tenants: 'who is served, and their keys',
  key: 'API keys of tenants',
};

export function buildProgram(version: string, make: MakeContext, ended: (code: number) => void) {
  const program = new Command('kintsugi')
    .description('Self-healing control plane for multi-tenant API servers')
    .version(version)
    .option('--json', 'one JSON value instead of text')
    .option('--state <dir>', 'state folder (default: .kintsugi beside the manifest)')
    .option('--manifest <file>', 'manifest (default: ./kintsugi.yaml)')
    .addOption(port('--gateway-port <port>', 'port of the gateway', 'KINTSUGI_GATEWAY_PORT'))
    .addOption(port('--control-port <port>', 'port of the control API', 'KINTSUGI_CONTROL_PORT'))
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', HELP);
  const specs = [...manage, ...watch, ...act, ...evidence];
  for (const spec of specs) add(program, spec, make, ended);
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ outputError: () => undefined });
    command.showSuggestionAfterError();
  }
  return program;
}

function port(flags: string, about: string, variable: string): Option {
  return new Option(flags, `${about}, in place of the manifest's`)
    .env(variable)
    .argParser(whole(0, 65_535));
}

function add(program: Command, spec: Spec, make: MakeContext, ended: (code: number) => void): void {
  const words = spec.words.split(' ');
  const name = words.pop() ?? '';
  let parent = program;
  for (const word of words) {
    const found = parent.commands.find((command) => command.name() === word);
    parent = found ?? parent.command(word).description(GROUPS[word] ?? '');
  }
  const isDefault = DEFAULTS[parent.name()] === name;
  const command = parent.command(name, { isDefault }).description(spec.about);
  for (const argument of spec.args ?? []) command.addArgument(argument);
  for (const option of spec.options ?? []) command.addOption(option);
  command.action(async () => {
    const globals = command.optsWithGlobals();
    ended(await spec.run(make(globalsOf(globals)), command.processedArgs, command.opts()));
  });
}

function* everyCommand(command: Command): Generator<Command> {
  yield command;
  for (const child of command.commands) yield* everyCommand(child);
}

function globalsOf(options: Options): Globals {
  const port = (value: unknown): number | undefined =>
    typeof value === 'number' ? value : undefined;
  return {
    json: yes(options['json']),
    state: text(options['state']),
    manifest: text(options['manifest']),
    gatewayPort: port(options['gatewayPort']),
    controlPort: port(options['controlPort']),
  };
}

const HELP = `
Exit status: 0 done; 1 failed, or the answer is no; 2 wrong usage; 3 nothing is running;
4 refused; 69 unavailable, try again; 78 the manifest or this machine must be corrected.
Environment: KINTSUGI_STATE, KINTSUGI_GATEWAY_PORT, KINTSUGI_CONTROL_PORT, KINTSUGI_ACTOR,
NO_COLOR.`;

/** PG1. Undefined: help or version was asked for, and printed. */
export function usageError(error: CommanderError): KinError | undefined {
  if (error.exitCode === 0) return undefined;
  const message = error.message.replace(/^error: /u, '').replaceAll('\n', ' ');
  return new KinError(
    'KIN_USAGE',
    message === '(outputHelp)' ? 'a command is missing' : message,
    'See "kintsugi --help", or "kintsugi COMMAND --help".',
  );
}

export const isUsageError = (error: unknown): error is CommanderError =>
  error instanceof CommanderError;
export { EXIT };
