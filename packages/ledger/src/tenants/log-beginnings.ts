// Has this tenant's log begun? Its first leaf must name its position in the map before anything
// else is recorded for the tenant; before the first tenant, the log names the map key.
// LB1. Writers that come at the same time wait for one and the same first leaf.
// LB2. Nothing is written for a tenant beyond the limit, or with a map key that is not the log's.
// A retry after an unknown outcome may write the same beginning twice; that is harmless, because
// both name the same position.

import { LedgerError } from '../errors.ts';
import { logStartEntry, mapKeyEntry } from './tenant-entries.ts';
import type { TenantLogs } from './tenant-logs.ts';

export interface BeginningsOptions {
  readonly tenants: TenantLogs;
  /** Resolves when the bytes are durable and followed. */
  readonly append: (entry: Uint8Array) => Promise<unknown>;
  /** ISO 8601 wall time. */
  readonly now: () => string;
  /** 16 random bytes in base64url. */
  readonly salt: () => string;
}

export class LogBeginnings {
  readonly #options: BeginningsOptions;
  readonly #pending = new Map<string, Promise<void>>();
  #keyPending: Promise<void> | undefined;

  constructor(options: BeginningsOptions) {
    this.#options = options;
  }

  /** Undefined when the log has begun: the hot path pays one look-up. */
  ensure(tenant: string): Promise<void> | undefined {
    const { tenants } = this.#options;
    if (tenants.has(tenant)) return undefined;
    const pending = this.#pending.get(tenant);
    if (pending !== undefined) return pending;
    tenants.admit(tenant, this.#pending.size);
    const began = this.#begin(tenant).finally(() => this.#pending.delete(tenant));
    this.#pending.set(tenant, began);
    return began;
  }

  async #begin(tenant: string): Promise<void> {
    const { tenants, append, now, salt } = this.#options;
    await this.#sayKey();
    const position = tenants.position(tenant);
    await append(logStartEntry({ at: now(), salt: salt(), tenant, position }));
  }

  /** Once per log. Whoever opens a ledger looks at `keyState` too, to notice a lost key at once. */
  async #sayKey(): Promise<void> {
    const { tenants, append, now } = this.#options;
    if (tenants.keyState === 'lost') {
      throw new LedgerError('KIN_LEDGER_WRONG_KEY', 'the map key is not the one of this log');
    }
    if (tenants.keyState === 'agreed') return;
    this.#keyPending ??= append(mapKeyEntry(now(), tenants.keyDigest))
      .then(() => undefined)
      .finally(() => (this.#keyPending = undefined));
    await this.#keyPending;
  }
}
