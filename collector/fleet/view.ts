import type { Drift } from '../../common/drift.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import type { StoredStatement } from '../ledger/erasure/record.ts';
import type { StoredBody } from '../ledger/replay.ts';

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
  readonly differences: Drift['differences'];
  readonly commit: string | null;
}

export interface FleetFinding {
  readonly opened_index: number;
  readonly opened_at: string;
  readonly id: string;
  readonly store: string;
  readonly check: string;
  readonly finding: SigilFinding;
}

export interface AgentFacts {
  readonly index: number;
  readonly version: string;
  readonly hostname: string;
  readonly started_at: string;
}

export interface ReportFacts {
  readonly index: number;
  readonly minute: string;
  readonly coverage: string;
  readonly containers: number;
  readonly unobserved: number;
  readonly open_drifts: number;
  readonly stores: unknown;
  /** The desired state that the node compared with. */
  readonly commit: string | null;
}

/** What a node has said, all of it together. Names are as in the API and in the columns of the projections. */
export interface FleetNode extends KeyFacts {
  readonly node: string;
  /** Its last entry. */
  readonly last: { readonly index: number; readonly at: string } | null;
  readonly agent: AgentFacts | null;
  readonly report: ReportFacts | null;
  /** By id. */
  readonly containers: readonly FleetContainer[];
  /** Open ones, in the order they were opened; so are findings. */
  readonly drifts: readonly FleetDrift[];
  readonly findings: readonly FleetFinding[];
}

export interface FleetPage {
  /** Name of the last node seen. */
  readonly after: string | undefined;
  readonly limit: number;
  /** Only this one. */
  readonly node: string | undefined;
}

/** A batch as it is stored, not yet believed. */
export interface StoredReceipt {
  /** Size of the batch before. */
  readonly from: number;
  readonly size: number;
  readonly root: Buffer;
  readonly receivedAtMs: number;
  readonly signature: Buffer;
}

/** An entry by its number in its author's chain. */
export interface ChainPlace {
  readonly author: string;
  readonly seq: number;
}

export interface Placed extends ChainPlace {
  readonly index: number;
  /** RFC 3339. */
  readonly at: string;
}

/** Entries of an author with numbers above `after` up to and including `to`. */
export interface ChainSpan {
  readonly author: string;
  readonly after: number;
  readonly to: number;
}

export interface ChainBody extends StoredBody, ChainPlace {}

/** Reads of one state of the database: whatever is appended meanwhile, all calls see the same rows. */
export interface FleetView {
  head(): Promise<{ readonly origin: string; readonly size: number }>;
  /** Of the batches received up to then the one that reached furthest; undefined before the first one. */
  receiptBy(unixMs: number): Promise<StoredReceipt | undefined>;
  /** The first batch that reaches `size`. */
  receiptOf(size: number): Promise<StoredReceipt | undefined>;
  /** The fleet as the projections have it, by name of the node. */
  present(page: FleetPage): Promise<readonly FleetNode[]>;

  /** Where the last erasure ended: entries before it have lost their bodies. 0 when nothing was erased. */
  boundary(): Promise<number>;
  /** Hex SHA-256 of what was kept of the projections as of `boundary`. */
  baseDigest(boundary: number): Promise<string>;
  erasures(): Promise<readonly StoredStatement[]>;
  /** Some nodes as what was kept as of `boundary` tells them. */
  kept(boundary: number, nodes: readonly string[]): Promise<readonly FleetNode[]>;

  /** Enrolments and revocations among the first `size` entries, in order; their bodies are never erased. */
  keyStatements(size: number): Promise<readonly StoredBody[]>;
  /** The newest numbers of chains; nothing for who has said nothing. */
  chainEnds(authors: readonly string[]): Promise<readonly ChainPlace[]>;
  places(at: readonly ChainPlace[]): Promise<readonly Placed[]>;
  /** For each place the last `report` there or before it, if there is one. */
  lastReports(at: readonly ChainPlace[]): Promise<readonly ChainBody[]>;
  /** The first `limit` entries of the span that tell of containers, drifts, findings or the agent, in order. */
  statements(span: ChainSpan, limit: number): Promise<readonly ChainBody[]>;
}
