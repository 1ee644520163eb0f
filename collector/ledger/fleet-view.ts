import { type LoggedEntry, parseEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';

/*
 * What the fleet of a moment is made of, and what has to be read to tell it.
 */

/** Whose key counted since when. */
export interface KeyFacts {
  readonly state: 'active' | 'revoked';
  readonly fingerprint: string;
  readonly enrolled_at: string;
  readonly enrolled_index: number;
  readonly revoked_at: string | null;
}

export interface FleetContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly image_id: string;
  readonly state: string;
  readonly health: string;
  readonly exit_code: number;
  readonly restart_count: number;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly seen_index: number;
}

export interface FleetDrift {
  readonly opened_index: number;
  readonly opened_at: string;
  readonly changed_index: number;
  readonly id: string;
  readonly kind: string;
  readonly container: string;
  readonly container_id: string | null;
  readonly differences: unknown;
  readonly commit: string | null;
}

export interface FleetFinding {
  readonly opened_index: number;
  readonly opened_at: string;
  readonly id: string;
  readonly store: string;
  readonly check: string;
  readonly finding: unknown;
}

/** What a node said of itself last. */
export interface NodeFacts {
  readonly last: { readonly index: number; readonly at: string } | null;
  readonly agent: {
    readonly index: number;
    readonly version: string;
    readonly hostname: string;
    readonly started_at: string;
  } | null;
  readonly report: {
    readonly index: number;
    readonly minute: string;
    readonly coverage: string;
    readonly containers: number;
    readonly unobserved: number;
    readonly open_drifts: number;
    readonly stores: unknown;
    /** The desired state that the node compared with. */
    readonly commit: string | null;
  } | null;
}

export interface FleetNode extends KeyFacts, NodeFacts {
  readonly node: string;
  readonly containers: readonly FleetContainer[];
  /** Open ones. */
  readonly drifts: readonly FleetDrift[];
  readonly findings: readonly FleetFinding[];
}

/** A node's row as it stands now, and where its chain does. */
export interface NodeNow extends KeyFacts, NodeFacts {
  readonly node: string;
  readonly first_index: number;
  readonly head: { readonly seq: number; readonly index: number } | null;
}

export type OfNode<T> = T & { readonly node: string };

/** An entry by its place in its author's chain. */
export interface Placed {
  readonly author: string;
  readonly seq: number;
  readonly index: number;
  /** RFC 3339. */
  readonly at: string;
}

/** As stored; the body is null where it was dropped. */
export interface PlacedBody {
  readonly author: string;
  readonly seq: number;
  readonly index: number;
  readonly bytes: Buffer | null;
  readonly signature: Buffer | null;
}

export interface ChainPlace {
  readonly author: string;
  readonly seq: number;
}

/** Projections kept from the last erasure, of some nodes. */
export interface BaseFacts {
  readonly nodes: ReadonlyMap<string, NodeFacts>;
  readonly containers: readonly OfNode<FleetContainer>[];
  /** By the index they were opened at. */
  readonly drifts: ReadonlyMap<number, FleetDrift>;
}

/** Reads of one state of the database: whatever is appended meanwhile, all calls see the same rows. */
export interface FleetView {
  /** Tree size. */
  head(): Promise<number>;
  /** Where the last erasure ended: entries before it have lost their bodies. 0 when nothing was erased. */
  boundary(): Promise<number>;
  /** The largest size that a batch received up to then reached; undefined before the first one. */
  sizeAt(unixMs: number): Promise<number | undefined>;
  /** When the first batch that reaches `size` was received. */
  receivedAt(size: number): Promise<string | null>;
  /** Nodes first enrolled by one of the first `size` entries, by name. */
  nodes(size: number, page: FleetPage): Promise<readonly NodeNow[]>;
  /** Containers as they stand now. */
  containers(nodes: readonly string[]): Promise<readonly OfNode<FleetContainer>[]>;
  /** Drifts that the first `size` entries opened and did not end, with the values they have, or had at last. */
  drifts(nodes: readonly string[], size: number): Promise<readonly OfNode<FleetDrift>[]>;
  findings(nodes: readonly string[], size: number): Promise<readonly OfNode<FleetFinding>[]>;
  places(at: readonly ChainPlace[]): Promise<readonly Placed[]>;
  /** For each place the last entry of the kind there or before it, if there is one. */
  lastOf(kind: 'report' | 'agent.started', at: readonly ChainPlace[]): Promise<readonly PlacedBody[]>;
  /** Of the authors those that have observed something after the place. */
  observedAfter(at: readonly ChainPlace[]): Promise<ReadonlySet<string>>;
  /** The last `limit` `observed` entries at `place` or before it, from index `from` on, newest first. */
  observedBefore(place: ChainPlace, from: number, limit: number): Promise<readonly PlacedBody[]>;
  /** `drift.changed` entries of the nodes with indexes from `from` up to but not including `to`, newest first. */
  driftChanges(nodes: readonly string[], span: Span, limit: number): Promise<readonly PlacedBody[]>;
  /** Enrolments and revocations with indexes of the span, in order. */
  keyStatements(span: Span): Promise<readonly PlacedBody[]>;
  bodies(indexes: readonly number[]): Promise<readonly PlacedBody[]>;
  base(nodes: readonly string[]): Promise<BaseFacts>;
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface FleetPage {
  /** Name of the last node seen. */
  readonly after: string | undefined;
  readonly limit: number;
  /** Only this one. */
  readonly node: string | undefined;
}

/** @throws AppError `ledger.tampered` for a body that is missing where nothing was erased, or is no entry. */
export function readBody({ author, index, bytes, signature }: PlacedBody): LoggedEntry {
  if (bytes === null || signature === null) {
    throw new AppError('ledger.tampered', `the body of entry ${index} of ${author} is missing`, { details: { index } });
  }
  return { index, entry: parseEntry(bytes), bytes, signature };
}
