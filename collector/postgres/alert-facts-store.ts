import { rfc3339 } from '../../common/clock.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { collectorAuthor, parseLogged } from '../../common/entry.ts';
import { toAppError } from '../../common/errors.ts';
import { type Body, statementSchema } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import {
  type Concerned,
  type DeadLetters,
  type Facts,
  factsFrom,
  type LastIntegrityRun,
  type LastingDrifts,
  type Losses,
  type NodeFacts,
  type ReportFacts,
  type WitnessFacts,
} from '../alerts/rules/facts.ts';
import type { RuleSettings } from '../alerts/rules/settings.ts';
import { withStatus } from './enforcement-store.ts';
import { readLedgerCheckFacts } from './integrity-store.ts';
import { countDeadLetters } from './job-figures-store.ts';
import type { Queryable } from './pool.ts';
import { readSilences } from './standing-measure-store.ts';

export interface FactsWish {
  /** By the collector's clock, Unix milliseconds. */
  readonly nowMs: number;
  readonly settings: RuleSettings;
  readonly witnesses: () => Promise<WitnessFacts>;
}

/**
 * What alerts are raised by. One statement after another: a look every few seconds has time, and connections are few. Each costs by
 * the nodes there are and by what stands, not by what the ledger holds. Never rejects: see {@link Facts} for what could not be read.
 */
export async function readFacts(db: Queryable, { nowMs, settings, witnesses: view }: FactsWish): Promise<Facts> {
  const sizeAgo = (ms: number) => attempt(() => sizeAt(db, nowMs - ms));
  const silenced = await attempt(async () =>
    JSON.stringify((await readSilences(db, nowMs)).map(({ body }) => body.scope)),
  );
  const lasting = await sizeAgo(settings.driftMs);
  const lately = await sizeAgo(settings.coverageMs);
  const forked = await sizeAgo(settings.forkMs);
  const waits = { nowMs, beforeMs: nowMs - settings.approvalMs };
  return factsFrom({
    nodes: await attempt(() => readNodeFacts(db)),
    drifts: await attempt(async () => readLastingDrifts(db, { silenced: silenced(), before: lasting() })),
    losses: await attempt(async () => readLosses(db, lately())),
    forks: await attempt(async () => readForks(db, forked())),
    equivocations: await attempt(async () => readEquivocations(db, forked())),
    failedOrders: await attempt(async () => readFailedOrders(db, { silenced: silenced(), nowMs })),
    waitingOrders: await attempt(() => readWaitingOrders(db, waits)),
    integrityRuns: await attempt(() => readIntegrityRuns(db)),
    ledgerCheck: await attempt(() => readLedgerCheckFacts(db)),
    witnesses: await attempt(view),
    deadLetters: await attempt(() => readDeadLetters(db, nowMs - settings.deadLetterMs)),
    deadJobs: await attempt(() => countDeadLetters(db)),
  });
}

/** What was read, or the reason why it could not be: thrown at whoever asks for it. */
async function attempt<T>(read: () => Promise<T>): Promise<() => T> {
  try {
    const fact = await read();
    return () => fact;
  } catch (thrown) {
    const error = toAppError(thrown);
    return () => {
      throw error;
    };
  }
}

/** How many entries the ledger held then, by when they were received: no clock of a node counts. */
async function sizeAt(db: Queryable, atMs: number): Promise<number> {
  const { rows } = await db.query<{ size: number }>(
    'select size from batches where received_ms <= $1 order by received_ms desc, size desc limit 1',
    [Math.max(0, atMs)],
  );
  return rows[0]?.size ?? 0;
}

interface NodeRow extends Pick<ReportFacts, 'stores' | 'disk'> {
  readonly node: string;
  readonly enrolled_at: Date;
  readonly received_ms: number | null;
  readonly coverage: ReportFacts['coverage'] | null;
}

async function readNodeFacts(db: Queryable): Promise<readonly NodeFacts[]> {
  const { rows } = await db.query<NodeRow>(
    `select n.node, n.enrolled_at, n.coverage, n.stores, n.disk, b.received_ms
       from nodes n
       left join lateral (select received_ms from batches where size > n.last_index order by size limit 1) b on true
      where n.revoked_at is null
      order by n.node`,
  );
  return rows.map(({ node, enrolled_at, received_ms, coverage, stores, disk }) => ({
    node,
    heardAtMs: received_ms ?? enrolled_at.getTime(),
    report: coverage === null ? null : { coverage, stores, disk },
  }));
}

/** Whether no silence of `$1`, a JSON array of scopes, is about the drift `d`. */
const unsilenced = `
  not exists (select from jsonb_to_recordset($1) as s(node text, container text, kind text)
               where coalesce(s.node, d.node) = d.node and coalesce(s.container, d.container) = d.container
                 and coalesce(s.kind, d.kind) = d.kind)`;

/** The oldest drifts of the node `n` and the kind `k` that stand: as many as the planner of orders reads, however many there are. */
const oldest = (which: 'true' | 'opened_index < $2') => `
  (select * from drifts
    where node = n.node and kind = k.kind and resolved_index is null and ${which}
    order by opened_index limit ${limits.maxOpenDriftsRead})`;

const kindList = driftKinds.map((kind) => `('${kind}')`).join(', ');

/** As many names as could be shown, and one more. */
const named = '(array_agg(container order by opened_index))[1:11]';

interface Lasting {
  /** Scopes, as a JSON array. */
  readonly silenced: string;
  /** Size of the ledger: later drifts have not stood for long enough. */
  readonly before: number;
}

async function readLastingDrifts(db: Queryable, { silenced, before }: Lasting): Promise<readonly LastingDrifts[]> {
  const { rows } = await db.query<LastingDrifts>(
    `select n.node, k.kind, found.count, found.containers
       from nodes n
      cross join (values ${kindList}) as k(kind)
      cross join lateral (
        select count(*) as count, ${named} as containers
          from (select d.container, d.opened_index from ${oldest('opened_index < $2')} d
                 where ${unsilenced}
                 order by d.opened_index limit $3) standing) found
      where n.revoked_at is null and found.count > 0
      order by n.node, k.kind`,
    [silenced, before, limits.maxAlertedContainers],
  );
  return rows;
}

interface Answered {
  readonly silenced: string;
  readonly nowMs: number;
}

/** An order that was given since and has come to nothing yet changes nothing: what came of the one before is still so. */
async function readFailedOrders(db: Queryable, { silenced, nowMs }: Answered): Promise<readonly Concerned[]> {
  const status = withStatus('$2');
  const { rows } = await db.query<Concerned>(
    `select node, count(*) as count, ${named} as containers
       from (select n.node, d.container, d.opened_index
               from nodes n
              cross join (values ${kindList}) as k(kind)
              cross join lateral (
                select d.id, d.container, d.opened_index from ${oldest('true')} d
                 where ${unsilenced}
                 order by d.opened_index limit $3) d
              cross join lateral (
                select told.status
                  from (${status} and o.node = n.node and o.drift_id = d.id and o.index > d.opened_index) told
                 where told.status not in ('requested', 'rejected', 'expired')
                 order by told.index desc limit 1) answer
              where n.revoked_at is null and answer.status in ('failed', 'refused', 'relapsed')) failed
      group by node
      order by node`,
    [silenced, rfc3339(nowMs), limits.maxAlertedContainers],
  );
  return rows;
}

interface Waiting {
  readonly nowMs: number;
  readonly beforeMs: number;
}

async function readWaitingOrders(db: Queryable, { nowMs, beforeMs }: Waiting): Promise<readonly Concerned[]> {
  const status = withStatus('$1');
  const { rows } = await db.query<Concerned>(
    `select node, count(*) as count, (array_agg(container order by index))[1:11] as containers
       from (select n.node, o.container, o.index
               from nodes n
              cross join lateral (
                select * from (${status} and o.node = n.node and o.expires_at > $1::timestamptz and o.origin <> 'local'
                                  and o.approvals > 0 and o.issued_at <= $2) told
                 where told.status = 'requested'
                   and told.approvals > (select count(distinct e.body -> 'approval' ->> 'approver') from order_events e
                                          where e.order_hash = told.hash and e.node = '${collectorAuthor}'
                                            and e.kind = 'order.approved' and e.index > told.index)
                 limit $3) o
              where n.revoked_at is null) waiting
      group by node
      order by node`,
    [rfc3339(nowMs), rfc3339(Math.max(0, beforeMs)), limits.maxAlertedContainers],
  );
  return rows;
}

/** Of what was received since the ledger had `since` entries. A node may say that a gap is as long as all time. */
async function readLosses(db: Queryable, since: number): Promise<readonly Losses[]> {
  const { rows } = await db.query<Losses>(
    `select n.node, g.gaps, g.gap_ms as "gapMs", o.dropped, o.recovered
       from nodes n
      cross join lateral (
        select count(*) as gaps, least(coalesce(sum(ms), 0), 1e15)::bigint as gap_ms
          from (select greatest(extract(epoch from to_at - from_at) * 1000, 0) as ms from coverage_gaps
                 where node = n.node and index >= $1 order by index desc limit $2) gap) g
      cross join lateral (
        select count(*) filter (where kind = 'outbox.dropped') as dropped,
               count(*) filter (where kind = 'outbox.recovered') as recovered
          from (select kind from entry_runs
                 where author = n.node and kind in ('outbox.dropped', 'outbox.recovered') and index >= $1
                 order by index desc limit $2) outbox) o
      where n.revoked_at is null and (g.gaps > 0 or o.dropped > 0 or o.recovered > 0)
      order by n.node`,
    [since, limits.maxAlertEntriesCounted],
  );
  return rows;
}

/**
 * Nodes whose last fork nobody has released, or was received since. An agent that was shown a fork sends nothing until it is released,
 * so the entry mostly comes together with the release.
 */
async function readForks(db: Queryable, since: number): Promise<readonly string[]> {
  const last = (kind: 'witness.fork' | 'witness.released') =>
    `(select index from entry_runs where author = n.node and kind = '${kind}' order by index desc limit 1)`;
  const { rows } = await db.query<{ node: string }>(
    `select n.node
       from nodes n
      cross join lateral (select ${last('witness.fork')} as fork, ${last('witness.released')} as released) word
      where n.revoked_at is null and word.fork is not null
        and (word.fork >= $1 or word.released is null or word.released < word.fork)
      order by n.node`,
    [since],
  );
  return rows.map(({ node }) => node);
}

/** Of the canonical bytes so much is read: the node stands before anything that it has written itself. */
const equivocationHeadBytes = 256;

/** Nodes of which it was put on record since, and that have the same key still. */
async function readEquivocations(db: Queryable, since: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ node: string }>(
    `select distinct n.node
       from (select e.index, substring(convert_from(substring(e.bytes from 1 for ${equivocationHeadBytes}), 'LATIN1')
                                       from '"node":"([a-z0-9-]+)"') as node
               from first_entries e
              where e.kind = 'ledger.equivocation' and e.index >= $1 and e.bytes is not null
              order by e.index desc limit $2) told
       join nodes n on n.node = told.node
      where n.revoked_at is null and n.enrolled_index < told.index
      order by n.node`,
    [since, limits.maxAlertEntriesCounted],
  );
  return rows.map(({ node }) => node);
}

interface RunRow {
  readonly node: string;
  readonly received_ms: number;
  readonly bytes: Buffer | null;
}

async function readIntegrityRuns(db: Queryable): Promise<readonly LastIntegrityRun[]> {
  const { rows } = await db.query<RunRow>(
    `select n.node, batch.received_ms, last.bytes
       from nodes n
      cross join lateral (select index, bytes from first_entries where author = n.node and kind = 'integrity.report'
                           order by index desc limit 1) last
      cross join lateral (select received_ms from batches where size > last.index order by size limit 1) batch
      where n.revoked_at is null
      order by n.node`,
  );
  return rows.map(({ node, received_ms, bytes }) => ({
    node,
    receivedAtMs: received_ms,
    status: bytes === null ? null : statusOf(bytes),
  }));
}

function statusOf(bytes: Buffer): Body<'integrity.report'>['status'] | null {
  const { kind, body } = parseLogged(bytes);
  const said = statementSchema.safeParse({ kind, body });
  return said.success && said.data.kind === 'integrity.report' ? said.data.body.status : null;
}

async function readDeadLetters(db: Queryable, sinceMs: number): Promise<readonly DeadLetters[]> {
  const { rows } = await db.query<DeadLetters>(
    `select channel, count(*) as count from alert_notifications
      where state = 'dead' and settled_at >= $1
      group by channel order by channel collate "C"`,
    [rfc3339(Math.max(0, sinceMs))],
  );
  return rows;
}
