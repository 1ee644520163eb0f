import { collectorAuthor } from '../../common/entry.ts';
import type { IntegrityStatus } from '../../common/integrity-report.ts';
import { limits } from '../../common/limits.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import type { LedgerCheckFacts } from '../alerts/rules/facts.ts';
import {
  type IntegrityStore,
  type LastLedgerCheck,
  type NewReport,
  type ReportEntry,
  type ReportFilter,
  type ReportSources,
  type RunAlone,
  reportKinds,
  type StandingFinding,
  type Turn,
} from '../integrity/ports.ts';
import { aloneWith } from './alone.ts';
import type { DatabaseOptions, Queryable } from './pool.ts';

/** Taken by whoever makes a check of the ledger. */
const checkLock = 7_600_007;

export function postgresIntegrityStore(db: Queryable): IntegrityStore {
  return {
    turn: async () => (await readTurn(db)) ?? (await firstTurn(db)),
    begun: (lastMs) => setBegun(db, lastMs),
    alerted: () => readAlerted(db),
    setAlerted: (alerted) => writeAlerted(db, alerted),
    archive: (report) => insertReport(db, report),
    tidy: (kept) => deleteReports(db, kept),
    last: () => readLast(db),
  };
}

export function postgresReportSources(db: Queryable): ReportSources {
  return {
    entries: (filter, page) => listReportEntries(db, filter, page),
    entry: (index) => readReportEntry(db, index),
    ownEntry: (id) => readOwnEntry(db, id),
    standing: (entry, stores, perStore) => readStanding(db, entry, stores, perStore),
    archived: (id) => readDocument(db, id),
  };
}

export function aloneInDatabase(database: DatabaseOptions): RunAlone {
  return aloneWith(database, checkLock);
}

async function readTurn(db: Queryable): Promise<Turn | undefined> {
  const { rows } = await db.query<{ now: Date; last: Date }>(
    'select clock_timestamp() as now, last_begun_at as last from integrity_state',
  );
  const [row] = rows;
  return row && { nowMs: row.now.getTime(), lastMs: row.last.getTime() };
}

/** From here on, checks can be missed. */
async function firstTurn(db: Queryable): Promise<Turn> {
  await db.query('insert into integrity_state default values on conflict do nothing');
  return (await readTurn(db)) ?? { nowMs: 0, lastMs: 0 };
}

async function setBegun(db: Queryable, lastMs: number): Promise<void> {
  await db.query(
    `insert into integrity_state (last_begun_at) values (to_timestamp($1::double precision / 1000))
     on conflict (only_row) do update set last_begun_at = excluded.last_begun_at`,
    [lastMs],
  );
}

async function readAlerted(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ alerted: boolean }>('select alerted from integrity_state');
  return rows[0]?.alerted ?? false;
}

async function writeAlerted(db: Queryable, alerted: boolean): Promise<void> {
  await db.query(
    `insert into integrity_state (alerted) values ($1)
     on conflict (only_row) do update set alerted = excluded.alerted`,
    [alerted],
  );
}

/** One statement, so that the last success is as durable as its report. */
async function insertReport(db: Queryable, { report, document, checked, failed }: NewReport): Promise<void> {
  const { id, status, startedAt, finishedAt } = report;
  await db.query(
    `with archived as (
       insert into integrity_reports (id, status, finished_at, duration_ms, checked, failed, document)
       values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing
     )
     insert into integrity_state (last_ok_at) values (case when $2 = 'ok' then $3::timestamptz end)
     on conflict (only_row) do update set last_ok_at = coalesce(excluded.last_ok_at, integrity_state.last_ok_at)`,
    [id, status, finishedAt, Date.parse(finishedAt) - Date.parse(startedAt), checked, failed, document],
  );
}

/** The newest ones stay however old they seem: a clock that was set ahead for a night must not empty the archive. */
async function deleteReports(
  db: Queryable,
  { keepDays, keepReports }: { readonly keepDays: number; readonly keepReports: number },
): Promise<void> {
  await db.query(
    `delete from integrity_reports r
      using (select id, row_number() over (order by id desc) as newer from integrity_reports) ranked
      where r.id = ranked.id and newer > $3
        and (newer > $2 or r.finished_at < now() - make_interval(days => $1))`,
    [keepDays, keepReports, limits.reportsKeptAnyway],
  );
}

async function readLast(db: Queryable): Promise<LastLedgerCheck | undefined> {
  const { rows } = await db.query<{
    status: IntegrityStatus;
    finished_at: Date;
    duration_ms: number;
    checked: number;
    failed: number;
    last_ok_at: Date | null;
  }>(
    `select status, finished_at, duration_ms, checked, failed, (select last_ok_at from integrity_state) as last_ok_at
       from integrity_reports order by id desc limit 1`,
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  const { status, finished_at, duration_ms, checked, failed, last_ok_at } = row;
  const times = { finishedMs: finished_at.getTime(), durationMs: duration_ms, lastOkMs: last_ok_at?.getTime() ?? null };
  return { status, checked, failed, ...times };
}

async function readDocument(db: Queryable, id: string): Promise<string | undefined> {
  const { rows } = await db.query<{ document: string }>('select document from integrity_reports where id = $1', [id]);
  return rows[0]?.document;
}

/**
 * What only entries with this status have in their canonical bytes, for both kinds: members stand in the order of their names, and a
 * quote within a string is escaped, so no string can hold these. Parsed by the database, one entry with U+0000 would break the list.
 */
function marksOf(status: IntegrityStatus): readonly Buffer[] {
  return [Buffer.from(`,"status":"${status}","stores":[`), checkedMark(status)];
}

/** As {@link marksOf}, for checks of the ledger alone. */
function checkedMark(status: IntegrityStatus): Buffer {
  return Buffer.from(`,"status":"${status}"},"kind":"ledger.checked"`);
}

/** By when their batches were received; see {@link LedgerCheckFacts}. The first look of a collector that makes checks leaves a time too. */
export async function readLedgerCheckFacts(db: Queryable): Promise<LedgerCheckFacts> {
  const received = (index: string) => `(select received_ms from batches where size > (${index}) order by size limit 1)`;
  const { rows } = await db.query<{ ended: number | null; first: number | null; begun: Date | null }>(
    `select ${received(`select index from first_entries
                         where kind = 'ledger.checked' and (bytes is null or position($1::bytea in bytes) = 0)
                         order by index desc limit 1`)} as ended,
            ${received(`select index from entry_runs where kind = 'ledger.checked' order by index limit 1`)} as first,
            (select last_begun_at from integrity_state) as begun`,
    [checkedMark('unchecked')],
  );
  const [row] = rows;
  return { endedAtMs: row?.ended ?? null, awaitedSinceMs: row?.first ?? row?.begun?.getTime() ?? null };
}

const kindsInSql = reportKinds.map((kind) => `'${kind}'`).join(', ');

/** Each kind by itself: so an index has them in order, and none beyond the page is looked at. */
const newestOfKind = (kind: (typeof reportKinds)[number]) => `
  (select index, author, kind, bytes
     from first_entries
    where kind = '${kind}' and ($1::text is null or author = $1)
      and ($2::bytea is null or position($2 in bytes) > 0 or position($3::bytea in bytes) > 0)
      and ($4::bigint is null or index < $4)
    order by index desc
    limit $5)`;

async function listReportEntries(
  db: Queryable,
  { author, status }: ReportFilter,
  page: { readonly after: number | undefined; readonly limit: number },
): Promise<readonly ReportEntry[]> {
  const [ofNode, ofCollector] = status === undefined ? [] : marksOf(status);
  const { rows } = await db.query<ReportEntry>(
    `${reportKinds.map(newestOfKind).join(' union all ')}
      order by index desc
      limit $5`,
    [author, ofNode, ofCollector, page.after, page.limit],
  );
  return rows;
}

async function readReportEntry(db: Queryable, index: number): Promise<ReportEntry | undefined> {
  const { rows } = await db.query<ReportEntry>(
    `select index, author, kind, bytes from first_entries
      where index = $1 and kind in (${kindsInSql})`,
    [index],
  );
  return rows[0];
}

/** @param id of the form of report ids, which need no escape in JSON */
async function readOwnEntry(db: Queryable, id: string): Promise<ReportEntry | undefined> {
  const { rows } = await db.query<ReportEntry>(
    `select index, author, kind, bytes from first_entries
      where kind = 'ledger.checked' and author = $1 and position($2::bytea in bytes) > 0
      order by index desc
      limit 1`,
    [collectorAuthor, Buffer.from(`,"report":"${id}","sha256":`)],
  );
  return rows[0];
}

async function readStanding(
  db: Queryable,
  { author, index }: { readonly author: string; readonly index: number },
  stores: readonly string[],
  perStore: number,
): Promise<readonly StandingFinding[]> {
  const { rows } = await db.query<{ store: string; finding: SigilFinding; opened_at: Date }>(
    `select store, finding, opened_at
       from (select store, finding, opened_at, opened_index,
                    row_number() over (partition by store order by opened_index) as place
               from findings
              where node = $1 and opened_index < $2 and (cleared_index is null or cleared_index > $2)
                and store = any($3)) f
      where place <= $4
      order by opened_index`,
    [author, index, stores, perStore],
  );
  return rows.map(({ store, finding, opened_at }) => ({ store, finding, openedAt: opened_at.toISOString() }));
}
