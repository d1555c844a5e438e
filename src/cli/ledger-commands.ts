// Which commands work on the ledger itself? What an auditor does offline comes first, then what is
// asked of the running system.
import { Argument, Option } from 'commander';
import {
  basisOption,
  lifetime,
  must,
  numeric,
  place,
  PLACE,
  REF,
  SUBJECT,
  TENANT,
  text,
  whole,
  yes,
} from './spec.ts';
import type { Options, Spec } from './spec.ts';

const POLICY = new Option('--policy <file>', 'tlog-policy: whose cosignatures make a quorum');
const OF_TENANT = new Option('--tenant <id>', "of this tenant's own log");

const offline: readonly Spec[] = [
  {
    words: 'ledger verify',
    about: 'read every byte of the ledger, an export or one proof, and check it, offline',
    options: [
      ...PLACE,
      POLICY,
      new Option('--proof <file>', 'check this proof instead (tlog-proof or tenant-proof)'),
      new Option('--entry <file>', 'the exact bytes of the entry that it is about'),
      OF_TENANT,
    ],
    run: async (context, _args, o) =>
      (await import('./commands/ledger-verify.ts')).verifyCommand(context, {
        ...place(o),
        policy: text(o['policy']),
        proof: text(o['proof']),
        entry: text(o['entry']),
        tenant: text(o['tenant']),
      }),
  },
  {
    words: 'ledger prove',
    about: 'the proof of one entry, checked before it is printed; with --dir offline',
    args: [new Argument('<index>', 'index of the entry').argParser(whole(0, 1e15))],
    options: [
      ...PLACE,
      OF_TENANT,
      new Option('--out <prefix>', 'write PREFIX.proof and PREFIX.entry as well'),
    ],
    run: async (context, [index], o) =>
      (await import('./commands/ledger-tenant.ts')).proveCommand(context, numeric(index), {
        ...place(o),
        tenant: text(o['tenant']),
        out: text(o['out']),
      }),
  },
  {
    words: 'ledger fsck',
    about: 'look for damage in every file, offline; exit 1 when there is some',
    options: [
      ...PLACE,
      new Option('--deep', "also tenants' logs, epochs, checkpoints.log, payloads and keys"),
      new Option('--map-key <file>', 'secret key of the map (default: the one in the folder)'),
    ],
    run: async (context, _args, o) =>
      (await import('./commands/ledger-fsck.ts')).fsckCommand(context, {
        ...place(o),
        deep: yes(o['deep']),
        mapKey: text(o['mapKey']),
      }),
  },
  {
    words: 'ledger export',
    about: "write a static log (tlog-tiles), or one tenant's log with its proof, offline",
    args: [new Argument('<out>', 'folder to write')],
    options: [...PLACE, OF_TENANT],
    run: async (context, [out], o) =>
      (await import('./commands/ledger-tenant.ts')).exportCommand(context, must(out), {
        ...place(o),
        tenant: text(o['tenant']),
      }),
  },
  {
    words: 'ledger checkpoint',
    about: 'the newest checkpoint with its signatures: of what runs, or with --dir of the folder',
    options: [...PLACE, POLICY],
    run: async (context, _args, o) =>
      (await import('./commands/ledger-fsck.ts')).checkpointCommand(context, {
        ...place(o),
        policy: text(o['policy']),
      }),
  },
  {
    words: 'ledger tenants',
    about: 'tenants that have a log; with --dir offline',
    options: PLACE,
    run: async (context, _args, o) =>
      (await import('./commands/ledger-tenant.ts')).tenantLogsCommand(context, place(o)),
  },
];

const anchorOptions = (o: Options) => ({
  ...place(o),
  certificates: text(o['certificates']),
  rpcUrlFile: text(o['rpcUrlFile']),
  medium: text(o['medium']),
  book: text(o['book']),
});
const BOOK = new Option('--book <file>', 'anchors.log (default: the one beside the ledger)');
const RPC = new Option('--rpc-url-file <file>', 'file with the RPC address, which may hold a key');

const anchors: readonly Spec[] = [
  {
    words: 'ledger anchor list',
    about: 'receipts of heads that stand outside, offline',
    options: [...PLACE, BOOK],
    run: async (context, _args, o) =>
      (await import('./commands/anchor.ts')).anchorListCommand(context, anchorOptions(o)),
  },
  {
    words: 'ledger anchor verify',
    about: 'check each receipt against the log and, where it can be done here, its medium',
    options: [
      ...PLACE,
      BOOK,
      new Option('--certificates <file>', 'PEM that a time-stamp chain may end in'),
      RPC,
      new Option('--medium <path>', 'the write-once file of a file anchor'),
    ],
    run: async (context, _args, o) =>
      (await import('./commands/anchor.ts')).anchorVerifyCommand(context, anchorOptions(o)),
  },
  {
    words: 'ledger anchor deploy',
    about: 'deploy the EVM contract, once a chain',
    options: [
      new Option('--rpc-url-file <file>', RPC.description).makeOptionMandatory(),
      new Option('--chain-id <n>', 'id of the chain')
        .argParser(whole(1, 1e15))
        .makeOptionMandatory(),
      new Option('--key-file <file>', 'key of the account, mode 0600').makeOptionMandatory(),
      new Option('--max-fee-gwei <n>', 'never pay more').argParser(whole(1, 1e6)).default(100),
    ],
    run: async (context, _args, o) =>
      (await import('./commands/anchor.ts')).anchorDeployCommand(context, {
        rpcUrlFile: must(o['rpcUrlFile']),
        chainId: numeric(o['chainId']),
        keyFile: must(o['keyFile']),
        maxFeeGwei: numeric(o['maxFeeGwei']),
      }),
  },
  {
    words: 'ledger anchor status',
    about: 'what the anchors of the running system do',
    run: async (context) => (await import('./commands/auditors.ts')).anchorsCommand(context),
  },
];

const witness = (words: string): Spec => ({
  words,
  about: "cosign other people's logs until it is interrupted",
  options: [
    new Option('--dir <dir>', 'state folder: keys and memory').makeOptionMandatory(),
    new Option('--name <name>', 'key name, a URL without scheme (needed at the first start)'),
    new Option(
      '--logs <file>',
      'which logs: `log <vkey>` lines, or a policy',
    ).makeOptionMandatory(),
    new Option('--host <host>', 'where to listen').default('127.0.0.1'),
    new Option('--port <port>', '0: any free one').argParser(whole(0, 65_535)).default(0),
  ],
  run: async (context, _args, o) =>
    (await import('./commands/witness.ts')).witnessCommand(context, {
      dir: must(o['dir']),
      name: text(o['name']),
      logs: must(o['logs']),
      host: must(o['host']),
      port: numeric(o['port']),
    }),
});

const publishing: readonly Spec[] = [
  {
    words: 'ledger witnesses',
    about: 'how far the log is published and witnessed; exit 1 when the quorum is not met',
    run: async (context) => (await import('./commands/auditors.ts')).witnessesCommand(context),
  },
  {
    words: 'ledger publish',
    about: 'publish a checkpoint now',
    run: async (context) => (await import('./commands/auditors.ts')).publishCommand(context),
  },
  witness('ledger witness'),
  witness('witness'),
];

const basis = (o: Options) => ({ code: must(o['basis']), ref: must(o['ref']) });
const HOLD_CODES = 'litigation, regulator-order, gdpr-17-3-b, gdpr-17-3-e';

const privacy: readonly Spec[] = [
  {
    words: 'ledger erase',
    about: "destroy a person's private fields for good; every proof stays valid",
    args: [TENANT, SUBJECT],
    options: [
      basisOption('gdpr-17-1-a … -f, ccpa-1798-105, contract-end'),
      REF,
      new Option('-y, --yes', 'do not ask'),
    ],
    run: async (context, [tenant, subject], o) =>
      (await import('./commands/privacy.ts')).eraseCommand(context, must(tenant), must(subject), {
        ...basis(o),
        yes: yes(o['yes']),
      }),
  },
  {
    words: 'ledger hold',
    about: 'keep what is stored about a person, or about all of a tenant, whatever is asked',
    args: [TENANT, new Argument('[subject]', 'id of the person; left out: all of the tenant')],
    options: [basisOption(HOLD_CODES), REF],
    run: async (context, [tenant, subject], o) =>
      (await import('./commands/privacy.ts')).holdCommand(
        context,
        must(tenant),
        text(subject),
        basis(o),
      ),
  },
  {
    words: 'ledger restrict',
    about: "keep a person's private fields and show them to nobody",
    args: [TENANT, SUBJECT],
    options: [basisOption('gdpr-18-1-a … -d'), REF],
    run: async (context, [tenant, subject], o) =>
      (await import('./commands/privacy.ts')).restrictCommand(
        context,
        must(tenant),
        must(subject),
        basis(o),
      ),
  },
  ...(['release', 'unrestrict'] as const).map((word): Spec => ({
    words: `ledger ${word}`,
    about: word === 'release' ? 'end a legal hold' : 'end a restriction',
    args: [new Argument('<id>', 'as `kintsugi ledger holds` shows it')],
    options: [REF],
    run: async (context, [id], o) =>
      (await import('./commands/privacy.ts')).liftCommand(
        context,
        word === 'release' ? 'hold' : 'restriction',
        must(id),
        must(o['ref']),
      ),
  })),
  {
    words: 'ledger holds',
    about: 'legal holds and restrictions in force',
    options: [OF_TENANT],
    run: async (context, _args, o) =>
      (await import('./commands/privacy.ts')).holdsCommand(context, text(o['tenant'])),
  },
  {
    words: 'ledger subject-export',
    about: 'everything that is stored about one person, with proofs, as one JSON document',
    args: [TENANT, SUBJECT],
    options: [REF, new Option('--out <file>', 'a new file, 0600 (default: stdout)')],
    run: async (context, [tenant, subject], o) =>
      (await import('./commands/privacy.ts')).subjectExportCommand(
        context,
        must(tenant),
        must(subject),
        { ref: must(o['ref']), out: text(o['out']) },
      ),
  },
];

const NAME = new Argument('<name>', 'name of the auditor');

const auditors: readonly Spec[] = [
  {
    words: 'ledger auditor add',
    about: 'a token that reads the whole ledger and nothing else, shown once',
    args: [NAME],
    options: [
      new Option('--expires <time>', 'how long it works, at most 366d')
        .argParser(lifetime)
        .default(30 * 86_400_000, '30d'),
    ],
    run: async (context, [name], o) =>
      (await import('./commands/auditors.ts')).addAuditorCommand(
        context,
        must(name),
        numeric(o['expires']),
      ),
  },
  {
    words: 'ledger auditor list',
    about: 'auditors, and until when their tokens work',
    run: async (context) => (await import('./commands/auditors.ts')).listAuditorsCommand(context),
  },
  {
    words: 'ledger auditor remove',
    about: 'a token stops working at once',
    args: [NAME],
    run: async (context, [name]) =>
      (await import('./commands/auditors.ts')).removeAuditorCommand(context, must(name)),
  },
];

export const ledger: readonly Spec[] = [
  ...offline,
  ...anchors,
  ...publishing,
  ...privacy,
  ...auditors,
];
