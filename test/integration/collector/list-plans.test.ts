import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import type { ArtifactFilter } from '../../../collector/artifacts/ports.ts';
import type { BudgetFilter } from '../../../collector/budgets/ports.ts';
import { listAlerts, listDeadLetters as listDeadNotifications } from '../../../collector/postgres/alert-query-store.ts';
import { postgresApiTokens } from '../../../collector/postgres/api-token-store.ts';
import { postgresArtifactStore } from '../../../collector/postgres/artifact-store.ts';
import { postgresBudgets } from '../../../collector/postgres/budget-store.ts';
import { postgresEnforcementStore } from '../../../collector/postgres/enforcement-store.ts';
import { listEntries } from '../../../collector/postgres/entry-list-store.ts';
import { postgresReportSources } from '../../../collector/postgres/integrity-store.ts';
import { listDeadLetters, listEnforcements } from '../../../collector/postgres/job-store.ts';
import { connectClient, type Db } from '../../../collector/postgres/pool.ts';
import { listContainers, listDrifts, listFindings, listNodes } from '../../../collector/postgres/query-store.ts';
import { postgresSessions } from '../../../collector/postgres/session-store.ts';
import { postgresUsers } from '../../../collector/postgres/user-store.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

/*
 * What the lists cost in a database of some size: each with no filter, with every filter alone, and from the middle. A list that
 * looks at many more rows than it shows would be slow for everybody once the ledger has grown.
 */

const rows = 30_000;
/** Rows that may be looked at for a page, whatever the size of the table. */
const most = 2_500;

let postgres: TestPostgres;
let db: Db;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.migratedDatabase();
  db = postgres.pool(url);
  // Its statements take as long as they take.
  const client = await connectClient({ url, applicationName: 'test' });
  try {
    await client.query('set session_replication_role = replica');
    await client.query(`select ensure_body_partition(${rows})`);
    for (const fill of fills) await client.query(fill);
    await client.query('vacuum (analyze)');
  } finally {
    await client.end();
  }
});
after(async () => {
  await postgres.stop();
});

const series = `generate_series(0, ${rows - 1}) i`;
const time = `timestamptz '2026-01-01' + i * interval '1 second'`;
/** Of each thousand entries, 396 stand in runs of twelve, the others alone. */
const inRuns = `(select i, case when i % 1000 between 100 and 495 then 12 else 1 end as width
     from ${series} where i % 1000 not between 100 and 495 or (i % 1000 - 100) % 12 = 0) runs`;
const rare = (name: string) => `case when i % 1000 = 7 then '${name}' else 'common' end`;
const bytes32 = `decode(lpad(to_hex(i), 64, '0'), 'hex')`;

const fills = [
  `insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
   select i, width, ${rare('rare')}, i + 1, case when i % 1000 = 7 then 'order.issued' else 'report' end,
          array(select ${time} + n * interval '1 second' from generate_series(0, width - 1) n),
          decode(repeat('00', 32 * width), 'hex'), decode(repeat('00', 32 * width), 'hex')
     from ${inRuns}`,
  `insert into run_bodies (index, ends, leaves)
   select i, array(select n * 66 from generate_series(1, width) n), decode(repeat('00', 66 * width), 'hex') from ${inRuns}`,
  `insert into batches (size, root, received_ms, signature)
   select i * 10 + 10, decode(repeat('00', 32), 'hex'), 1767225600000 + i * 10000, decode(repeat('00', 64), 'hex') from generate_series(0, ${rows / 10 - 1}) i`,
  `insert into drifts (opened_index, node, id, kind, container, differences, opened_at, changed_index, resolved_at, resolved_index)
   select i, ${rare('rare')}, 'd' || i, ${rare('RARE')}, ${rare('rare')}, '[]', ${time}, i,
          case when i % 1000 = 7 then null else ${time} end, case when i % 1000 = 7 then null else i end
     from ${series}`,
  `insert into findings (opened_index, node, id, store, "check", finding, opened_at, cleared_at, cleared_index)
   select i, ${rare('rare')}, 'd' || i, ${rare('rare')}, ${rare('rare')}, '{}', ${time},
          case when i % 1000 = 7 then null else ${time} end, case when i % 1000 = 7 then null else i end
     from ${series}`,
  `insert into containers (node, id, name, image, image_id, state, health, exit_code, restart_count, created_at, seen_index)
   select ${rare('rare')}, lpad(to_hex(i), 64, '0'), ${rare('rare')}, ${rare('rare')}, 'sha256:x', 'running', 'none', 0, 0, '', i
     from ${series}`,
  `insert into users (name, role, password_hash, created_at, password_changed_at)
   select 'u' || i, 'observer', 'x', ${time}, ${time} from ${series}`,
  `insert into sessions (id, user_name, family_hash, secret_hash, created_at, refreshed_at, expires_at, idle_at, ended_at)
   select 's' || i, 'u' || i % 10, ${bytes32}, ${bytes32}, ${time}, ${time}, '2099-01-01', '2099-01-01',
          case when i % 1000 = 7 then null else ${time} end
     from ${series}`,
  `insert into api_tokens (id, token_hash, owner, name, permissions, created_at, expires_at, revoked_at)
   select 't' || lpad(i::text, 6, '0'), ${bytes32}, ${rare('rare')}, 'n' || i, '{fleet.read}', ${time}, '2099-01-01', ${time}
     from ${series}`,
  `insert into budget_requests (id, budget, amount, reason, actor, state, requested_at, expires_at, ended_at)
   select lpad(to_hex(i), 32, '0'), ${rare('rare')}, 1, 'x', 'x',
          case i % 1000 when 7 then 'reserved' when 8 then 'released' when 9 then 'reserved' else 'committed' end, ${time},
          case i % 1000 when 7 then timestamptz '2099-01-01' else ${time} end, ${time}
     from ${series}`,
  `insert into artifacts (id, first_index, first_at, registered_index, registered_at, name, lineage, image, commit, total)
   select lpad(to_hex(i), 64, '0'), i, ${time}, i, ${time}, ${rare('rare')}, '{}', ${rare('rare')}, ${rare('rare')},
          case when i % 1000 = 7 then 0.1 when i % 1000 = 8 then 0.95 else 0.5 end
     from ${series}`,
  `insert into enforcements (index, id, artifact, action, target, reason, actor, at)
   select i, lpad(to_hex(i), 64, '0'), ${rare('rare')}, ${rare('pin_arweave')}, '', '', '', ${time} from ${series}`,
  `insert into enforcement_events (index, enforcement, kind, at, body)
   select i, lpad(to_hex(i), 64, '0'), 'enforcement.result', ${time},
          jsonb_build_object('outcome', case when i % 1000 = 7 then 'failed' else 'done' end)
     from ${series} where i % 1000 <> 8`,
  `insert into alert_notifications (channel, alert, change, item, state, created_at, due_at, settled_at)
   select ${rare('rare')}, lpad(to_hex(i), 64, '0'), 'raised', '{}', case when i % 2 = 0 then 'dead' else 'delivered' end, ${time}, ${time}, ${time}
     from ${series}`,
  `insert into pgboss.job (name, data) select 'enforcements', jsonb_build_object('id', lpad(to_hex(i), 64, '0'))
     from ${series} where i % 1000 = 8`,
];

const explained = z.tuple([z.object({ Plan: z.unknown() })]);
const planNode = z.looseObject({
  'Node Type': z.string(),
  'Relation Name': z.string().optional(),
  'Actual Rows': z.number().default(0),
  'Actual Loops': z.number().default(0),
  'Rows Removed by Filter': z.number().default(0),
  'Rows Removed by Index Recheck': z.number().default(0),
  'Index Name': z.string().optional(),
  Plans: z.array(z.unknown()).default([]),
});
type PlanNode = z.output<typeof planNode>;

function nodesOf(plan: unknown): PlanNode[] {
  const node = planNode.parse(plan);
  return [node, ...node.Plans.flatMap(nodesOf)];
}

/** Rows that were looked at, over all tables. */
const lookedAt = (nodes: readonly PlanNode[]) =>
  nodes
    .filter((node) => node['Relation Name'] !== undefined)
    .reduce(
      (sum, node) =>
        sum +
        node['Actual Loops'] *
          (node['Actual Rows'] + node['Rows Removed by Filter'] + node['Rows Removed by Index Recheck']),
      0,
    );

/** Carries a list out, and returns what the server says of every statement that it took. */
async function plansOf(list: (db: Db) => Promise<unknown>): Promise<PlanNode[][]> {
  const plans: PlanNode[][] = [];
  const asking: Db = Object.create(db, {
    query: {
      value: async (text: string, values: unknown[]) => {
        const { rows: told } = await db.query(`explain (analyze, format json) ${text}`, values);
        const [{ Plan }] = explained.parse(told[0]['QUERY PLAN']);
        plans.push(nodesOf(Plan));
        return { rows: [] };
      },
    },
  });
  await list(asking);
  return plans;
}

const page = { after: undefined, limit: 101 };
const middle = { after: rows / 2, limit: 101 };
const none = { node: undefined, kind: undefined, container: undefined, from: undefined, to: undefined };
const noFinding = { node: undefined, store: undefined, check: undefined, from: undefined, to: undefined };
const noEntry = { author: undefined, kind: undefined, from: undefined, to: undefined };
const noContainer = { node: undefined, name: undefined, image: undefined, state: undefined };
const noArtifact = {
  name: undefined,
  image: undefined,
  commit: undefined,
  scoreBelow: undefined,
  scoreFrom: undefined,
};
const artifacts = (at: Db, filter: Partial<ArtifactFilter>, before?: number) =>
  postgresArtifactStore(at).list({ ...noArtifact, from: undefined, to: undefined, ...filter }, { before, limit: 101 });
const budgetRequests = (at: Db, filter: BudgetFilter, after?: number) =>
  postgresBudgets(at).list(filter, { after, limit: 101 });
const early = '2026-01-01T00:10:00.000Z';
const halfway = '2026-01-01T04:00:00.000Z';
const shortlyAfter = '2026-01-01T04:05:00.000Z';
const late = '2026-01-01T08:15:00.000Z';

const lists: Readonly<Record<string, (db: Db) => Promise<unknown>>> = {
  'drifts, newest': (at) => listDrifts(at, { ...none, state: 'all' }, page),
  'drifts from the middle': (at) => listDrifts(at, { ...none, state: 'all' }, middle),
  'drifts that are open': (at) => listDrifts(at, { ...none, state: 'open' }, page),
  'drifts of a node': (at) => listDrifts(at, { ...none, node: 'rare', state: 'all' }, page),
  'drifts of a kind': (at) => listDrifts(at, { ...none, kind: 'RARE', state: 'all' }, page),
  'drifts of a container': (at) => listDrifts(at, { ...none, container: 'rare', state: 'all' }, page),
  'drifts up to a time': (at) => listDrifts(at, { ...none, to: early, state: 'all' }, page),
  'drifts from a time on': (at) => listDrifts(at, { ...none, from: late, state: 'all' }, page),
  'findings, newest': (at) => listFindings(at, { ...noFinding, state: 'all' }, page),
  'findings that are open': (at) => listFindings(at, { ...noFinding, state: 'open' }, page),
  'findings of a node': (at) => listFindings(at, { ...noFinding, node: 'rare', state: 'all' }, page),
  'findings of a store': (at) => listFindings(at, { ...noFinding, store: 'rare', state: 'all' }, page),
  'findings of a check': (at) => listFindings(at, { ...noFinding, check: 'rare', state: 'all' }, page),
  'findings up to a time': (at) => listFindings(at, { ...noFinding, to: early, state: 'all' }, page),
  'entries, newest': (at) => listEntries(at, noEntry, page),
  'entries from the middle': (at) => listEntries(at, noEntry, middle),
  'entries of an author': (at) => listEntries(at, { ...noEntry, author: 'rare' }, page),
  'entries of an author from the middle': (at) => listEntries(at, { ...noEntry, author: 'common' }, middle),
  'entries of a rare kind': (at) => listEntries(at, { ...noEntry, kind: 'order.issued' }, page),
  'entries of a common kind': (at) => listEntries(at, { ...noEntry, kind: 'report' }, page),
  'entries up to a time': (at) => listEntries(at, { ...noEntry, to: early }, page),
  'entries from a time on': (at) => listEntries(at, { ...noEntry, from: late }, page),
  'entries of a short time in the middle': (at) =>
    listEntries(at, { ...noEntry, from: halfway, to: shortlyAfter }, page),
  'entries of a long time from the middle': (at) => listEntries(at, { ...noEntry, from: early }, middle),
  'entries of a rare kind from a time on': (at) =>
    listEntries(at, { ...noEntry, from: early, kind: 'order.issued' }, page),
  'entries of a rare author from a time on': (at) => listEntries(at, { ...noEntry, from: early, author: 'rare' }, page),
  'containers by node and id': (at) => listContainers(at, noContainer, page),
  'containers of a node': (at) => listContainers(at, { ...noContainer, node: 'rare' }, page),
  'containers of a name': (at) => listContainers(at, { ...noContainer, name: 'rare' }, page),
  'containers of an image': (at) => listContainers(at, { ...noContainer, image: 'rare' }, page),
  'artifacts, newest': (at) => artifacts(at, {}),
  'artifacts from the middle': (at) => artifacts(at, {}, rows / 2),
  'artifacts of a name': (at) => artifacts(at, { name: 'rare' }),
  'artifacts of an image': (at) => artifacts(at, { image: 'rare' }),
  'artifacts of a commit': (at) => artifacts(at, { commit: 'rare' }),
  'artifacts that are worth little': (at) => artifacts(at, { scoreBelow: 0.2 }),
  'artifacts that are worth much': (at) => artifacts(at, { scoreFrom: 0.9 }),
  'artifacts up to a time': (at) => artifacts(at, { to: early }),
  'artifacts from a time on': (at) => artifacts(at, { from: late }),
  nodes: (at) => listNodes(at, { state: undefined }, page),
  alerts: (at) => listAlerts(at, 'all', page),
  'notifications that were given up': (at) => listDeadNotifications(at, page),
  'notifications that were given up, from the middle': (at) =>
    listDeadNotifications(at, { after: ['2026-01-01T04:10:00.000Z', rows / 2], limit: 101 }),
  orders: (at) =>
    postgresEnforcementStore(at).listOrders(
      { node: undefined, container: undefined, action: undefined, status: undefined },
      { before: undefined, limit: 101 },
      Date.now(),
    ),
  'enforcements, newest': (at) => listEnforcements(at, {}, page),
  'enforcements from the middle': (at) => listEnforcements(at, {}, middle),
  'enforcements of an artifact': (at) => listEnforcements(at, { artifact: 'rare' }, page),
  'enforcements by an action': (at) => listEnforcements(at, { action: 'pin_arweave' }, page),
  'enforcements that are done': (at) => listEnforcements(at, { status: 'done' }, page),
  'enforcements that failed': (at) => listEnforcements(at, { status: 'failed' }, page),
  'enforcements that wait': (at) => listEnforcements(at, { status: 'pending' }, page),
  'dead letters': (at) => listDeadLetters(at, {}, page),
  'dead letters that are open': (at) => listDeadLetters(at, { open: true }, page),
  users: (at) => postgresUsers(at).list({ after: 'u5', limit: 101 }),
  'sessions of a user': (at) => postgresSessions(at).list('u7', Date.now(), { after: undefined, limit: 101 }),
  'API tokens': (at) => postgresApiTokens(at).list(undefined, { after: 't015000', limit: 101 }),
  'API tokens of an owner': (at) => postgresApiTokens(at).list('rare', { after: undefined, limit: 101 }),
  'budget requests': (at) => budgetRequests(at, {}),
  'budget requests from the middle': (at) => budgetRequests(at, {}, rows / 2),
  'budget requests of a budget': (at) => budgetRequests(at, { budget: 'rare' }),
  'budget requests that are reserved': (at) => budgetRequests(at, { state: 'reserved' }),
  'budget requests that were released': (at) => budgetRequests(at, { state: 'released' }),
  'budget requests that have expired': (at) => budgetRequests(at, { state: 'expired' }),
  'budget requests of a budget that are reserved': (at) => budgetRequests(at, { budget: 'rare', state: 'reserved' }),
  'integrity reports': (at) => postgresReportSources(at).entries({ author: undefined, status: undefined }, page),
};

describe('a list looks at little more than it shows', () => {
  for (const [name, list] of Object.entries(lists)) {
    test(name, async () => {
      const plans = await plansOf(list);
      assert.ok(plans.length > 0, 'nothing was asked');
      for (const plan of plans) {
        const told = plan.map(
          (node) => `${node['Node Type']} ${node['Relation Name'] ?? ''} ${node['Index Name'] ?? ''}`,
        );
        assert.ok(lookedAt(plan) <= most, `${lookedAt(plan)} rows by ${told.join(', ')}`);
      }
    });
  }
});
