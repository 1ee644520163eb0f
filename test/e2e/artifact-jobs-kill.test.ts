import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { enforcementView } from '../../collector/api/enforcements-contract.ts';
import type { Db } from '../../collector/postgres/pool.ts';
import { createTeardown } from '../../common/teardown.ts';
import { hashOf } from '../integration/collector/artifact-world.ts';
import { listening, shortLeases, webhookSecret } from '../integration/collector/jobs-world.ts';
import { startPostgres } from '../postgres.ts';
import { quietLogger } from '../quiet-logger.ts';
import { makeTemporaryFolder, type RunningCollector, startCollector } from '../system.ts';
import { until } from '../until.ts';
import { randomOf, seedOf } from './random.ts';

const kills = process.env.SIGILWATCH_TEST_LONG === '1' ? 60 : 5;
const artifactsBetween = 4;
const folder = makeTemporaryFolder('sgw-ajk-');
const teardown = createTeardown(quietLogger);
const seed = seedOf('kills while artifacts are scored and enforced');

let db: Db;
let collector: RunningCollector;
let receiver: Awaited<ReturnType<typeof listening>>;
const random = randomOf(seed, 'kills');

before(async () => {
  const postgres = await startPostgres();
  teardown.add('postgres', postgres.stop);
  const answers = randomOf(seed, 'answers');
  receiver = await listening((_request, response) => response.writeHead(answers.chance(0.3) ? 503 : 200).end());
  teardown.add('receiver', receiver.close);
  const DATABASE_URL = await postgres.migratedDatabase();
  db = postgres.pool(DATABASE_URL);
  await shortLeases(db);
  collector = await startCollector({
    dir: join(folder.path, 'collector'),
    env: {
      DATABASE_URL,
      SIGILWATCH_JOBS_WEBHOOK_SECRET: webhookSecret,
      SIGILWATCH_JOBS_WEBHOOK_ALLOWED_ADDRESSES: '127.0.0.0/8',
      SIGILWATCH_JOBS_ATTEMPTS: '100',
      SIGILWATCH_JOBS_BACKOFF_MIN_MS: '1',
      SIGILWATCH_JOBS_BACKOFF_MAX_MS: '20',
      SIGILWATCH_ARTIFACTS_SCORING_INTERVAL_MS: '1000',
      SIGILWATCH_ARTIFACTS_SCORING_THRESHOLDS: JSON.stringify([
        { below: 0.9, action: 'webhook_alert', target: `${receiver.url}/low` },
        { atLeast: 0.1, action: 'webhook_alert', target: `${receiver.url}/there` },
      ]),
    },
  });
  teardown.add('collector', collector.stop);
});
after(() => teardown.run());

async function register(name: string): Promise<void> {
  const headers = { Authorization: `Bearer ${collector.token}`, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ hash: hashOf(name), lineage: {}, name });
  const answer = await fetch(`${collector.url}/api/v1/artifacts`, { method: 'POST', headers, body });
  assert.equal(answer.status, 201);
}

/** What crossed: the first score counts as getting there, so both thresholds are asked for of each artifact. */
const wanted = (names: readonly string[]) =>
  names.flatMap((name) => ['/low', '/there'].map((path) => `${hashOf(name)} ${receiver.url}${path}`)).sort();

async function results(): Promise<ReadonlyMap<string, number>> {
  const { rows } = await db.query<{ enforcement: string; count: number }>(
    `select enforcement, count(*) as count from enforcement_events where kind = 'enforcement.result' group by enforcement`,
  );
  return new Map(rows.map(({ enforcement, count }) => [enforcement, count]));
}

test(`${kills} kills of a collector leave each crossing one enforcement, and each of those one outcome`, async () => {
  const names: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    for (let more = 0; more < artifactsBetween; more++) {
      const name = `artifact ${names.length}`;
      await register(name);
      names.push(name);
    }
    await delay(random.int(0, 1_500));
    await collector.kill9();
    await collector.restart();
  }
  const due = wanted(names);
  await until('every enforcement has an outcome', async () => (await results()).size >= due.length, 120_000);
  const listed = await collector.list('/api/v1/enforcements', enforcementView);
  assert.deepEqual(listed.map(({ artifact_id, target }) => `${artifact_id} ${target}`).sort(), due);
  assert.deepEqual(
    [...(await results()).values()],
    listed.map(() => 1),
  );
  assert.deepEqual([...new Set(listed.map(({ status }) => status))], ['done']);
  const bodies = new Map<string, Set<string>>();
  for (const { headers, body } of receiver.heard) {
    const key = z.string().parse(headers['idempotency-key']);
    bodies.set(key, (bodies.get(key) ?? new Set()).add(body));
  }
  assert.deepEqual([...bodies.keys()].sort(), listed.map(({ enforcement_id }) => enforcement_id).sort());
  assert.deepEqual([...new Set([...bodies.values()].map(({ size }) => size))], [1]);
  await until(
    'the line is empty',
    async () => {
      const { rows } = await db.query<{ left: number }>('select count(*) as left from pgboss.job');
      return rows[0]?.left === 0;
    },
    30_000,
  );
});
