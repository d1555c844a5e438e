// How does a part of the ledger write a reserved kind? By a mark that only modules of this package
// can reach: it is not exported, so no caller can forge an erasure or an epoch.

export const OWN: unique symbol = Symbol('own entry');

export interface Own {
  readonly [OWN]?: true;
}
