import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { EnforcementWish } from '../../../collector/artifacts/ports.ts';
import { createRegister, type RegisterArtifact } from '../../../collector/artifacts/register.ts';
import { artifactStory } from '../../../collector/artifacts/view.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresArtifactStore } from '../../../collector/postgres/artifact-store.ts';
import { factsQuery } from '../../../collector/postgres/artifact-sweep-store.ts';
import { type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import { AppError } from '../../../common/errors.ts';
import type { KeyPair } from '../../../common/keys.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import {
  containerOf,
  dayMs,
  drifted,
  type HandClock,
  handClock,
  hashOf,
  ledgerAt,
  observed,
  sweeperOn,
  wishOf,
} from './artifact-world.ts';
import { enrolDirectly, say } from './collectors.ts';

let postgres: TestPostgres;
let url: string;
let db: Db;
let ledger: Ledger;
let clock: HandClock;
let register: RegisterArtifact;
let lyra: KeyPair;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  url = await postgres.migratedDatabase();
  db = postgres.pool(url);
  clock = handClock();
  ledger = await ledgerAt(db, clock);
  register = createRegister({ store: postgresArtifactStore(db), ledger });
  lyra = await enrolDirectly(ledger, 'lyra');
});

const world = () => ({ db, url, ledger, clock });
const told = (name: string) => artifactStory(postgresArtifactStore(db), hashOf(name), clock.now());
const partOf = async (name: string, part: string) =>
  (await told(name)).parts.find((one) => one.part === part)?.value ?? null;
const size = async () => (await ledger.checkpoint()).size;

describe('a sweep', () => {
  test('scores what is new, and leaves the ledger alone while nothing changes', async () => {
    const sweeper = sweeperOn(world());
    await register(wishOf('app'), 'user:ada');
    assert.deepEqual(await sweeper.once(), { looked: 1, scored: 1, requested: 0 });
    const after = await size();
    assert.deepEqual(await sweeper.once(), { looked: 0, scored: 0, requested: 0 });
    for (let day = 0; day < 6; day++) {
      clock.pass(dayMs);
      assert.deepEqual(await sweeper.once(), { looked: 1, scored: 0, requested: 0 });
    }
    assert.equal(await size(), after);
    const { score, trend } = await told('app');
    assert.deepEqual([score?.total, trend.weeks.at(-1)?.mean], [0.92, 0.92]);
  });

  test('looks again at what a node runs when the node says that something changed, and at nothing else', async () => {
    const sweeper = sweeperOn(world());
    for (const name of ['web', 'db']) await register(wishOf(name), 'user:ada');
    await say(ledger, 'lyra', lyra, [observed(containerOf('web', { id: hashOf('web') }))]);
    assert.deepEqual(await sweeper.once(), { looked: 2, scored: 2, requested: 0 });
    assert.deepEqual([await partOf('web', 'drift'), await partOf('db', 'drift')], [1, null]);

    await say(ledger, 'lyra', lyra, [drifted('web', 'CONFIG_DRIFT')]);
    assert.deepEqual(await sweeper.once(), { looked: 1, scored: 1, requested: 0 });
    assert.equal(await partOf('web', 'drift'), 0.5);

    await say(ledger, 'lyra', lyra, [drifted('web', 'IMAGE_DRIFT')]);
    await sweeper.once();
    assert.equal(await partOf('web', 'drift'), 0);

    // It runs no more: what ran it at the last look is what says so.
    await say(ledger, 'lyra', lyra, [observed()]);
    assert.deepEqual(await sweeper.once(), { looked: 1, scored: 1, requested: 0 });
    assert.equal(await partOf('web', 'drift'), null);
    assert.deepEqual(
      (await told('web')).scores.map(({ previous, total }) => [previous === null, total <= 1]),
      [...Array.from({ length: 3 }, () => [false, true]), [true, true]],
    );
  });

  test('finds what runs an artifact by the image of its lineage, and by the name only where no id is given', async () => {
    const sweeper = sweeperOn(world());
    const [image, other] = [hashOf('the image'), hashOf('another image')];
    await register(wishOf('file', { kind: 'file', lineage: { image: 'app:1', image_id: image } }), 'user:ada');
    await register(wishOf('named', { kind: 'file', lineage: { image: 'app:1' } }), 'user:ada');
    await say(ledger, 'lyra', lyra, [observed(containerOf('web', { id: other, ref: 'app:1' }))]);
    await sweeper.once();
    assert.deepEqual([await partOf('file', 'drift'), await partOf('named', 'drift')], [null, 1]);
    await say(ledger, 'lyra', lyra, [observed(containerOf('web', { id: image, ref: 'renamed:2' }))]);
    await sweeper.once();
    assert.deepEqual([await partOf('file', 'drift'), await partOf('named', 'drift')], [1, null]);
  });

  test('finds by indexes what runs an artifact, and what is wrong with it', async () => {
    await withTransaction(db, async (tx) => {
      await tx.query('set local enable_seqscan = off');
      const { text, values } = factsQuery([hashOf('web')]);
      const { rows } = await tx.query<{ 'QUERY PLAN': string }>(`explain ${text}`, values);
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      assert.doesNotMatch(plan, /Seq Scan/, plan);
      assert.match(plan, /containers_by_image_id\b.*\n\s+Index Cond: \(image_id = ANY/, plan);
      assert.match(plan, /containers_of_image\b.*\n\s+Index Cond: \(image = a\.image/, plan);
      assert.match(plan, /drifts_standing_of_container\b/, plan);
      assert.match(plan, /findings_standing\b.*\n\s+Index Cond: \(node = /, plan);
    });
  });

  test('two at once: only one of them does it', async () => {
    for (let at = 0; at < 30; at++) await register(wishOf(`app ${at}`), 'user:ada');
    const before = await size();
    const done = await Promise.all([sweeperOn(world()).once(), sweeperOn(world()).once(), sweeperOn(world()).once()]);
    assert.equal(
      done.reduce((sum, { scored }) => sum + Math.max(0, scored), 0),
      30,
    );
    assert.equal(await size(), before + 30);
  });

  test('that was broken off after its entries is made again, and finds nothing new', async () => {
    await register(wishOf('app'), 'user:ada');
    await sweeperOn(world()).once();
    const after = await size();
    await db.query(`update artifact_sweeps set due_at = '1970-01-01'`);
    await db.query('update artifact_sweep_state set seen_to = 0');
    assert.deepEqual(await sweeperOn(world()).once(), { looked: 1, scored: 0, requested: 0 });
    assert.equal(await size(), after);
  });
});

describe('a threshold', () => {
  const high = { atLeast: 0.9, action: 'pin_arweave' } as const;
  const low = { below: 0.6, action: 'webhook_alert', target: 'https://ops.example/hook' } as const;

  test('asks for its enforcement once for each crossing', async () => {
    const sweeper = sweeperOn(world(), [high, low]);
    await register(wishOf('web'), 'user:ada');
    await say(ledger, 'lyra', lyra, [observed(containerOf('web', { id: hashOf('web') }))]);
    const actions = () => sweeper.asked.map(({ action }) => action);
    assert.equal((await sweeper.once()).requested, 1);
    clock.pass(dayMs);
    await sweeper.once();
    assert.deepEqual(actions(), ['pin_arweave']);
    await say(ledger, 'lyra', lyra, [drifted('web', 'IMAGE_DRIFT')]);
    await register(wishOf('web', { lineage: {} }), 'user:ada');
    await sweeper.once();
    clock.pass(dayMs);
    await sweeper.once();
    assert.deepEqual(actions(), ['pin_arweave', 'webhook_alert']);
    const [, alert] = sweeper.asked;
    assert.equal(alert?.artifact, hashOf('web'));
    assert.equal(alert?.target, low.target);
    assert.match(alert?.reason ?? '', /^its score is 0\.\d+, below 0\.6 \(entry \d+\)$/);
  });

  test('asks again after a crash or an error that may pass, with the same key, and never after a refusal', async () => {
    const asked: EnforcementWish[] = [];
    const answers = [
      new AppError('database.unreachable', 'later', { retryable: true }),
      new AppError('validation.request', 'never'),
    ];
    const requestEnforcement = async (wish: EnforcementWish) => {
      asked.push(wish);
      const answer = answers.shift();
      if (answer !== undefined) throw answer;
    };
    const sweeper = sweeperOn(world(), [high], { requestEnforcement });
    await register(wishOf('web'), 'user:ada');
    await assert.rejects(sweeper.once(), { code: 'database.unreachable' });
    assert.equal((await sweeper.once()).requested, 0);
    await sweeper.once();
    assert.equal(asked.length, 2);
    assert.equal(new Set(asked.map(({ key }) => key)).size, 1);
    await db.query('update artifact_sweep_state set answered_to = 0');
    await sweeper.once();
    assert.equal(new Set(asked.map(({ key }) => key)).size, 1);
  });
});
