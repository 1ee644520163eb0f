import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { AcceptedChange } from '../../../../agent/sigils/inventory/accepted.ts';
import { filesEnding, flip, intoTables, type Store, temporaryFolder, withStore } from '../stores.ts';
import { Nights, sigilAt, timeAt } from './inventories.ts';

const here = sigilAt({ form: 'new', id: 'a' }, 10);
const bystander = sigilAt({ form: 'new', id: 'b' }, 10);

async function ground(t: TestContext, { form = 'new' }: { readonly form?: 'new' | 'plain' } = {}) {
  const path = `${temporaryFolder(t)}/db`;
  const change = (work: (db: Store) => Promise<void>) => withStore(path, work);
  const one = sigilAt({ form, id: 'a' }, 10);
  await change(async (db) => {
    await db.put(one.key, one.value);
    await db.put(bystander.key, bystander.value);
  });
  const nights = new Nights(path, temporaryFolder(t));
  await nights.scan();
  return { path, change, nights, key: one.key };
}

/** Accepts the findings that are open, as the agent does. */
function accept(nights: Nights): AcceptedChange[] {
  const accepted = nights.open.flatMap(({ id, check, key, actual }): AcceptedChange[] =>
    check === 'vanished' || check === 'rolled_back'
      ? [{ id, check, key: Buffer.from(key ?? ''), actual: check === 'vanished' ? null : actual }]
      : [],
  );
  const ids = new Set(accepted.map(({ id }) => id));
  nights.open = nights.open.filter(({ id }) => !ids.has(id));
  return accepted;
}

describe('a deletion that was accepted', () => {
  for (const form of ['new', 'plain'] as const) {
    test(`is found by no later scan, and found again when the sigil was back and is gone again (${form} key)`, async (t) => {
      const { change, nights, key } = await ground(t, { form });
      await change((db) => db.del(key));
      await nights.scan();
      assert.deepEqual(nights.standing, [`vanished ${key}`]);
      const accepted = accept(nights);
      const { inventory } = await nights.scan({ accepted });
      assert.deepEqual([nights.standing, inventory?.keys, inventory?.spent], [[], 1, accepted.map(({ id }) => id)]);
      await nights.scan();
      assert.deepEqual(nights.standing, []);
      const back = sigilAt({ form, id: 'a' }, 20);
      await change((db) => db.put(back.key, back.value));
      await nights.scan();
      await change((db) => db.del(key));
      await nights.scan();
      assert.deepEqual(nights.standing, [`vanished ${key}`]);
    });
  }

  test('does not let an older record come back in its place before the next full scan', async (t) => {
    const { change, nights, key } = await ground(t);
    await change((db) => db.del(key));
    await nights.scan();
    const accepted = accept(nights);
    const older = sigilAt({ form: 'new', id: 'a' }, 5);
    await change((db) => db.put(key, older.value));
    const { inventory } = await nights.scan({ accepted });
    assert.deepEqual([nights.standing, inventory?.spent.length], [[`rolled_back ${key}`], 1]);
  });

  test('hides neither what else is gone nor a damaged record', async (t) => {
    const { change, nights, key } = await ground(t);
    await change((db) => db.del(key));
    await nights.scan();
    const accepted = accept(nights);
    await change(async (db) => {
      await db.put(key, { ...here.value, checksum: '0'.repeat(64) });
      await db.del(bystander.key);
    });
    await nights.scan({ accepted });
    assert.deepEqual(nights.standing, [`checksum ${key}`, `vanished ${bystander.key}`]);
  });

  test('waits for a scan that can see whether it is true', async (t) => {
    const { path, change, nights, key } = await ground(t);
    await change((db) => db.del(key));
    await nights.scan();
    const accepted = accept(nights);
    await change(async (db) => {
      await intoTables(db);
      await db.put(here.key.replace('!S!', '!T!'), { ...here.value, symbol: 'T' });
    });
    const [table = ''] = filesEnding(path, '.ldb');
    flip(`${path}/${table}`, 20);
    const { inventory } = await nights.scan({ accepted });
    assert.deepEqual(inventory?.spent, []);
    flip(`${path}/${table}`, 20);
    await nights.scan({ accepted });
    assert.deepEqual(nights.standing, []);
  });

  test('is compared with all the same when the inventory is only read', async (t) => {
    const { change, nights, key } = await ground(t);
    await change((db) => db.del(key));
    await nights.scan({ keeps: false });
    assert.deepEqual(nights.standing, [`vanished ${key}`]);
  });
});

describe('an older record that was accepted', () => {
  test('is what later ones are compared with', async (t) => {
    const { change, nights, key } = await ground(t);
    const put = (minute: number) => change((db) => db.put(key, sigilAt({ form: 'new', id: 'a' }, minute).value));
    await put(5);
    await nights.scan();
    assert.deepEqual(nights.standing, [`rolled_back ${key}`]);
    await nights.scan({ accepted: accept(nights) });
    assert.deepEqual(nights.standing, []);
    await put(7);
    await nights.scan();
    assert.deepEqual(nights.standing, []);
    await put(6);
    await nights.scan();
    assert.deepEqual(nights.standing, [`rolled_back ${key}`]);
  });

  test('is that one: a still older one is found', async (t) => {
    const { change, nights, key } = await ground(t);
    const put = (minute: number) => change((db) => db.put(key, sigilAt({ form: 'new', id: 'a' }, minute).value));
    await put(5);
    await nights.scan();
    const accepted = accept(nights);
    await put(3);
    await nights.scan({ accepted });
    assert.deepEqual(
      nights.open.map(({ check, expected, actual }) => [check, expected, actual]),
      [['rolled_back', timeAt(10), timeAt(3)]],
    );
  });

  test('may not be gone instead', async (t) => {
    const { change, nights, key } = await ground(t);
    await change((db) => db.put(key, sigilAt({ form: 'new', id: 'a' }, 5).value));
    await nights.scan();
    const accepted = accept(nights);
    await change((db) => db.del(key));
    await nights.scan({ accepted });
    assert.deepEqual(nights.standing, [`vanished ${key}`]);
  });
});
