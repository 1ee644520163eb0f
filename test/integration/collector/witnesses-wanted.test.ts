import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '../../../collector/clock.ts';
import { ManifestFollower } from '../../../collector/desired/follower.ts';
import { fsManifestStore } from '../../../collector/desired/fs-manifest-store.ts';
import { gitRepository } from '../../../collector/desired/git.ts';
import { WantedWitnesses } from '../../../collector/desired/witnesses-wanted.ts';
import { createPool, type Db } from '../../../collector/postgres/pool.ts';
import { postgresWantedStore } from '../../../collector/postgres/witness-store.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { makeManifestRepository, makeTemporaryFolder, removeLeftovers } from '../../system.ts';
import { type LoggedEvent, recordingLogger } from '../../wire.ts';

let postgres: TestPostgres;
let db: Db;
const folder = makeTemporaryFolder('sgw-wanted-');
before(async () => {
  postgres = await startPostgres();
  const url = await postgres.migratedDatabase();
  db = createPool({ url, applicationName: 'test', maxConnections: 2, onIdleError: () => {} });
});
after(async () => {
  await db.end();
  await postgres.stop();
  await removeLeftovers();
});

/** One run of a collector, with what a run before it has kept. */
async function follow(path: string, events: LoggedEvent[] = []) {
  const logger = recordingLogger(events);
  const follower = new ManifestFollower({
    ...{ repository: gitRepository(path), store: fsManifestStore(folder.path, logger), record: async () => {} },
    ...{ clock: systemClock, logger },
  });
  await follower.restore();
  const witnesses = new WantedWitnesses({ follower, store: postgresWantedStore(db), logger });
  await witnesses.restore();
  return { refresh: () => follower.refresh(), wanted: () => witnesses.wanted };
}

test('the quorum follows the manifest; a bad one changes nothing, restarts included, and says where it is wrong', async () => {
  const repository = makeManifestRepository(join(folder.path, 'manifest'), 'witnesses: {quorum: all}\n');
  const events: LoggedEvent[] = [];
  const first = await follow(repository.path, events);
  assert.equal(first.wanted().quorum, 'majority', 'unless told otherwise');
  await first.refresh();
  assert.equal(first.wanted().quorum, 'all');
  const bad = repository.commit('witnesses:\n  quorum: most\n');
  await first.refresh();
  await first.refresh();
  assert.equal(first.wanted().quorum, 'all');
  const rejected = events.filter(({ event }) => event === 'manifest.rejected').map(({ fields }) => fields);
  assert.equal(rejected.length, 1);
  const { commit, file, line, reason } = rejected[0] ?? {};
  assert.deepEqual([commit, file, line], [bad, 'bloodline_manifest.yaml', 2]);
  assert.match(String(reason), /expected majority, all, none or a number/);

  const restarted = await follow(repository.path);
  await restarted.refresh();
  assert.equal(restarted.wanted().quorum, 'all');
  repository.commit('witnesses: {quorum: 2}\n');
  await restarted.refresh();
  assert.equal(restarted.wanted().quorum, 2);
});

test('a repository that cannot be read is no manifest without witnesses', async () => {
  const events: LoggedEvent[] = [];
  const lost = await follow(join(folder.path, 'nowhere'), events);
  await lost.refresh();
  assert.equal(lost.wanted().quorum, 2);
  assert.match(String(events.find(({ event }) => event === 'manifest.rejected')?.fields.message), /nowhere/);
});
