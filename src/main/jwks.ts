// When are the keys of token issuers read again? Every few minutes (chores.ts), and when a gateway
// meets a key that it does not know.
//
//   JQ1. However often gateways wish for keys, issuers are asked once in 10 s; a wish that comes
//        too soon is kept until then.
//   JQ2. The same keys as before are no new table; a manifest that was applied meanwhile wins.
import { messageOf } from '../model/errors.ts';
import { loadJwt } from './jwt.ts';
import type { Controller } from './parts.ts';

const REFRESH_PAUSE_MS = 10_000;

/**
 * A gateway met a token whose key it does not know: the issuer may have rotated. Strangers can
 * write any name of a key into a token, so this is done once in 10 s, whoever asks how often.
 */
export function refreshWhenWanted(controller: Controller): () => void {
  const { clock, gateways, log } = controller.world;
  let doneMs = Number.NEGATIVE_INFINITY;
  let pending: NodeJS.Timeout | undefined;
  const refresh = (): void => {
    pending = undefined;
    doneMs = clock.monotonicMs();
    refreshJwks(controller).catch((error: unknown) => {
      log.warn('keys of issuers', { error: messageOf(error) });
    });
  };
  const stop = gateways.onSignal((signal) => {
    if (signal.kind !== 'event' || signal.event.kind !== 'keys-wanted') return;
    const pauseMs = doneMs + REFRESH_PAUSE_MS - clock.monotonicMs();
    // One that came too soon is not forgotten: its key may be newer than the last look.
    if (pauseMs > 0) pending ??= setTimeout(refresh, pauseMs).unref();
    else refresh();
  });
  return () => {
    stop();
    clearTimeout(pending);
  };
}

/** Issuers rotate their keys: gateways get the new ones without anybody's doing. */
export async function refreshJwks(controller: Controller): Promise<void> {
  const { settings, world, loop, lease } = controller;
  const { manifest } = settings;
  if (manifest.gateway.jwt.length === 0) return;
  const rules = await loadJwt(manifest, world.log, settings.jwt);
  // A manifest that was applied meanwhile brought its own.
  if (settings.manifest !== manifest) return;
  if (JSON.stringify(rules) === JSON.stringify(settings.jwt)) return;
  settings.jwt = rules;
  await world.store.putSetting('jwks', rules, lease.epoch).catch(() => undefined);
  await loop.state.book.publish();
}
