import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { type Link, startLink } from '../../../agent/link/link.ts';
import { type Collector, startCollector } from '../../../collector/app.ts';
import { collectorKeyPath } from '../../../collector/data/keys.ts';
import { postgresPresence } from '../../../collector/postgres/presence-store.ts';
import { limits } from '../../../common/limits.ts';
import { collectorCli } from '../../collector-cli.ts';
import { type ChaosProxy, chaosProxy } from '../../fakes/chaos-proxy.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { memoryForkDesk, quickBounds, systemClock } from '../../wire.ts';
import { enrolDirectly, settingsFor, startTestCollector, type TestCollector } from './collectors.ts';

/** Two collectors on one database, and in front of them one address that leads to either, as a load balancer does. */
let postgres: TestPostgres;
let url: string;
let one: TestCollector;
let other: Collector;
let otherDir: string;
let balancer: ChaosProxy;
let link: Link;
let leadsTo: () => string;

const nameOf = (collector: { readonly url: string }) => `${hostname()}:${new URL(collector.url).port}`;

before(async () => {
  postgres = await startPostgres();
  url = await postgres.emptyDatabase();
  one = await startTestCollector(url);
  otherDir = await mkdtemp(join(tmpdir(), 'sigilwatch-collector-'));
  await copyFile(collectorKeyPath(one.settings.dataDir), collectorKeyPath(otherDir));
  other = await startCollector(settingsFor(otherDir, url), { logger: quietLogger });
  leadsTo = () => one.collector.url;
  balancer = await chaosProxy(
    () => Number(new URL(leadsTo()).port),
    () => ({}),
  );
  const keys = await enrolDirectly(one.ledger, 'lyra');
  await enrolDirectly(one.ledger, 'node1');
  const { origin } = one.ledger;
  link = startLink({
    collector: { url: `http://127.0.0.1:${balancer.port}`, origin, vkey: one.ledger.vkey },
    ...{ node: 'lyra', version: '0.1.0', keys, outbox: memoryOutbox('lyra', keys.privateKey) },
    ...{ forks: memoryForkDesk([]), clock: systemClock, random: Math.random, logger: quietLogger, bounds: quickBounds },
  });
});
after(async () => {
  await link.stop();
  await balancer.close();
  await other.stop();
  await one.stop();
  await rm(otherDir, { recursive: true, force: true });
  await postgres.stop();
});

const shown = z.object({ items: z.array(z.object({ node: z.string(), collector: z.string().nullable() })) });

/** What the collectors say of `node`; undefined while they differ, as it may change between the two answers. */
async function holderOf(node: string): Promise<unknown> {
  const answers = [];
  for (const at of [one.collector.url, other.url]) {
    const answer = await fetch(`${at}/api/v1/nodes`, { headers: { Authorization: `Bearer ${one.token}` } });
    const { items } = shown.parse(await answer.json());
    answers.push(items.find((row) => row.node === node)?.collector);
  }
  return answers[0] === answers[1] ? answers[0] : undefined;
}

test('a node is shown with the collector that holds its socket, whichever is asked, and the others as cut off', async () => {
  await until('shown', async () => (await holderOf('lyra')) === nameOf(one.collector));
  assert.equal(await holderOf('node1'), null);
  const { stdout } = await collectorCli(['nodes', 'list'], {
    SIGILWATCH_DATA_DIR: one.settings.dataDir,
    DATABASE_URL: url,
  });
  const column = stdout.split('\n').map((line) => line.split('\t')[6]);
  assert.deepEqual(column.slice(0, 2), [nameOf(one.collector), 'cut off']);
});

test('a node that moves is shown at the other one, and one that goes at none', async () => {
  leadsTo = () => other.url;
  balancer.cutAll();
  await until('moved', async () => (await holderOf('lyra')) === nameOf(other));
  balancer.refuse(true);
  balancer.cutAll();
  await until('gone', async () => (await holderOf('lyra')) === null);
  balancer.refuse(false);
  await until('back', async () => (await holderOf('lyra')) === nameOf(other));
});

test('of two that claim a node the one counts that told it last', async () => {
  const store = postgresPresence(one.db);
  const killed = { id: randomUUID(), name: 'killed:7600', nodes: ['node1'] };
  const alive = { id: randomUUID(), name: 'alive:7600', nodes: ['lyra', 'node1'] };
  await store.tell(killed);
  assert.equal(await holderOf('node1'), 'killed:7600');
  await store.tell(alive);
  assert.equal(await holderOf('node1'), 'alive:7600');
  await store.forget(alive.id);
  assert.equal(await holderOf('node1'), 'killed:7600');
});

test('what a killed collector said counts for no longer than it is bound to, and is tidied away', async () => {
  const age = `make_interval(secs => ${limits.presenceStaleMs / 1_000 + 1})`;
  await one.db.query(`update collectors_present set seen_at = seen_at - ${age} where name = 'killed:7600'`);
  assert.equal(await holderOf('node1'), null);
  await postgresPresence(one.db).forgetStale();
  const { rows } = await one.db.query<{ name: string }>('select name from collectors_present order by name');
  assert.deepEqual(rows.map(({ name }) => name).sort(), [nameOf(one.collector), nameOf(other)].sort());
});

test('a collector that stops takes its nodes with it', async () => {
  await other.stop();
  const { rows } = await one.db.query<{ name: string }>('select name from collectors_present');
  assert.deepEqual(
    rows.map(({ name }) => name),
    [nameOf(one.collector)],
  );
});
