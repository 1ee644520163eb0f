import type {
  BaseFacts,
  ChainPlace,
  FleetContainer,
  FleetDrift,
  FleetFinding,
  FleetPage,
  FleetView,
  NodeFacts,
  NodeNow,
  OfNode,
  Placed,
  PlacedBody,
  Span,
} from '../ledger/fleet-view.ts';
import { type Db, inTransaction, type Tx, withClient } from './pool.ts';

/*
 * What the fleet of a moment is told from. Chains are followed by (author, seq), which is an index; kinds that nodes say
 * all the time have none of their own, so they are found by going back along a chain.
 */

/** Runs `work` on one state of the database. */
export function atOneMoment<T>(db: Db, work: (view: FleetView) => Promise<T>): Promise<T> {
  return withClient(db, (client) =>
    inTransaction(client, async (tx) => {
      await tx.query('set transaction isolation level repeatable read, read only');
      return work(fleetView(tx));
    }),
  );
}

/** On a connection whose transaction sees one state, stored or rebuilt. */
export function fleetView(tx: Tx): FleetView {
  return {
    head: () => readHead(tx),
    boundary: () => readBoundary(tx),
    sizeAt: (unixMs) => readSizeAt(tx, unixMs),
    receivedAt: (size) => readReceivedAt(tx, size),
    nodes: (size, page) => readNodes(tx, size, page),
    containers: (nodes) => readContainers(tx, nodes),
    drifts: (nodes, size) => readDrifts(tx, nodes, size),
    findings: (nodes, size) => readFindings(tx, nodes, size),
    places: (at) => readPlaces(tx, at),
    lastOf: (kind, at) => readLastOf(tx, kind, at),
    observedAfter: (at) => readObservedAfter(tx, at),
    observedBefore: (place, from, limit) => readObservedBefore(tx, place, { from, limit }),
    driftChanges: (nodes, span, limit) => readDriftChanges(tx, nodes, { ...span, limit }),
    keyStatements: (span) => readKeyStatements(tx, span),
    bodies: (indexes) => readBodies(tx, indexes),
    base: (nodes) => readBaseFacts(tx, nodes),
  };
}

async function readHead(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ size: number }>('select size from ledger_head');
  return rows[0]?.size ?? 0;
}

async function readBoundary(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ boundary: number | null }>(
    'select max(boundary) as boundary from projection_bases',
  );
  return rows[0]?.boundary ?? 0;
}

/** The largest, not the latest: clocks are set back, the ledger is not. */
async function readSizeAt(tx: Tx, unixMs: number): Promise<number | undefined> {
  const { rows } = await tx.query<{ size: number | null }>(
    'select max(size) as size from batches where received_ms <= $1',
    [unixMs],
  );
  return rows[0]?.size ?? undefined;
}

async function readReceivedAt(tx: Tx, size: number): Promise<string | null> {
  const { rows } = await tx.query<{ received_ms: number }>(
    'select received_ms from batches where size >= $1 order by size limit 1',
    [size],
  );
  const [row] = rows;
  return row === undefined ? null : new Date(row.received_ms).toISOString();
}

interface NodeRow {
  readonly node: string;
  readonly fingerprint: string;
  readonly enrolled_at: Date;
  readonly enrolled_index: number;
  readonly first_index: number;
  readonly revoked_at: Date | null;
  readonly started_index: number | null;
  readonly started_at: Date | null;
  readonly agent_version: string | null;
  readonly hostname: string | null;
  readonly last_index: number | null;
  readonly last_entry_at: Date | null;
  readonly report_index: number | null;
  readonly report_minute: Date | null;
  readonly coverage: string | null;
  readonly containers: number | null;
  readonly unobserved: number | null;
  readonly open_drifts: number | null;
  readonly stores: unknown;
  readonly commit: string | null;
}

interface HeadColumns {
  readonly head_seq: number | null;
  readonly head_index: number | null;
}

const nodeColumns = `node, fingerprint, enrolled_at, enrolled_index, first_index, revoked_at, started_index, started_at,
  agent_version, hostname, last_index, last_entry_at, report_index, report_minute, coverage, containers, unobserved,
  open_drifts, stores, commit`;

async function readNodes(tx: Tx, size: number, { after, limit, node }: FleetPage): Promise<readonly NodeNow[]> {
  const { rows } = await tx.query<NodeRow & HeadColumns>(
    `select ${nodeColumns}, h.seq as head_seq, h.index as head_index
       from nodes left join author_heads h on h.author = node
      where first_index < $1 and ($2::text is null or node > $2) and ($3::text is null or node = $3)
      order by node
      limit $4`,
    [size, after, node, limit],
  );
  return rows.map((row) => ({
    node: row.node,
    state: row.revoked_at === null ? 'active' : 'revoked',
    fingerprint: row.fingerprint,
    enrolled_at: row.enrolled_at.toISOString(),
    enrolled_index: row.enrolled_index,
    first_index: row.first_index,
    revoked_at: row.revoked_at?.toISOString() ?? null,
    head: row.head_seq === null || row.head_index === null ? null : { seq: row.head_seq, index: row.head_index },
    ...nodeFacts(row),
  }));
}

function nodeFacts(row: NodeRow): NodeFacts {
  const { last_index, last_entry_at, started_index, started_at, report_index, report_minute } = row;
  return {
    last: last_index === null || last_entry_at === null ? null : { index: last_index, at: last_entry_at.toISOString() },
    agent:
      started_index === null || started_at === null
        ? null
        : {
            index: started_index,
            version: row.agent_version ?? '',
            hostname: row.hostname ?? '',
            started_at: started_at.toISOString(),
          },
    report:
      report_index === null || report_minute === null
        ? null
        : {
            index: report_index,
            minute: report_minute.toISOString(),
            coverage: row.coverage ?? '',
            containers: row.containers ?? 0,
            unobserved: row.unobserved ?? 0,
            open_drifts: row.open_drifts ?? 0,
            stores: row.stores,
            commit: row.commit,
          },
  };
}

const containerColumns = `node, id, name, image, image_id, state, health, exit_code, restart_count, created_at, started_at,
  finished_at, seen_index`;

async function readContainers(tx: Tx, nodes: readonly string[]): Promise<readonly OfNode<FleetContainer>[]> {
  const { rows } = await tx.query<OfNode<FleetContainer>>(
    `select ${containerColumns} from containers where node = any($1) order by node, id collate "C"`,
    [nodes],
  );
  return rows;
}

const driftColumns = `node, opened_index, opened_at, changed_index, id, kind, container, container_id, differences, commit`;

async function readDrifts(tx: Tx, nodes: readonly string[], size: number): Promise<readonly OfNode<FleetDrift>[]> {
  const { rows } = await tx.query<Omit<OfNode<FleetDrift>, 'opened_at'> & { opened_at: Date }>(
    `select ${driftColumns} from drifts
      where node = any($1) and opened_index < $2 and (resolved_index is null or resolved_index >= $2)
      order by node, opened_index`,
    [nodes, size],
  );
  return rows.map((row) => ({ ...row, opened_at: row.opened_at.toISOString() }));
}

async function readFindings(tx: Tx, nodes: readonly string[], size: number): Promise<readonly OfNode<FleetFinding>[]> {
  const { rows } = await tx.query<Omit<OfNode<FleetFinding>, 'opened_at'> & { opened_at: Date }>(
    `select node, opened_index, opened_at, id, store, "check", finding from findings
      where node = any($1) and opened_index < $2 and (cleared_index is null or cleared_index >= $2)
      order by node, opened_index`,
    [nodes, size],
  );
  return rows.map((row) => ({ ...row, opened_at: row.opened_at.toISOString() }));
}

function asColumns(at: readonly ChainPlace[]): [authors: string[], seqs: number[]] {
  return [at.map(({ author }) => author), at.map(({ seq }) => seq)];
}

async function readPlaces(tx: Tx, at: readonly ChainPlace[]): Promise<readonly Placed[]> {
  const { rows } = await tx.query<Omit<Placed, 'at'> & { at: Date }>(
    `select author, seq, index, at from unnest($1::text[], $2::bigint[]) as x(author, seq) join entries using (author, seq)`,
    asColumns(at),
  );
  return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
}

async function readLastOf(tx: Tx, kind: string, at: readonly ChainPlace[]): Promise<readonly PlacedBody[]> {
  const { rows } = await tx.query<PlacedBody>(
    `select x.author, e.seq, e.index, b.bytes, b.signature
       from unnest($1::text[], $2::bigint[]) as x(author, seq)
      cross join lateral (select seq, index from entries
                           where author = x.author and seq <= x.seq and kind = $3
                           order by seq desc limit 1) e
       left join entry_bodies b on b.index = e.index`,
    [...asColumns(at), kind],
  );
  return rows;
}

async function readObservedAfter(tx: Tx, at: readonly ChainPlace[]): Promise<ReadonlySet<string>> {
  const { rows } = await tx.query<{ author: string }>(
    `select x.author from unnest($1::text[], $2::bigint[]) as x(author, seq)
      where exists (select from entries e where e.author = x.author and e.seq > x.seq and e.kind = 'observed')`,
    asColumns(at),
  );
  return new Set(rows.map(({ author }) => author));
}

async function readObservedBefore(
  tx: Tx,
  { author, seq }: ChainPlace,
  { from, limit }: { from: number; limit: number },
): Promise<readonly PlacedBody[]> {
  const { rows } = await tx.query<PlacedBody>(
    `select e.author, e.seq, e.index, b.bytes, b.signature
       from (select author, seq, index from entries
              where author = $1 and seq <= $2 and kind = 'observed' and index >= $3
              order by seq desc limit $4) e
       left join entry_bodies b on b.index = e.index
      order by e.seq desc`,
    [author, seq, from, limit],
  );
  return rows;
}

async function readDriftChanges(
  tx: Tx,
  nodes: readonly string[],
  { from, to, limit }: Span & { limit: number },
): Promise<readonly PlacedBody[]> {
  const { rows } = await tx.query<PlacedBody>(
    `select e.author, e.seq, e.index, b.bytes, b.signature
       from (select author, seq, index from entries
              where kind = 'drift.changed' and index >= $2 and index < $3 and author = any($1)
              order by index desc limit $4) e
       left join entry_bodies b on b.index = e.index
      order by e.index desc`,
    [nodes, from, to, limit],
  );
  return rows;
}

async function readKeyStatements(tx: Tx, { from, to }: Span): Promise<readonly PlacedBody[]> {
  const { rows } = await tx.query<PlacedBody>(
    `select e.author, e.seq, e.index, b.bytes, b.signature
       from entries e left join entry_bodies b on b.index = e.index
      where e.kind in ('node.enrolled', 'node.revoked') and e.index >= $1 and e.index < $2
      order by e.index`,
    [from, to],
  );
  return rows;
}

async function readBodies(tx: Tx, indexes: readonly number[]): Promise<readonly PlacedBody[]> {
  const { rows } = await tx.query<PlacedBody>(
    `select e.author, e.seq, e.index, b.bytes, b.signature
       from entries e left join entry_bodies b on b.index = e.index
      where e.index = any($1)`,
    [indexes],
  );
  return rows;
}

/** Rows of the newest base, read back as the rows they were. */
async function readBaseFacts(tx: Tx, nodes: readonly string[]): Promise<BaseFacts> {
  const from = (relation: string, columns: string, order: string) =>
    `select ${columns} from projection_bases b
      cross join lateral jsonb_populate_record(null::${relation}, b.content::jsonb) r
      where b.boundary = (select max(boundary) from projection_bases) and b.relation = '${relation}' and r.node = any($1)
      order by ${order}`;
  const kept = await tx.query<NodeRow>(from('nodes', nodeColumns, 'node'), [nodes]);
  const containers = await tx.query<OfNode<FleetContainer>>(from('containers', containerColumns, 'node, id'), [nodes]);
  const drifts = await tx.query<Omit<OfNode<FleetDrift>, 'opened_at'> & { opened_at: Date }>(
    from('drifts', driftColumns, 'opened_index'),
    [nodes],
  );
  return {
    nodes: new Map(kept.rows.map((row) => [row.node, nodeFacts(row)])),
    containers: containers.rows,
    drifts: new Map(drifts.rows.map((row) => [row.opened_index, { ...row, opened_at: row.opened_at.toISOString() }])),
  };
}
