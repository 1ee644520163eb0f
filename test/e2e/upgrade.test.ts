import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { contracts, type Migration, migrationsDir, readMigrations } from '../../collector/postgres/migrate.ts';
import { version } from '../../common/version.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { type PreviousBuild, previousBuild, previousSource } from '../system/previous.ts';
import { makeTemporaryFolder, programs, type RunningCollector, runCommand, startCollector } from '../system.ts';
import { keyAlone } from './enforce-attacker.ts';
import { type Fleet, type FleetNode, startFleet, tearDown } from './fleet.ts';
import { caughtUp, goesOn, statusWhere } from './waiting.ts';

/** A fleet of the previous version, upgraded while it runs: collectors first, then one agent after the other. */
const source = previousSource();
const folder = makeTemporaryFolder('sgw-upgrade-');

let postgres: TestPostgres;
let database: string;
let previous: PreviousBuild;
/** What this version does to the database of the previous one. */
let added: readonly Migration[];
let fleet: Fleet;
let upgraded: RunningCollector | undefined;

const now = () => upgraded ?? assert.fail('not started');
const node = (name: string) => fleet.node(name);

before(async () => {
  if ('none' in source) return;
  previous = previousBuild(source);
  const known = await readMigrations(previous.migrationsDir);
  added = (await readMigrations(migrationsDir)).slice(known.length);
  postgres = await startPostgres();
  database = await postgres.emptyDatabase();
  const collectorEnv = { DATABASE_URL: database };
  fleet = await startFleet({
    ...{ dir: folder.path, nodes: ['lyra', 'node1'], wanted: ['web'], collectorEnv, build: previous.programs },
  });
  for (const one of fleet.nodes) await caughtUp(one);
});
after(async () => {
  await tearDown();
  await postgres?.stop();
});

const moveDeadlineMs = 90_000;

const startUpgraded = (dir: string) =>
  startCollector({ dir, env: { DATABASE_URL: database }, token: fleet.collector.token });

/** Lets the node's next session begin at the collector of this version. */
async function move(one: FleetNode): Promise<void> {
  const { connections } = one.wire;
  one.redirect(Number(new URL(now().url).port));
  one.wire.cutAll();
  const moved = () => one.wire.connections > connections;
  // Where the other one is down already, the next attempt may be half a minute away.
  await statusWhere(one, 'has moved', ({ link }) => moved() && link.state === 'connected', moveDeadlineMs);
}

describe('an upgrade from the version before', 'none' in source ? () => withoutRelease(source.none) : upgrade);

/** Before the first release there is nothing to be upgraded, which is no case that was left out. */
function withoutRelease(reason: string): void {
  test('has no version to start from', (t) => {
    t.diagnostic(reason);
    assert.match(reason, /no version was tagged|no git checkout/);
  });
}

function upgrade(): void {
  test('a collector of this version starts beside one that runs, or says that it has to be stopped', async (t) => {
    t.diagnostic(`from ${previous.name}, with ${added.length} migrations`);
    const dir = keyAlone(fleet.collector.dir, join(folder.path, 'upgraded'));
    if (added.some(contracts)) {
      await assert.rejects(startUpgraded(dir), /takes away what collectors of an earlier version use.*stop them all/);
      await goesOn(fleet, node('lyra'));
      await fleet.collector.stop();
    }
    upgraded = await startUpgraded(dir);
  });

  test('the one that ran goes on to take entries and to be asked, under the migrations of this version', async () => {
    if (added.some(contracts)) return;
    for (const one of fleet.nodes) await goesOn(fleet, one);
  });

  test('agents of the version before work with a collector of this one', async () => {
    for (const one of fleet.nodes) await move(one);
    for (const one of fleet.nodes) await goesOn({ collector: now() }, one);
  });

  test('a collector of the version before that starts again is refused with the reason, unless the database is still its own', async () => {
    if (added.length === 0) {
      await fleet.collector.restart();
      return;
    }
    await fleet.collector.stop();
    const env = { DATABASE_URL: database, SIGILWATCH_DATA_DIR: fleet.collector.dir, SIGILWATCH_HTTP_PORT: '0' };
    const again = await runCommand({ name: 'before', command: previous.programs.collector, args: ['run'], env });
    assert.deepEqual([again.exitCode, /newer collector has used it/.test(again.stdout + again.stderr)], [4, true]);
  });

  test('an agent is upgraded on its data, goes on with its chain, and says which collector it has', async () => {
    const one = node('lyra');
    await one.agent.restart(programs);
    await caughtUp(one);
    await goesOn({ collector: now() }, one);
    const { link } = await one.agent.status();
    assert.deepEqual(link.collector, { version, protocol: 'sigilwatch.v1' });
    await goesOn({ collector: now() }, node('node1'));
  });

  test('the ledger that both versions wrote is whole, and the list of nodes tells their versions', async () => {
    const verified = await now().cli('ledger', 'verify');
    assert.equal(verified.exitCode, 0, verified.stdout + verified.stderr);
    const { stdout } = await now().cli('nodes', 'list');
    const versions = stdout.split('\n').map((line) => line.split('\t').at(-1));
    assert.equal(versions[0], version, stdout);
  });
}
