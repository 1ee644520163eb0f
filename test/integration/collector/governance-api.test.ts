import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { governanceStatus } from '../../../collector/api/governance-contract.ts';
import { local } from '../../../collector/auth/caller.ts';
import { systemClock } from '../../../collector/clock.ts';
import type { ManifestInForce } from '../../../collector/enforcement/operator.ts';
import { addGovernanceRoutes } from '../../../collector/http/governance-routes.ts';
import { createOperating } from '../../../collector/wiring/operating.ts';
import { inForce, orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { servedTo } from '../../serving.ts';
import { enrolDirectly, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let manifest: ManifestInForce | undefined;

const governed = inForce(`
config: { enforcement_mode: active }
drift_rules:
  unauthorized_containers: { action: terminate, grace_period: 60 }
  config_drift: { action: alert }
governance: { daily_limit: 2, cooldown: 3600, approvals: { terminate: 1 } }
maintenance_windows:
  - { name: always, day: daily, start_time: "00:00", end_time: "24:00", allow_drift: true }
`);

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  for (const node of ['lyra', 'node1', 'node2']) await enrolDirectly(under.ledger, node);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const answer = governanceStatus.answers[200];

async function status(query = ''): Promise<z.output<typeof answer>> {
  const { db, ledger } = under;
  const ports = createOperating({ db, ledger, clock: systemClock, manifest: () => manifest, signers: {} });
  const app = servedTo(local, (serve) => addGovernanceRoutes(serve, ports, db));
  const got = await app.request(`/api/v1/governance/status${query}`);
  assert.equal(got.status, 200, await got.clone().text());
  return z.strictObject(answer.shape).parse(await got.json());
}

test('without a manifest nothing is governed', async () => {
  manifest = undefined;
  const { commit, rules, nodes } = await status();
  assert.deepEqual([commit, rules, nodes.items], [null, [], []]);
});

test('says what each rule would do now, and which window holds it up', async () => {
  manifest = governed;
  const { rules, windows, mode, frozen, limits } = await status();
  const rogue = rules.find(({ drift_kind }) => drift_kind === 'UNAUTHORIZED_CONTAINER');
  assert.deepEqual(
    [rogue?.action, rogue?.grace_seconds, rogue?.approvals_needed, rogue?.held_by_window],
    ['terminate', 60, 1, 'always'],
  );
  assert.equal(rules.find(({ drift_kind }) => drift_kind === 'CONFIG_DRIFT')?.action, null);
  assert.deepEqual(
    windows.map(({ name, open }) => [name, open]),
    [['always', true]],
  );
  assert.deepEqual([mode, frozen, limits?.daily_limit, limits?.cooldown_seconds], ['active', false, 2, 3_600]);
});

test('counts what orders have used of each node, and says when there is room again', async () => {
  const issuedMs = Date.now() - 60_000;
  for (const container of ['rogue', 'other']) {
    const order = orderOf({ issuedMs, container, nonce: Buffer.from(container.padEnd(16)).toString('hex') });
    await under.ledger.record({ kind: 'order.issued', body: { order } });
  }
  const { nodes } = await status();
  const [lyra, node1] = nodes.items;
  assert.deepEqual(
    [lyra?.node, lyra?.used_today, lyra?.remaining_today, lyra?.used_by],
    ['lyra', 2, 0, [{ by: 'drift_rules.unauthorized_containers', count: 2 }]],
  );
  assert.equal(lyra?.free_at, new Date(issuedMs + 86_400_000).toISOString());
  assert.deepEqual(
    lyra?.cooldowns.map(({ container, until }) => [container, until]),
    ['other', 'rogue'].map((container) => [container, new Date(issuedMs + 3_600_000).toISOString()]),
  );
  assert.deepEqual([node1?.used_today, node1?.remaining_today, node1?.free_at], [0, 2, null]);
});

test('tells of nodes in pages, or of one', async () => {
  const first = await status('?limit=2');
  assert.deepEqual(
    first.nodes.items.map(({ node }) => node),
    ['lyra', 'node1'],
  );
  const second = await status(`?limit=2&cursor=${first.nodes.next_cursor}`);
  assert.deepEqual([second.nodes.items.map(({ node }) => node), second.nodes.next_cursor], [['node2'], null]);
  assert.deepEqual(
    (await status('?node=node1')).nodes.items.map(({ node }) => node),
    ['node1'],
  );
});
