import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ArtifactFilter, ArtifactStore } from '../../../collector/artifacts/ports.ts';
import { createRegister, type RegisterArtifact } from '../../../collector/artifacts/register.ts';
import { artifactStory } from '../../../collector/artifacts/view.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresArtifactStore } from '../../../collector/postgres/artifact-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { dayMs, handClock, hashOf, ledgerAt, wishOf } from './artifact-world.ts';

let postgres: TestPostgres;
let db: Db;
let ledger: Ledger;
let store: ArtifactStore;
let register: RegisterArtifact;
const clock = handClock();

before(async () => {
  postgres = await startPostgres();
  db = postgres.pool(await postgres.migratedDatabase());
  ledger = await ledgerAt(db, clock);
  store = postgresArtifactStore(db);
  register = createRegister({ store, ledger });
});
after(async () => {
  await postgres.stop();
});

const anything: ArtifactFilter = {
  ...{ name: undefined, image: undefined, commit: undefined, scoreBelow: undefined, scoreFrom: undefined },
  ...{ from: undefined, to: undefined },
};

async function entriesOf(id: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>('select count(*) as n from artifact_registrations where id = $1', [
    id,
  ]);
  return rows[0]?.n ?? -1;
}

describe('registering', () => {
  test('the same many times at once, at two collectors, leaves one entry, and everybody gets its artifact', async () => {
    const other = createRegister({ store: postgresArtifactStore(db), ledger });
    const told = await Promise.all(
      Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? register : other)(wishOf('app'), `user:${at}`)),
    );
    assert.equal(told.filter(({ isNews }) => isNews).length, 1);
    assert.equal(new Set(told.map(({ artifact }) => artifact.index)).size, 1);
    assert.equal(await entriesOf(hashOf('app')), 1);
  });

  test('the same members in another order are the same lineage', async () => {
    await register(wishOf('ordered', { lineage: { commit: 'c', image: 'x:1', nested: { b: 1, a: [2] } } }), 'user:ada');
    const again = wishOf('ordered', { lineage: { nested: { a: [2], b: 1 }, image: 'x:1', commit: 'c' } });
    assert.equal((await register(again, 'user:ada')).isNews, false);
  });

  test('something else of the same artifact counts from then on, and what was said before stays its history', async () => {
    clock.pass(1_000);
    const first = await register(wishOf('twice'), 'user:ada');
    clock.pass(1_000);
    const lineage = { image: 'twice:1', commit: 'c2' };
    const { artifact } = await register(wishOf('twice', { lineage, driftScore: 0.25 }), 'token:ci');
    assert.deepEqual(artifact.lineage, lineage);
    assert.deepEqual([artifact.firstIndex, artifact.firstAtMs], [first.artifact.index, first.artifact.atMs]);
    assert.equal(artifact.atMs, first.artifact.atMs + 1_000);
    const story = await artifactStory(store, hashOf('twice'), clock.now());
    assert.deepEqual(
      story.registrations.map(({ actor, lineage }) => [actor, lineage.commit]),
      [
        ['token:ci', 'c2'],
        ['user:ada', 'c1'],
      ],
    );
    assert.deepEqual([story.drift_score, story.score, story.parts], [0.25, null, []]);
    // Back to what was said first: that is news again.
    assert.equal((await register(wishOf('twice'), 'user:ada')).isNews, true);
  });

  test('an artifact that nobody registered is not there', async () => {
    const expected = { code: 'resource.not_found' };
    await assert.rejects(artifactStory(store, hashOf('nothing'), clock.now()), expected);
  });
});

describe('the list', () => {
  test('is filtered by name, image, commit, score and time, newest first, in pages', async () => {
    clock.pass(dayMs);
    const from = new Date(clock.now()).toISOString();
    for (const at of [1, 2, 3, 4]) {
      const lineage = { image: `list:${at % 2}`, commit: `list-${at}` };
      await register(wishOf(`listed ${at}`, { name: at < 3 ? 'low' : 'high', lineage }), 'user:ada');
      const body = { artifact: hashOf(`listed ${at}`), total: at / 10, previous: null, metric: 'm', parts: [] };
      await ledger.record({ kind: 'artifact.scored', body });
    }
    const names = async (filter: Partial<ArtifactFilter>, before?: number, limit = 100) => {
      const found = await store.list({ ...anything, from, ...filter }, { before, limit });
      return found.map(({ id }) => [1, 2, 3, 4].find((at) => hashOf(`listed ${at}`) === id));
    };
    assert.deepEqual(await names({}), [4, 3, 2, 1]);
    assert.deepEqual(await names({ name: 'low' }), [2, 1]);
    assert.deepEqual(await names({ image: 'list:1' }), [3, 1]);
    assert.deepEqual(await names({ commit: 'list-2' }), [2]);
    assert.deepEqual(await names({ scoreBelow: 0.3 }), [2, 1]);
    assert.deepEqual(await names({ scoreFrom: 0.3 }), [4, 3]);
    assert.deepEqual(await names({ to: from, from: undefined, commit: 'list-2' }), []);
    const [, third] = await store.list({ ...anything, from }, { before: undefined, limit: 2 });
    assert.deepEqual(await names({}, third?.firstIndex), [2, 1]);
  });
});
