// How do commands read the manifest? With the environment and the port options of this call; what
// is only worth a second look is said on stderr.
import { loadManifest, warningText } from '../manifest/index.ts';
import type { LoadedManifest } from '../manifest/index.ts';
import type { Context } from './context.ts';

export async function loadFor(context: Context, path: string): Promise<LoadedManifest> {
  const { gatewayPort, controlPort } = context.globals;
  const overrides = {
    ...(gatewayPort === undefined ? {} : { 'gateway.port': gatewayPort }),
    ...(controlPort === undefined ? {} : { 'control.port': controlPort }),
  };
  const loaded = await loadManifest(path, { env: context.env, overrides });
  if (!context.globals.json) {
    for (const warning of loaded.warnings) {
      context.term.err(`${context.paint.gold(warningText(warning))}\n`);
    }
    for (const { service, because } of loaded.leftOut) {
      context.term.err(`${service} is left out: ${because} is set\n`);
    }
  }
  return loaded;
}
