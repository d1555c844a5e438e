// Shared pieces of the tests of private fields: a real ledger on a disk in memory, the port between
// the two, a key store that can be told to misbehave, and a way to grep a whole disk.

import { OWN } from '../../src/own.ts';
import { MemoryFiles } from '../../src/index.ts';
import type { Files, Ledger } from '../../src/index.ts';
import { privateDigests } from '../../src/private/disclosure.ts';
import type { PrivacyLedger } from '../../src/private/port.ts';
import { PrivacyBook } from '../../src/private/privacy-book.ts';
import { openPrivateFields } from '../../src/private/private-fields.ts';
import type {
  PrivateFields,
  PrivateFieldsOptions,
  SubjectFields,
} from '../../src/private/private-fields.ts';
import { systemRandom } from '../../src/private/random.ts';
import { rootKeyWrapper } from '../../src/private/wrapper.ts';
import type { KeyWrapper } from '../../src/private/wrapper.ts';
import { FakeClock, open as openLedger } from '../support.ts';

export const TENANT = 'clinic-a';
export const ROOT = Buffer.alloc(32, 3);
export const BASIS = { code: 'gdpr-17-1-b', ref: 'DSR-2026-0117' } as const;

export interface Bench {
  readonly files: Files;
  readonly ledger: Ledger;
  readonly fields: PrivateFields;
  readonly clock: FakeClock;
  readonly port: PrivacyLedger;
  close(): Promise<void>;
}

/** What the wiring in the ledger will do; here over its public face. */
export function portOf(ledger: Ledger, book: PrivacyBook): PrivacyLedger {
  const page = async (): Promise<readonly { index: number; digests: readonly string[] }[]> => {
    const all: { index: number; digests: readonly string[] }[] = [];
    while (all.length < ledger.size) {
      for (const { index, bytes } of await ledger.entries({ from: all.length, limit: 1000 })) {
        all.push({ index, digests: privateDigests(bytes) });
      }
    }
    return all;
  };
  return {
    intent: ({ action, subject, detail, tenant }) =>
      ledger.intent({
        kind: action,
        subject,
        detail,
        members: { salt: newSalt(), tenant },
        [OWN]: true,
      }),
    outcome: (index, outcome) => ledger.closeIntent(index, outcome),
    record: (kind, detail, tenant) =>
      ledger.record(kind, detail, { members: { salt: newSalt(), tenant }, [OWN]: true }),
    standing: () => book.standing(),
    openIntents: () =>
      ledger.openIntents().map(({ index, kind, detail }) => ({ index, action: kind, detail })),
    locate: async (_tenant, digests) => {
      const all = await page();
      return digests.map((digest) => all.find((one) => one.digests.includes(digest))?.index);
    },
    digestsBelow: async function* (_tenant, before) {
      for (const { index, digests } of await page()) if (index < before) yield digests;
    },
  };
}

function newSalt(): string {
  return Buffer.from(systemRandom()(16)).toString('base64url');
}

export interface BenchOptions extends Partial<PrivateFieldsOptions> {
  readonly withoutLocate?: boolean;
}

export async function bench(
  files: Files = new MemoryFiles(),
  options: BenchOptions = {},
): Promise<Bench> {
  const clock = new FakeClock();
  const book = new PrivacyBook();
  const ledger = await openLedger(files, { clock, followers: [book] });
  try {
    const fields = await openFields(files, { clock, ...options });
    const whole = portOf(ledger, book);
    const { locate: _locate, ...blind } = whole;
    const port = options.withoutLocate === true ? blind : whole;
    await fields.start(port);
    const close = async (): Promise<void> => {
      await fields.close();
      await ledger.close();
    };
    return { files, ledger, fields, clock, port, close };
  } catch (cause) {
    await ledger.close();
    throw cause;
  }
}

export function openFields(
  files: Files,
  options: Partial<PrivateFieldsOptions> = {},
): Promise<PrivateFields> {
  return openPrivateFields({
    files,
    dir: 'ledger',
    clock: new FakeClock(),
    wrapper: rootKeyWrapper(ROOT, 'test root'),
    fileBytes: 64 * 1024,
    ...options,
  });
}

/** Seals, then appends the entry that commits to it. */
export async function record(
  { fields, ledger }: Pick<Bench, 'fields' | 'ledger'>,
  groups: readonly SubjectFields[],
  tenant = TENANT,
): Promise<number> {
  const digests = await fields.seal(tenant, groups);
  const { index } = await ledger.record('test.access', null, {
    members: { private: digests, salt: newSalt(), tenant },
  });
  return index;
}

export async function entryAt(ledger: Ledger, index: number): Promise<Uint8Array> {
  return (await ledger.read(index)).bytes;
}

export async function statesAt(
  { fields, ledger }: Pick<Bench, 'fields' | 'ledger'>,
  index: number,
  tenant = TENANT,
): Promise<readonly string[]> {
  const states = await fields.reveal(await entryAt(ledger, index), { index, tenant });
  return states.map((state) => {
    if (state.kind === 'shown') return `${state.name}=${JSON.stringify(state.value)}`;
    return state.kind === 'redacted' ? `redacted (${state.by} #${state.index})` : state.kind;
  });
}

/** Every file of the disk, also those without a name that the simulator may still hold. */
export async function wholeDisk(files: Files): Promise<ReadonlyMap<string, Buffer>> {
  const all = new Map<string, Buffer>();
  for (const dir of ['ledger', 'ledger/seg', 'ledger/payload', 'ledger/keys']) {
    for (const name of await files.list(dir)) {
      const bytes = await files.readWhole(`${dir}/${name}`, 1e9);
      if (bytes === undefined) continue;
      all.set(`${dir}/${name}`, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    }
  }
  return all;
}

/** Names of the files in which these bytes stand. */
export async function grep(files: Files, needle: Uint8Array | string): Promise<readonly string[]> {
  return filesWith(await wholeDisk(files), needle);
}

/** The same on a disk that was read already. */
export function filesWith(
  disk: ReadonlyMap<string, Buffer>,
  needle: Uint8Array | string,
): readonly string[] {
  const wanted = Buffer.from(needle);
  return [...disk].filter(([, bytes]) => bytes.includes(wanted)).map(([name]) => name);
}

export interface MoodyWrapper extends KeyWrapper {
  mood: 'well' | 'down' | 'silent' | 'other';
  calls: number;
}

export function moodyWrapper(): MoodyWrapper {
  const right = rootKeyWrapper(ROOT, 'moody');
  const answer = async (work: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    moody.calls += 1;
    if (moody.mood === 'down') throw new Error('connection refused');
    if (moody.mood === 'silent') return new Promise(() => undefined);
    return moody.mood === 'other' ? Buffer.alloc(32, 9) : work();
  };
  const moody: MoodyWrapper = {
    mood: 'well',
    calls: 0,
    wrap: (bytes, context) => answer(() => right.wrap(bytes, context)),
    unwrap: (wrapped, context) => answer(() => right.unwrap(wrapped, context)),
    describe: () => 'moody',
  };
  return moody;
}

/** The same bytes for the same seed. */
export function seededRandom(seed: number): (length: number) => Uint8Array {
  let state = seed >>> 0 || 1;
  return (length) => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[at] = state >>> 24;
    }
    return bytes;
  };
}

export const ALICE: SubjectFields = {
  subject: 'alice@example.com',
  fields: { actor: 'Alice Ångström', ip: '203.0.113.17', note: { room: 7 }, reason: 'follow-up' },
};
export const BOB: SubjectFields = {
  subject: 'bob@example.com',
  fields: { actor: 'Bob Brown', ip: '198.51.100.4' },
};
