import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Account } from '../../agent/account.ts';
import { AcceptanceFolder } from '../../agent/integrity/acceptances.ts';
import { inventoryPath } from '../../agent/sigils/inventory/inventory-file.ts';
import { StoreWatch } from '../../agent/stores.ts';
import type { Logger } from '../../common/log.ts';
import { type FakeJournal, fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { agentCommand } from './program.ts';
import { sigilAt } from './sigils/inventory/inventories.ts';
import { clock, secret, withStore } from './sigils/stores.ts';
import { tempFolder } from './watching.ts';

const temp = tempFolder();
const { key, value } = sigilAt({ form: 'new', id: 'a' }, 1);
const damaged = sigilAt({ form: 'new', id: 'b' }, 1);
let journal: FakeJournal;
let dataDir: string;
let path: string;
let logged: string[];
let stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  journal = fakeJournal();
  dataDir = mkdtempSync(join(temp, 'data-'));
  path = join(dataDir, 'db');
  logged = [];
  await withStore(path, async (db) => {
    await db.put(key, value);
    await db.put(damaged.key, { ...damaged.value, checksum: '0'.repeat(64) });
  });
});
afterEach(async () => {
  await Promise.all(stops.map((stop) => stop()));
  stops = [];
});

function watch() {
  const log = (event: string) => void logged.push(event);
  const logger: Logger = { ...quietLogger, info: log, warn: log, error: log };
  const store = new StoreWatch({
    ...{ name: 'main', place: path, secrets: [secret], fullScanCpuShare: 1, clock, logger },
    journal: new Account(journal),
    inventoryPath: inventoryPath(dataDir, 'main'),
    acceptances: new AcceptanceFolder(dataDir),
  });
  const abort = new AbortController();
  const ended = store.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await ended;
  };
  stops.push(stop);
  return { store, stop };
}

/** A watch has found the first sigil gone, and ended. */
async function afterDeletion(): Promise<void> {
  const first = watch();
  await until('an inventory was taken', () => taken() === 1);
  await first.stop();
  await withStore(path, (db) => db.del(key));
  const second = watch();
  await second.store.check();
  await until('the next was taken', () => taken() === 2);
  await second.stop();
}

const taken = () => logged.filter((event) => event === 'inventory.taken').length;
const accepted = () => journal.saidOf('sigil.accepted').map(({ body }) => body);
const waiting = () => readdirSync(join(dataDir, 'accepted.inbox'));
async function accept(which: string, ...more: string[]) {
  const config = join(dataDir, 'agent.yaml');
  writeFileSync(config, `dataDir: ${dataDir}\nsigils: {stores: {main: ${path}}}\n`);
  const wish = ['--store', 'main', '--key', which, '--reason', 'the customer left'];
  return agentCommand(['--config', config, 'integrity', 'accept', ...wish, ...more]);
}

describe('a change that somebody accepts', () => {
  test('is an entry with the reason, and no finding any more, over restarts and full checks', async () => {
    await afterDeletion();
    const { code, stdout } = await accept(key);
    assert.deepEqual([code, waiting().length], [0, 1]);
    assert.match(stdout, /^The agent is told that lyra!sigil!/);
    const { store, stop } = watch();
    await until('it was taken up', () => waiting().length === 0);
    const [found] = journal.saidOf('sigil.finding').filter(({ body }) => body.finding.check === 'vanished');
    const body = {
      store: 'main',
      key,
      check: 'vanished',
      finding: found?.body.finding.id,
      reason: 'the customer left',
    };
    assert.deepEqual(accepted(), [body]);
    assert.equal(store.summary.openFindings, 1, 'the damaged record is a finding as before');
    await stop();
    const again = watch();
    for (const nth of [3, 4]) {
      const check = await again.store.check();
      assert.deepEqual(
        check.findings.map((finding) => finding.key),
        [damaged.key],
      );
      await until('an inventory was taken', () => taken() === nth);
    }
    assert.equal(journal.saidOf('sigil.cleared').length, 0);
    await until('nothing of it is remembered', async () => (await journal.state('accepted/')).size === 0);
  });

  test('is refused when no such finding is open, and so is one of a damaged record', async () => {
    await afterDeletion();
    await accept(damaged.key);
    await accept('lyra!sigil!S!other');
    const { store } = watch();
    await until('both were looked at', () => waiting().length === 0);
    assert.deepEqual([accepted(), logged.filter((event) => event === 'sigil.acceptance_refused').length], [[], 2]);
    assert.equal(store.summary.openFindings, 2);
  });

  test('waits while its entry cannot be written, and is said once', async () => {
    await afterDeletion();
    await accept(key);
    journal.mood = 'write_failed';
    const { store } = watch();
    await until('it could not be told', () => logged.includes('sigil.unsaid'));
    assert.deepEqual([accepted(), waiting().length, store.summary.openFindings], [[], 1, 2]);
    journal.mood = 'well';
    store.wake();
    await until('it was taken up', () => waiting().length === 0);
    assert.equal(accepted().length, 1);
  });

  test('counts once, whatever a crash left of it', async () => {
    await afterDeletion();
    await accept(key);
    const [file = ''] = waiting();
    const left = { store: 'main', key, at: '2026-01-01T00:00:00.000Z', reason: 'the customer left' };
    const { store } = watch();
    await until('it was taken up', () => waiting().length === 0);
    writeFileSync(join(dataDir, 'accepted.inbox', file), JSON.stringify(left));
    store.wake();
    await until('it was seen again', () => waiting().length === 0);
    assert.deepEqual([accepted().length, logged.includes('sigil.acceptance_refused')], [1, false]);
  });

  test('is not asked for with half a key, without a reason, or for a store that is none', async () => {
    writeFileSync(join(dataDir, 'agent.yaml'), '');
    assert.equal((await accept('', '--json')).code, 2);
    assert.equal((await accept(key, '--store', 'other')).code, 2);
    assert.equal((await accept(key, '--reason', ' ')).code, 2);
    assert.equal((await accept(`${'k'.repeat(3_000)}…`)).code, 2);
  });
});
