// What is sent on? The received head without what ends at this hop, and what the gateway adds.
// Kept lines are copied as they came, in as few pieces as possible.
//
//   RW1. Hop-by-hop fields, those that Connection names, and those of the drop set do not pass.
//   RW2. The framing fields that pass are the ones that this side was framed by, spelled plainly.
//   RW3. The request line is HTTP/1.1 in origin-form; nothing a client sends becomes a new line.
import { type Head, LINE_AT, NAME_END, SLOT } from './head.ts';
import { inSet, isPlain, KNOWN, type NameSet } from './names.ts';
import { Scratch } from './scratch.ts';

/** Names that a Connection field lists, lower-case. Rare, so it may be slow. */
function listed(head: Head): ReadonlySet<string> {
  const names = new Set<string>();
  for (let field = 0; field < head.count; field += 1) {
    if (head.known[field] !== KNOWN.connection) continue;
    for (const part of head.valueAt(field).split(',')) names.add(part.trim().toLowerCase());
  }
  return names;
}

/** The lines that pass; `from` is where the copy begins. */
function keptLines(out: Scratch, head: Head, from: number, drop: NameSet): void {
  const { at, buf, known, count, keptId, keptTrace } = head;
  const end = head.end - 2;
  const noLength = head.status === 204;
  if (!head.hasHop && drop.isEmpty && !noLength) {
    out.range(buf, from, end);
    return;
  }
  const others = head.namesOthers ? listed(head) : undefined;
  let begin = from;
  for (let field = 0; field < count; field += 1) {
    const base = field * SLOT;
    const lineAt = at[base + LINE_AT] as number;
    const id = known[field] as number;
    const passes =
      (isPlain(id) || id === KNOWN.host || (id === KNOWN.contentLength && !noLength)) &&
      (drop.isEmpty ||
        !inSet(drop, buf, lineAt, (at[base + NAME_END] as number) - lineAt) ||
        field === keptId ||
        field === keptTrace) &&
      (others === undefined || !others.has(head.nameAt(field).toLowerCase()));
    if (passes) continue;
    out.range(buf, begin, lineAt);
    begin = field + 1 < count ? (at[base + SLOT] as number) : end;
  }
  out.range(buf, begin, end);
}

/** `add`, `own` and `shared`: whole lines, each with its CRLF. */
export function writeRequest(
  out: Scratch,
  head: Head,
  drop: NameSet,
  add: string,
  own = '',
  shared = '',
): void {
  if (head.version === 11 && head.pathAt === head.targetAt) {
    keptLines(out, head, head.lineAt, drop);
  } else {
    out.text(`${head.method} ${head.path} HTTP/1.1\r\n`);
    keptLines(out, head, head.lineEnd + 2, drop);
  }
  if (head.chunked) out.text('transfer-encoding: chunked\r\n');
  out.text(add).text(own).text(shared).text('\r\n');
}

/** `framing`: what follows for the client: its coding, and whether the connection ends. */
export function writeAnswer(
  out: Scratch,
  head: Head,
  drop: NameSet,
  framing: string,
  add: string,
): void {
  if (head.version === 11) {
    keptLines(out, head, 0, drop);
  } else {
    out.text('HTTP/1.1').range(head.buf, 8, head.lineEnd + 2);
    keptLines(out, head, head.lineEnd + 2, drop);
  }
  out.text(framing).text(add).text('\r\n');
}

export function requestText(head: Head, drop: NameSet, add: string): string {
  const out = new Scratch();
  writeRequest(out, head, drop, add);
  return out.toString();
}

export function answerText(head: Head, drop: NameSet, add: string): string {
  const out = new Scratch();
  writeAnswer(out, head, drop, '', add);
  return out.toString();
}
