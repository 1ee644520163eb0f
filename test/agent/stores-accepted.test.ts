import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { until } from '../until.ts';
import { agentCommand } from './program.ts';
import { sigilAt } from './sigils/inventory/inventories.ts';
import { withStore } from './sigils/stores.ts';
import { WatchedStore } from './watched-store.ts';

const { key, value } = sigilAt({ form: 'new', id: 'a' }, 1);
const damaged = sigilAt({ form: 'new', id: 'b' }, 1);
let watched: WatchedStore;

beforeEach(async () => {
  watched = new WatchedStore();
  await withStore(watched.path, async (db) => {
    await db.put(key, value);
    await db.put(damaged.key, { ...damaged.value, checksum: '0'.repeat(64) });
  });
});
afterEach(() => watched.end());

/** A watch has found the first sigil gone, and ended. */
async function afterDeletion(): Promise<void> {
  const first = watched.watch();
  await watched.tookInventories(1);
  await first.stop();
  await withStore(watched.path, (db) => db.del(key));
  const second = watched.watch();
  await second.store.check();
  await watched.tookInventories(2);
  await second.stop();
}

const accepted = () => watched.journal.saidOf('sigil.accepted').map(({ body }) => body);
const waiting = () => readdirSync(join(watched.dataDir, 'accepted.inbox'));
async function accept(which: string, ...more: string[]) {
  const config = join(watched.dataDir, 'agent.yaml');
  writeFileSync(config, `dataDir: ${watched.dataDir}\nsigils: {stores: {main: ${watched.path}}}\n`);
  const wish = ['--store', 'main', '--key', which, '--reason', 'the customer left'];
  return agentCommand(['--config', config, 'integrity', 'accept', ...wish, ...more]);
}

describe('a change that somebody accepts', () => {
  test('is an entry with the reason, and no finding any more, over restarts and full checks', async () => {
    await afterDeletion();
    const { code, stdout } = await accept(key);
    assert.deepEqual([code, waiting().length], [0, 1]);
    assert.match(stdout, /^The agent is told that lyra!sigil!/);
    const { store, stop } = watched.watch();
    await until('it was taken up', () => waiting().length === 0);
    const [found] = watched.journal.saidOf('sigil.finding').filter(({ body }) => body.finding.check === 'vanished');
    const body = {
      store: 'main',
      key,
      check: 'vanished',
      finding: found?.body.finding.id,
      reason: 'the customer left',
    };
    assert.deepEqual(accepted(), [body]);
    await until('the damaged record alone is a finding as before', () => store.summary.openFindings === 1);
    await stop();
    const again = watched.watch();
    for (const nth of [3, 4]) {
      const check = await again.store.check();
      assert.deepEqual(
        check.findings.map((finding) => finding.key),
        [damaged.key],
      );
      await watched.tookInventories(nth);
    }
    assert.equal(watched.journal.saidOf('sigil.cleared').length, 0);
    await until('nothing of it is remembered', async () => (await watched.journal.state('accepted/')).size === 0);
  });

  test('is refused when no such finding is open, and so is one of a damaged record', async () => {
    await afterDeletion();
    await accept(damaged.key);
    await accept('lyra!sigil!S!other');
    const { store } = watched.watch();
    await until('both were looked at', () => waiting().length === 0);
    assert.deepEqual(
      [accepted(), watched.logged.filter((event) => event === 'sigil.acceptance_refused').length],
      [[], 2],
    );
    assert.equal(store.summary.openFindings, 2);
  });

  test('waits while its entry cannot be written, and is said once', async () => {
    await afterDeletion();
    await accept(key);
    watched.journal.mood = 'write_failed';
    const { store } = watched.watch();
    await until('it could not be told', () => watched.has('sigil.unsaid'));
    assert.deepEqual([accepted(), waiting().length, store.summary.openFindings], [[], 1, 2]);
    watched.journal.mood = 'well';
    store.wake();
    await until('it was taken up', () => waiting().length === 0);
    assert.equal(accepted().length, 1);
  });

  test('counts once, whatever a crash left of it', async () => {
    await afterDeletion();
    await accept(key);
    const [file = ''] = waiting();
    const left = { store: 'main', key, at: '2026-01-01T00:00:00.000Z', reason: 'the customer left' };
    const { store } = watched.watch();
    await until('it was taken up', () => waiting().length === 0);
    writeFileSync(join(watched.dataDir, 'accepted.inbox', file), JSON.stringify(left));
    store.wake();
    await until('it was seen again', () => waiting().length === 0);
    assert.deepEqual([accepted().length, watched.has('sigil.acceptance_refused')], [1, false]);
  });

  test('is not asked for with half a key, without a reason, or for a store that is none', async () => {
    writeFileSync(join(watched.dataDir, 'agent.yaml'), '');
    assert.equal((await accept('', '--json')).code, 2);
    assert.equal((await accept(key, '--store', 'other')).code, 2);
    assert.equal((await accept(key, '--reason', ' ')).code, 2);
    assert.equal((await accept(`${'k'.repeat(3_000)}…`)).code, 2);
  });
});
