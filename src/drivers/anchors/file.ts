// What is the simplest place that we cannot change? A file in another folder: a WORM mount, another
// machine's disk, an append-only directory. It keeps the signed checkpoints themselves.
//
//   AF1. All of it is read and checked before anything is added: sizes grow, no root changes.
//   AF2. `append` adds a line; `objects` adds a file a checkpoint, for stores that cannot append.
//   AF3. A rewound or edited file is noticed when its lines disagree with each other or with us; an
//        older copy of it is noticed by whoever else remembers: use a medium that forbids it.
import { constants } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Clock } from '../../world/clock.ts';
import {
  type AnchoredHead,
  CHECKPOINT_BYTES_MAX,
  checkHead,
  doubtAbout,
  headOf,
  type HighWaterMark,
  invalid,
  logIdOf,
  receiptBase,
  type RememberingAnchor,
  verdictOf,
} from './anchor.ts';
import { syncFolder } from './book.ts';
import { AnchorError, errnoOf } from './errors.ts';

const FILE_BYTES_MAX = 1024 * 1024 * 1024;
const OBJECTS_MAX = 1_000_000;
const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants;

export interface FileSpec {
  readonly kind: 'file';
  readonly name: string;
  /** Absolute: a file for `append`, an existing folder for `objects`. */
  readonly path: string;
  readonly layout?: 'append' | 'objects';
}

/** What the medium must be able to do, for either layout. */
interface Medium {
  /** Heads of this log, oldest first. */
  read(origin: string): Promise<readonly HighWaterMark[]>;
  add(head: AnchoredHead): Promise<void>;
}

export function openFileAnchor(spec: FileSpec, clock: Pick<Clock, 'nowMs'>): RememberingAnchor {
  const { name, path, layout = 'append' } = spec;
  if (!isAbsolute(path))
    throw new AnchorError('KIN_ANCHOR_CONFIG', `${name}: the path must be absolute`);
  const medium = layout === 'append' ? appendMedium(path) : objectMedium(path);
  let tail: Promise<unknown> = Promise.resolve();
  const place = async (head: AnchoredHead): Promise<void> => {
    const held = (await medium.read(head.origin)).at(-1);
    if (held !== undefined && held.size > head.size)
      throw new AnchorError(
        'KIN_ANCHOR_ROLLED_BACK',
        `the file holds size ${held.size} of this log, we only have ${head.size}`,
      );
    if (held?.size === head.size) {
      if (held.root === head.root) return;
      throw new AnchorError('KIN_ANCHOR_FORK', `the file holds another root for ${head.size}`);
    }
    await medium.add(head);
  };
  return {
    name,
    async anchor(head) {
      checkHead(head);
      const done = tail.then(() => place(head));
      tail = done.catch(() => undefined);
      await done;
      return { kind: 'file', ...receiptBase(name, head, clock.nowMs()), layout };
    },
    async verify(receipt, head) {
      if (receipt.kind !== 'file') return invalid('malformed', 'no receipt of a file');
      const doubt = doubtAbout(receipt, head);
      if (doubt !== undefined) return doubt;
      try {
        const held = (await medium.read(head.origin)).find(({ size }) => size === head.size);
        if (held === undefined) return invalid('not-in-medium', `no line for size ${head.size}`);
        if (held.root !== head.root) return invalid('other-content', 'another root: a fork');
        return { kind: 'anchored', atMs: receipt.atMs, detail: `${layout} ${name}` };
      } catch (error) {
        return verdictOf(error);
      }
    },
    async highWater(origin) {
      const last = (await medium.read(origin)).at(-1);
      return last === undefined ? undefined : { size: last.size, root: last.root };
    },
  };
}

const io = (what: string, error: unknown): AnchorError =>
  error instanceof AnchorError
    ? error
    : new AnchorError('KIN_ANCHOR_IO', `the anchor file cannot be ${what} (${errnoOf(error)})`);

const damaged = (where: string): AnchorError =>
  new AnchorError('KIN_ANCHOR_BOOK_CORRUPT', `${where} of the anchor file is damaged`);

async function withFile<T>(
  path: string,
  flags: number,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags | O_NOFOLLOW, 0o444);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function readAll(path: string, bytesMax: number): Promise<Buffer> {
  return withFile(path, O_RDONLY, async (file) => {
    const { size } = await file.stat();
    if (size > bytesMax) throw new AnchorError('KIN_ANCHOR_BOOK_CORRUPT', 'a file is too large');
    return file.readFile();
  });
}

function appendMedium(path: string): Medium {
  return {
    async read(origin) {
      try {
        return readLines(await readAll(path, FILE_BYTES_MAX)).filter(ofLog(origin));
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
        throw io('read', error);
      }
    },
    async add(head) {
      const line = writeLine(head.checkpointText);
      try {
        const isNew = await withFile(path, O_RDWR | O_CREAT | O_APPEND, async (file) => {
          const { size } = await file.stat();
          // A torn tail stays where it is (a WORM file cannot be cut): the next line begins anew.
          const last = Buffer.alloc(1);
          if (size > 0) await file.read(last, 0, 1, size - 1);
          const isTorn = size > 0 && last[0] !== 0x0a;
          await file.write(isTorn ? `\n${line}` : line);
          await file.datasync();
          return size === 0;
        });
        if (isNew) await syncFolder(dirname(path));
      } catch (error) {
        throw io('written', error);
      }
    },
  };
}

interface Mark extends HighWaterMark {
  readonly origin: string;
}

const ofLog =
  (origin: string) =>
  (mark: Mark): boolean =>
    mark.origin === origin;

function writeLine(checkpoint: string): string {
  const body = JSON.stringify(checkpoint);
  const crc = crc32(Buffer.from(body)).toString(16).padStart(8, '0');
  return `{"crc":"${crc}","checkpoint":${body}}\n`;
}

/** All heads in order; a line that is cut off counts as never written, a changed one does not. */
function readLines(bytes: Buffer): readonly Mark[] {
  const marks: Mark[] = [];
  const lines = bytes.toString('utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    if (line === '') continue;
    const checkpoint = readLine(line);
    if (checkpoint === undefined) {
      if (isCutOff(line)) continue;
      throw damaged(`line ${index + 1}`);
    }
    keep(marks, headOf(checkpoint), `line ${index + 1}`);
  }
  return marks;
}

function readLine(line: string): string | undefined {
  const [, crc, body] = /^\{"crc":"([0-9a-f]{8})","checkpoint":(".*")\}$/.exec(line) ?? [];
  if (crc === undefined || body === undefined) return undefined;
  if (Number.parseInt(crc, 16) !== crc32(Buffer.from(body))) return undefined;
  return JSON.parse(body) as string;
}

const OPENING = /^\{"crc":"[0-9a-f]{8}","checkpoint":"(?:[^"\\]|\\.)*\\?"?$/;

/** The beginning of a line: its text was not closed, so it was never acknowledged. */
function isCutOff(line: string): boolean {
  return OPENING.test(line) || '{"crc":"00000000","checkpoint":"'.startsWith(zeroed(line));
}

/** With its checksum as zeros, however much of it there is. */
function zeroed(line: string): string {
  return line.replace(/^(\{"crc":")([0-9a-f]{1,8})/, (_all, head: string, crc: string) =>
    head.concat('0'.repeat(crc.length)),
  );
}

function keep(marks: Mark[], { origin, size, root }: AnchoredHead, where: string): void {
  const last = marks.findLast(ofLog(origin));
  if (last !== undefined && size <= last.size) {
    if (size === last.size && root === last.root) return;
    throw damaged(`${where} (size ${size} after ${last.size})`);
  }
  marks.push({ origin, size, root });
}

const OBJECT = /^(\d{16})-([0-9a-f]{16})\.checkpoint$/;

/** Names sort by size; the log id keeps several logs apart. An object that was read stays known. */
function objectMedium(folder: string): Medium {
  const known = new Map<string, Mark>();
  const nameOf = (size: number, origin: string): string =>
    `${String(size).padStart(16, '0')}-${logIdOf(origin).toString('hex', 0, 8)}.checkpoint`;
  const look = async (name: string): Promise<Mark | 'unfinished'> => {
    const text = (await readAll(join(folder, name), CHECKPOINT_BYTES_MAX)).toString('utf8');
    // Cut off by a crash: it was never said to be anchored.
    if (!text.includes('\n\n\u2014 ') || !text.endsWith('\n')) return 'unfinished';
    const head = headOf(text);
    if (name !== nameOf(head.size, head.origin)) throw damaged(name);
    return { origin: head.origin, size: head.size, root: head.root };
  };
  return {
    async read(origin) {
      try {
        const names = (await readdir(folder)).filter((name) => OBJECT.test(name)).toSorted();
        if (names.length > OBJECTS_MAX) throw damaged('the folder');
        const marks: Mark[] = [];
        for (const name of names) {
          if (!name.endsWith(nameOf(0, origin).slice(16))) continue;
          const mark = known.get(name) ?? (await look(name));
          if (mark === 'unfinished') continue;
          known.set(name, mark);
          marks.push(mark);
        }
        return marks;
      } catch (error) {
        if (error instanceof AnchorError && error.code === 'KIN_ANCHOR_HEAD')
          throw damaged('an object');
        throw io('read', error);
      }
    },
    async add(head) {
      try {
        const path = join(folder, nameOf(head.size, head.origin));
        await withFile(path, O_WRONLY | O_CREAT | O_EXCL, async (file) => {
          await file.writeFile(head.checkpointText);
          await file.datasync();
        });
        await syncFolder(folder);
      } catch (error) {
        throw io('written', error);
      }
    },
  };
}
