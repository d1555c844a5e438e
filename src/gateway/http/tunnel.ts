// What happens after a switch to WebSocket? The answer's head goes out, and from then on bytes of
// the replica pass as they are; those of the client are passed by its exchange.
import type { ClientSide } from './client-side.ts';
import type { Head } from './head.ts';
import type { Forward } from './hooks.ts';
import { NO_NAMES } from './names.ts';
import { writeAnswer } from './rewrite.ts';
import { scratch } from './scratch.ts';
import type { UpstreamConnection } from './upstream-connection.ts';

/** The only protocol that is ever switched to. */
export const UPGRADE = 'connection: upgrade\r\nupgrade: websocket\r\n';

export interface TunnelEnds {
  readonly client: ClientSide;
  readonly connection: UpstreamConnection | undefined;
}

export function openTunnel(
  { client, connection }: TunnelEnds,
  head: Head,
  forward: Forward | undefined,
  rest: Buffer,
  onBytes: (count: number) => void,
): void {
  const drop = forward?.plan.dropFromAnswer ?? NO_NAMES;
  writeAnswer(scratch.begin(), head, drop, UPGRADE, forward?.addToAnswer ?? '');
  client.send(scratch);
  const toClient = (bytes: Buffer): void => {
    onBytes(bytes.length);
    if (!client.write(bytes)) connection?.pause();
  };
  connection?.tunnelTo(toClient);
  if (rest.length > 0) toClient(rest);
  client.startTunnel();
}
