// How does the control plane speak with its gateways? Push a table, hear counters and events.
//
//   G1. A table is applied whole, between two requests; versions only grow.
//   G2. With nobody here to push, gateways serve from their last good table (P7).
import type { RoutingTable, InFlight } from '../model/routing.ts';
import type { ReplicaId } from '../model/ids.ts';
import type { EdgeCell, GatewayEvent, Heartbeat, TrafficCell } from '../model/signal.ts';

export type GatewaySignal =
  | { readonly kind: 'traffic'; readonly cells: readonly TrafficCell[] }
  /** What clients saw, from this worker; for the metrics. */
  | { readonly kind: 'edge'; readonly worker: string; readonly cells: readonly EdgeCell[] }
  | { readonly kind: 'event'; readonly event: GatewayEvent }
  /** The SDK speaks on the same socket. */
  | { readonly kind: 'heartbeat'; readonly replica: ReplicaId; readonly beat: Heartbeat }
  | { readonly kind: 'ready'; readonly replica: ReplicaId }
  | { readonly kind: 'audit'; readonly replica: ReplicaId; readonly event: unknown };

export type PushAnswer =
  /** Every connected gateway applied it. */
  | { readonly kind: 'applied'; readonly workers: number }
  /** These did not answer in time; they get it again when they come back. */
  | { readonly kind: 'partial'; readonly missing: readonly string[] };

export interface Gateways {
  push(table: RoutingTable, timeoutMs: number): Promise<PushAnswer>;
  forgive(replicas: readonly ReplicaId[]): void;
  /** Requests inside this replica right now, summed over all gateways. */
  inFlight(replica: ReplicaId): InFlight;
  connected(): readonly string[];
  onSignal(listener: (signal: GatewaySignal) => void): () => void;
  close(): Promise<void>;
}
