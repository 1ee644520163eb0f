import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { explain } from '../../../collector/artifacts/explain.ts';
import type { ExplainPorts } from '../../../collector/artifacts/explain-ports.ts';
import { createRegister } from '../../../collector/artifacts/register.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresArtifactStore } from '../../../collector/postgres/artifact-store.ts';
import { postgresExplainStore } from '../../../collector/postgres/explain-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import type { KeyPair } from '../../../common/keys.ts';
import { orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { containerOf, drifted, handClock, hashOf, ledgerAt, observed, wishOf } from './artifact-world.ts';
import { enrolDirectly, say } from './collectors.ts';

let postgres: TestPostgres;
let db: Db;
let ledger: Ledger;
let keys: Record<'lyra' | 'node1', KeyPair>;
let ports: ExplainPorts;
const clock = handClock();
const order = orderOf({
  node: 'lyra',
  container: 'web',
  containerId: hashOf('container web'),
  commit: 'm2',
  issuedMs: firstEntryMs,
});

before(async () => {
  postgres = await startPostgres();
  db = postgres.pool(await postgres.migratedDatabase());
  ledger = await ledgerAt(db, clock);
  keys = { lyra: await enrolDirectly(ledger, 'lyra'), node1: await enrolDirectly(ledger, 'node1') };
  ports = postgresExplainStore(db, clock.now);
  const register = createRegister({ store: postgresArtifactStore(db), ledger });
  await register(wishOf('base', { lineage: {} }), 'user:ada');
  const lineage = { ...wishOf('web').lineage, parents: [hashOf('base'), hashOf('unknown')] };
  await register(wishOf('web', { lineage }), 'user:ada');
  const adopted = { kind: 'desired.adopted', body: { commit: 'm1', digest: hashOf('d'), containers: 1 } } as const;
  await say(ledger, 'lyra', keys.lyra, [
    adopted,
    observed(containerOf('web', { id: hashOf('web'), ref: 'web:1' }), containerOf('both', { id: hashOf('x') })),
    drifted('web', 'CONFIG_DRIFT', 'm1'),
    drifted('gone', 'UNAUTHORIZED_CONTAINER', 'm1'),
    { kind: 'drift.resolved', body: { id: 'CONFIG_DRIFT/web', commit: 'm1' } },
  ]);
  await say(ledger, 'node1', keys.node1, [observed(containerOf('both', { id: hashOf('x') }))]);
  await ledger.record({ kind: 'order.issued', body: { order } });
  const said = { order: orderHash(order), code: null, evidence: null, containerId: null };
  await say(ledger, 'lyra', keys.lyra, [
    { kind: 'order.result', body: { ...said, outcome: 'executed', reason: 'it was stopped' } },
  ]);
  const body = { artifact: hashOf('web'), total: 0.5, previous: null, metric: 'm@1', parts: [] };
  await ledger.record({ kind: 'artifact.scored', body });
  const wish = { artifact: hashOf('web'), action: 'webhook_alert', target: 'https://ops.example/' } as const;
  const asked = { id: hashOf('e1'), ...wish, reason: 'it is low', actor: 'user:ada', retryOf: null };
  await ledger.record({ kind: 'enforcement.requested', body: asked });
  const ended = { outcome: 'failed', txId: null, error: 'HTTP 500', attempts: 3, trace: hashOf('t') } as const;
  await ledger.record({ kind: 'enforcement.result', body: { id: hashOf('e1'), ...ended } });
  const resolution = { actor: 'user:root', reason: 'the receiver is gone' };
  await ledger.record({ kind: 'enforcement.resolved', body: { id: hashOf('e1'), ...resolution } });
});
after(async () => {
  await postgres.stop();
});

const chain = ['artifact.registered', 'desired.adopted', 'observed', 'drift.opened', 'drift.resolved'];
const done = ['order.issued', 'order.result', 'artifact.scored'];
const enforced = ['enforcement.requested', 'enforcement.result', 'enforcement.resolved'];

describe('the story of a container', () => {
  test('goes from its artifact over what was seen of it to the orders and the commits that they name, each with its entry', async () => {
    const story = await explain(ports, { container: 'web', node: undefined });
    assert.deepEqual(
      story.steps.map(({ kind }) => kind),
      [...chain, ...done, ...enforced],
    );
    assert.deepEqual(
      story.steps.slice(-3).map(({ what }) => what.replace(` (${hashOf('e1')})`, '')),
      [
        'user:ada asked for webhook_alert https://ops.example/: it is low',
        'webhook_alert failed: HTTP 500',
        'user:root wants no more done about webhook_alert: the receiver is gone',
      ],
    );
    for (const step of story.steps) {
      const { rows } = await db.query('select kind, author from entries where index = $1', [step.index]);
      assert.deepEqual(rows, [{ kind: step.kind, author: step.author }]);
    }
    assert.deepEqual(story.commits, [
      { commit: 'm1', named_by: story.commits[0]?.named_by, adopted: story.commits[0]?.adopted },
      { commit: 'm2', named_by: story.commits[1]?.named_by, adopted: [] },
    ]);
    assert.deepEqual(
      story.commits[0]?.adopted.map(({ node }) => node),
      ['lyra'],
    );
    const [artifact] = story.artifacts;
    assert.equal(artifact?.artifact_id, hashOf('web'));
    assert.deepEqual(artifact?.origin.parents, [
      { artifact_id: hashOf('base'), name: 'base', is_known: true },
      { artifact_id: hashOf('unknown'), name: null, is_known: false },
    ]);
    assert.deepEqual(
      artifact?.runs_on.map(({ node, container, matched_by }) => [node, container, matched_by]),
      [['lyra', 'web', 'image_id']],
    );
    assert.equal(story.complete, true);
  });

  test('is the same by its id, and that of its artifact', async () => {
    const byName = await explain(ports, { container: 'web', node: 'lyra' });
    assert.deepEqual(await explain(ports, { container: hashOf('container web').slice(0, 12), node: 'lyra' }), byName);
    assert.deepEqual(await explain(ports, { artifact: hashOf('web') }), byName);
  });

  test('that is gone is what is on record under its name on its node', async () => {
    const story = await explain(ports, { container: 'gone', node: 'lyra' });
    assert.deepEqual(story.containers, [{ node: 'lyra', name: 'gone', seen: null }]);
    assert.deepEqual(
      story.steps.map(({ kind }) => kind),
      ['desired.adopted', 'drift.opened'],
    );
  });

  test('that several nodes have needs the node, and of one that nobody has nothing is told', async () => {
    await assert.rejects(explain(ports, { container: 'both', node: undefined }), { code: 'state.conflict' });
    assert.equal((await explain(ports, { container: 'both', node: 'node1' })).containers[0]?.node, 'node1');
    await assert.rejects(explain(ports, { container: 'never', node: undefined }), { code: 'resource.not_found' });
    await assert.rejects(explain(ports, { container: 'never', node: 'lyra' }), { code: 'resource.not_found' });
    await assert.rejects(explain(ports, { artifact: hashOf('never') }), { code: 'resource.not_found' });
  });
});
