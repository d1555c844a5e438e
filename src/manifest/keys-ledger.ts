// Which keys may the ledger have? How often a checkpoint is published, who witnesses it, where its
// heads are anchored, and how long entries are kept: a branch of the table in keys.ts (K1).
import {
  choice,
  choiceOf,
  list,
  map,
  object,
  optional,
  quantity,
  required,
  standard,
  variants,
  whole,
} from './shape.ts';
import type { Read } from './shape.ts';
import {
  DAY,
  HOUR,
  PLAYBOOKS,
  account,
  address,
  duration,
  keyPath,
  outsideName,
  path,
  url,
  vkey,
  vkeyName,
} from './keys-words.ts';

const MINUTE = 60_000;
const NAME = 'Name of the anchor, each once; it stands in receipts, so keep it.';
const KIND = { slips: ['type', 'driver'] };
const CENTURY = 36_500 * DAY;
const URL_SLIPS = { slips: ['address', 'endpoint', 'uri'] };

const timeout = (fallback: string) =>
  standard(duration(100, 5 * MINUTE), fallback, 'A question takes no longer than this.', {
    plain: 'timeoutMs',
  });

const rfc3161 = object({
  kind: required(choice('rfc3161'), 'A time-stamp authority.', KIND),
  name: required(outsideName, NAME),
  url: required(address, 'Where the authority answers; `http:` will do, answers are signed.', {
    slips: [...URL_SLIPS.slips, 'tsa'],
  }),
  certificatesFile: required(path, 'PEM file with the certificates that a chain may end in.', {
    slips: ['certificates', 'ca', 'caFile', 'certs'],
  }),
  timeout: timeout('15s'),
});

const evm = object({
  kind: required(choice('evm'), 'The contract KintsugiAnchor on an EVM chain.', KIND),
  name: required(outsideName, NAME),
  rpcUrl: required(
    url,
    'Node of the chain: `https:`, or `http:` of this machine. May hold `${secret:…}` and ' +
      '`${env:…}`; never shown.',
    { slips: ['rpc', 'url', 'node', 'provider'] },
  ),
  chainId: required(whole(1, Number.MAX_SAFE_INTEGER), 'The chain that is meant; checked first.', {
    slips: ['chain', 'network'],
  }),
  contract: required(account, 'Address of the contract.', { slips: ['contractAddress'] }),
  owner: required(account, 'The account that anchors.', { slips: ['account', 'from'] }),
  keyFile: optional(
    keyPath,
    'heads are verified and none is anchored',
    'File with the key of the account (mode 600), read for each signature.',
    { slips: ['key', 'privateKey', 'privateKeyFile'] },
  ),
  fromBlock: standard(
    whole(0, Number.MAX_SAFE_INTEGER),
    0,
    'Block of the deployment: the search for old events begins there.',
  ),
  timeout: timeout('10s'),
  maxFee: standard(
    quantity('fee', 0.001, 100_000),
    '100gwei',
    'No more is paid for a unit of gas; until then it waits.',
    { plain: 'maxFeeGwei', slips: ['maxGasPrice', 'gasPrice'] },
  ),
  confirmations: standard(whole(1, 10_000), 12, 'Blocks that must hold it until it counts.'),
  poll: standard(duration(100, 5 * MINUTE), '4s', 'Time between two looks at the chain.', {
    plain: 'pollMs',
  }),
  stuck: standard(
    duration(1000, DAY),
    '2m',
    'Without a block for so long, a transaction is sent again with a higher fee.',
    { plain: 'stuckMs' },
  ),
  wait: standard(duration(1000, 7 * DAY), '30m', 'From sending to the last confirmation.', {
    plain: 'waitMs',
  }),
});

const opentimestamps = object({
  kind: required(choice('opentimestamps'), 'Calendars that lead to Bitcoin.', KIND),
  name: required(outsideName, NAME),
  calendars: required(list(address, 8, 1), 'Calendars that are asked; there is no default.', {
    slips: ['calendar', 'urls'],
  }),
  upgradeFrom: standard(
    list(address, 16),
    [],
    'Calendars that are only asked for the rest of a proof, as behind an aggregation pool.',
  ),
  timeout: timeout('15s'),
});

const file = object({
  kind: required(choice('file'), 'A file that nobody can change, such as on a WORM mount.', KIND),
  name: required(outsideName, NAME),
  path: required(path, 'The file; with `layout: objects` an existing folder.', {
    slips: ['file', 'folder'],
  }),
  layout: standard(
    choice('append', 'objects'),
    'append',
    '`append` adds a line, `objects` adds a file a checkpoint.',
  ),
});

const witness = object({
  name: optional(vkeyName, 'the name in the key', 'Name of the witness, as its key says.'),
  key: required(vkey, 'Its verifier key, which its operator gives you.', {
    slips: ['vkey', 'publicKey', 'verifierKey'],
  }),
  url: required(address, 'Where it answers: `https:`, or `http:` of this machine.', URL_SLIPS),
});

const witnesses = object({
  policy: optional(
    path,
    'the list says it',
    'A tlog-policy file, inside the folder of the manifest or absolute.',
    { slips: ['policyFile', 'file'] },
  ),
  require: optional(whole(1, 32), 'the policy says it', 'How many of the list must cosign.', {
    slips: ['quorum', 'threshold', 'min'],
  }),
  list: optional(list(witness, 32, 1), 'the policy says it', 'The witnesses, each key once.', {
    slips: ['witnesses', 'of'],
  }),
});

export const ledger = object({
  publishEvery: standard(
    duration(200, HOUR),
    '1s',
    'Time between two published checkpoints, while the log grows.',
    { plain: 'publishEveryMs', slips: ['publish', 'publishInterval', 'checkpointEvery'] },
  ),
  witnesses: optional(
    witnesses,
    'nobody cosigns',
    'Who cosigns each checkpoint: either `policy`, or `require` with `list`.',
    { slips: ['witness', 'cosigners'] },
  ),
  witnessFor: standard(
    list(choiceOf('a playbook', PLAYBOOKS), PLAYBOOKS.length),
    [],
    'Playbooks whose intents must be witnessed before they act.',
    { slips: ['witnessedFor', 'requireWitnessFor'] },
  ),
  anchorEvery: standard(duration(1000, 30 * DAY), '10m', 'Time between two anchored heads.', {
    plain: 'anchorEveryMs',
    slips: ['anchorInterval'],
  }),
  anchorEntries: standard(
    whole(0, 1_000_000_000),
    0,
    'A head is anchored after so many entries as well; 0: only time counts.',
    { slips: ['anchorEveryEntries'] },
  ),
  anchors: standard(
    list(variants(rfc3161, evm, opentimestamps, file), 32),
    [],
    'Where heads are left with others, each on its own.',
    { slips: ['anchor'] },
  ),
  retention: standard(
    object({
      keep: optional(duration(DAY, CENTURY), 'for ever', 'How long an entry is kept.', {
        plain: 'keepMs',
        slips: ['for', 'days', 'default'],
      }),
      tenants: standard(
        map(duration(DAY, CENTURY), 100_000),
        {},
        'How long entries of a tenant are kept, where that differs.',
        { slips: ['tenant'] },
      ),
    }),
    {},
    'How long entries are kept; what is on hold stays.',
    { slips: ['retain', 'keep'] },
  ),
  highWater: optional(
    path,
    'the state folder alone remembers',
    'File outside the state folder, best on a WORM mount, that remembers the newest head: a ' +
      'restored old copy of the ledger is then noticed.',
    { slips: ['highWaterFile', 'highWaterMark'] },
  ),
});

export type DraftLedger = Read<typeof ledger>;
export type DraftAnchor = DraftLedger['anchors'][number];
export type DraftWitnesses = NonNullable<DraftLedger['witnesses']>;
