// How is a server-sent event stream read? Bytes in, whole messages out, as the standard says; pure
// but for the iteration, so that a test can cut the bytes anywhere.
//
//   SSE1. Messages come out the same wherever the chunks are cut.

export interface SseMessage {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

const MESSAGE_CHARS_MAX = 4_194_304;

export async function* sseMessages(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<SseMessage, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split(/\r?\n\r?\n/u);
    rest = blocks.pop() ?? '';
    if (rest.length > MESSAGE_CHARS_MAX) throw new Error('an event of the stream has no end');
    for (const block of blocks) {
      const message = messageOfBlock(block);
      if (message !== undefined) yield message;
    }
  }
}

/** Undefined for a block that carries no data: comments (heartbeats) and `retry`. */
function messageOfBlock(block: string): SseMessage | undefined {
  let id: string | undefined;
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r?\n/u)) {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /u, '');
    if (field === 'id') id = value;
    else if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
  }
  return data.length === 0 ? undefined : { id, event, data: data.join('\n') };
}
