import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import type { LogFields, Logger } from '../../../common/log.ts';
import { testAuthor } from '../../authors.ts';
import { FakeDisk } from '../../fakes/checkpoint-file.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { assertOneHistory, collectorKeys, stoppedClock, testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';

const tampered = { code: 'ledger.tampered' };

/** A process on this database and data directory. */
function ledgerOn(store: FakeLedgerStore, disk: FakeDisk, logger: Logger = quietLogger, keys = collectorKeys): Ledger {
  const file = disk.open();
  const memory = { file, evidence: file.evidence, logger };
  return new Ledger({ store, origin: testOrigin, keys, clock: stoppedClock, memory });
}

async function startOn(store: FakeLedgerStore, disk: FakeDisk): Promise<Ledger> {
  const ledger = ledgerOn(store, disk);
  await ledger.start();
  return ledger;
}

/** A ledger with a backup of `early` entries, which has gone on to `late` more. */
async function grown({ early, late }: { early: number; late: number }) {
  const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
  const ledger = await startOn(store, disk);
  await ledger.append(author.more(early));
  await ledger.checkpoint();
  const restore = store.snapshot();
  const lost = author.more(late);
  await ledger.append(lost);
  const published = await ledger.checkpoint();
  await ledger.close();
  return { store, disk, ledger, author, restore, lost, published };
}

describe('at start', () => {
  for (const [early, late] of [
    [3, 1],
    [254, 3],
    [255, 256],
    [700, 5],
  ] as const) {
    test(`a database put back from ${early + late + 1} to ${early + 1} entries is refused before anything is written`, async () => {
      const { store, disk, restore } = await grown({ early, late });
      restore();
      const [entries, note] = [store.entries.length, disk.note];
      await assert.rejects(ledgerOn(store, disk).start(), (error: Error) => {
        assert.match(error.message, new RegExp(`checkpoint of ${early + late + 1} entries`));
        assert.match(error.message, /ledger recover FILE/);
        return 'code' in error && error.code === 'ledger.tampered';
      });
      assert.deepEqual([store.entries.length, disk.note], [entries, note]);
    });

    test(`a copy of ${early + 1} entries that has gone its own way is refused, shorter, as long or longer`, async () => {
      for (const more of [late - 1, late, late + 1, late + 300].filter((count) => count > 0)) {
        const { store, disk, restore } = await grown({ early, late });
        restore();
        const elsewhere = await startOn(store, new FakeDisk());
        await elsewhere.append(testAuthor('node2').more(more));
        const entries = store.entries.length;
        await assert.rejects(ledgerOn(store, disk).start(), tampered);
        assert.equal(store.entries.length, entries);
      }
    });
  }

  test('an empty database is refused where a ledger was published before', async () => {
    const { disk } = await grown({ early: 1, late: 1 });
    const empty = new FakeLedgerStore();
    await assert.rejects(ledgerOn(empty, disk).start(), tampered);
    assert.equal(await empty.head(), undefined);
  });

  test('the database that was left behind goes on', async () => {
    const { store, disk, author, published } = await grown({ early: 300, late: 5 });
    const ledger = await startOn(store, disk);
    await ledger.append(author.more(300));
    await assertOneHistory(ledger, [published, await ledger.checkpoint()]);
  });

  test('a file that is behind the database is no contradiction, and is brought up to date', async () => {
    const { store, disk, author, ledger, published } = await grown({ early: 3, late: 4 });
    disk.note = published.note;
    const elsewhere = await startOn(store, new FakeDisk());
    await elsewhere.append(author.more(5));
    await startOn(store, disk);
    assert.equal(disk.note, (await elsewhere.checkpoint()).note);
    await ledger.close();
  });

  test('a missing file is said aloud where a ledger is, and the ledger goes on', async () => {
    const { store, disk } = await grown({ early: 2, late: 2 });
    const warned: { event: string; fields: LogFields | undefined }[] = [];
    const logger: Logger = { ...quietLogger, warn: (event, fields) => void warned.push({ event, fields }) };
    disk.lose();
    await ledgerOn(store, disk, logger).start();
    assert.deepEqual(
      warned.map(({ event, fields }) => [event, fields?.ledgerSize]),
      [['ledger.checkpoint_file_missing', 5]],
    );
    assert.notEqual(disk.note, undefined);
    warned.length = 0;
    await ledgerOn(new FakeLedgerStore(), new FakeDisk(), logger).start();
    assert.deepEqual(warned, [], 'a new ledger lacks nothing');
  });

  for (const [name, spoil] of [
    ['garbage', () => 'not a checkpoint'],
    ['cut short', (note: string) => note.slice(0, 60)],
    ['changed', (note: string) => note.replace(/\n5\n/, '\n4\n')],
  ] as const) {
    test(`a file that is ${name} is refused, and nothing is written`, async () => {
      const { store, disk } = await grown({ early: 2, late: 2 });
      disk.note = spoil(disk.note ?? '');
      await assert.rejects(ledgerOn(store, disk).start(), { code: 'ledger.checkpoint_file' });
      assert.equal(store.entries.length, 5);
    });
  }

  test("a file of another key's ledger is refused", async () => {
    const { disk } = await grown({ early: 2, late: 2 });
    const other = ledgerOn(new FakeLedgerStore(), disk, quietLogger, testAuthor('node1').keys);
    await assert.rejects(other.start(), {
      code: 'ledger.checkpoint_file',
      message: /not signed by this collector's key/,
    });
  });

  test('a file of another origin is refused with both names, and not said to be in the way', async () => {
    const { store, disk } = await grown({ early: 2, late: 2 });
    const file = disk.open();
    const memory = { file, evidence: file.evidence, logger: quietLogger };
    const origin = 'default.test/ledger';
    const ledger = new Ledger({ store, origin, keys: collectorKeys, clock: stoppedClock, memory });
    await assert.rejects(ledger.start(), (error: Error) => {
      assert.match(
        error.message,
        /of the ledger sigilwatch\.test\/ledger, but .* this is default\.test\/ledger\. .*--config/,
      );
      assert.doesNotMatch(error.message, /move/);
      return 'code' in error && error.code === 'ledger.checkpoint_file';
    });
  });
});

describe('publishing', () => {
  test('a checkpoint is in the file before anybody has it, whatever the disk does', async () => {
    const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
    const ledger = await startOn(store, disk);
    await ledger.append(author.more(2));
    const before = disk.note;
    disk.faults = ['failed', 'reply lost'];
    await assert.rejects(ledger.checkpoint(), { code: 'ledger.checkpoint_file', retryable: true });
    assert.equal(disk.note, before);
    await assert.rejects(ledger.checkpoint(), { code: 'ledger.checkpoint_file' });
    assert.notEqual(disk.note, before);
    assert.equal((await ledger.checkpoint()).note, disk.note);
  });

  test('who asks at the same time shares a write, and nobody gets a checkpoint from before he asked', async () => {
    const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
    const ledger = await startOn(store, disk);
    const writes = disk.writes;
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const [place] = await ledger.append(testAuthor(`node${i}`).more(1));
        assert.ok((await ledger.checkpoint()).size > (place?.index ?? Number.NaN));
      }),
    );
    assert.ok(disk.writes - writes <= 4, `${disk.writes - writes} writes`);
    assert.deepEqual(await ledger.checkpoint(), await ledger.checkpoint());
    await ledger.append(author.more(1));
  });

  test('two processes on one file leave the larger tree in it', async () => {
    const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
    const [one, other] = [await startOn(store, disk), await startOn(store, disk)];
    await one.append(author.more(3));
    const larger = await one.checkpoint();
    assert.equal((await other.checkpoint()).note, larger.note);
    assert.equal(disk.note, larger.note);
    await other.append(author.more(300));
    await other.checkpoint();
    await one.checkpoint();
    assert.equal(disk.note, (await other.checkpoint()).note);
  });
});

describe('a running ledger', () => {
  test('commits and signs nothing on a database that was put back under it', async () => {
    for (const more of [0, 1, 4, 5, 400]) {
      const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
      const ledger = await startOn(store, disk);
      await ledger.append(author.more(200));
      const restore = store.snapshot();
      await ledger.append(author.more(4));
      await ledger.checkpoint();
      restore();
      if (more > 0) await (await startOn(store, new FakeDisk())).append(testAuthor('node3').more(more));
      const entries = store.entries.length;
      await assert.rejects(ledger.append(testAuthor('node2').more(2)), tampered, `${more}`);
      await assert.rejects(ledger.checkpoint(), tampered);
      await assert.rejects(
        ledger.record({ kind: 'node.revoked', body: { node: 'x', fingerprint: 'x', reason: 'x' } }),
        tampered,
      );
      assert.equal(store.entries.length, entries);
      assert.equal(disk.contradictions.length, 1);
      assert.ok(ledger.contradiction);
    }
  });

  test('commits nothing where the other one on the same data directory has published more', async () => {
    const [store, disk, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
    const [idle, busy] = [await startOn(store, disk), await startOn(store, disk)];
    await busy.append(author.more(20));
    const restore = store.snapshot();
    await busy.append(author.more(20));
    await busy.checkpoint();
    restore();
    const entries = store.entries.length;
    await assert.rejects(idle.append(testAuthor('node2').more(2)), tampered);
    assert.equal(store.entries.length, entries);
  });

  test('takes a failing database for what it is', async () => {
    const { store, disk, published } = await grown({ early: 300, late: 300 });
    const ledger = await startOn(store, disk);
    store.failingReads = 1;
    await assert.rejects(ledger.checkpoint(), { code: 'database.unreachable' });
    store.failingReads = 1;
    await assert.rejects(ledger.confront((await grown({ early: 300, late: 299 })).published.note), {
      code: 'database.unreachable',
    });
    assert.equal((await ledger.checkpoint()).note, published.note);
    assert.equal(ledger.contradiction, undefined);
  });

  test('is contradicted by what another process published into the file', async () => {
    const { store, disk, published, restore } = await grown({ early: 3, late: 9 });
    restore();
    disk.lose();
    const ledger = await startOn(store, disk);
    await ledger.append(testAuthor('node2').more(1));
    disk.note = published.note;
    await assert.rejects(ledger.checkpoint(), tampered);
    assert.equal(disk.note, published.note);
  });
});

describe('confronted with what an agent holds', () => {
  test('a checkpoint of the same history changes nothing, and is not read up twice', async () => {
    const { store, disk, published } = await grown({ early: 300, late: 300 });
    const ledger = await startOn(store, disk);
    await ledger.append(testAuthor('node2').more(3));
    await ledger.confront(published.note);
    store.failingReads = 100;
    await ledger.confront(published.note);
    store.failingReads = 0;
    assert.equal(ledger.contradiction, undefined);
  });

  test('a checkpoint that another collector has just published is no contradiction', async () => {
    const [store, author] = [new FakeLedgerStore(), testAuthor('node1')];
    const [one, other] = [await startOn(store, new FakeDisk()), await startOn(store, new FakeDisk())];
    await one.append(author.more(400));
    await other.confront((await one.checkpoint()).note);
    assert.equal(other.contradiction, undefined);
  });

  test('what only another collector published is remembered here too, over a restart', async () => {
    const [store, here, author] = [new FakeLedgerStore(), new FakeDisk(), testAuthor('node1')];
    const [one, other] = [await startOn(store, here), await startOn(store, new FakeDisk())];
    const restore = store.snapshot();
    await other.append(author.more(5));
    const { note } = await other.checkpoint();
    await one.confront(note);
    restore();
    assert.equal(here.note, note);
    await assert.rejects(ledgerOn(store, here).start(), tampered);
  });

  for (const more of [0, 1, 8, 9, 10, 500]) {
    test(`a put-back database that grew by ${more} is refused from then on, and after a restart`, async () => {
      const { store, disk, restore, published } = await grown({ early: 250, late: 9 });
      restore();
      disk.lose();
      const ledger = await startOn(store, disk);
      if (more > 0) await ledger.append(testAuthor('node2').more(more));
      await ledger.checkpoint();
      const waiting = ledger.append(testAuthor('node3').more(1)).catch(() => 'refused');
      await assert.rejects(ledger.confront(published.note), tampered);
      await waiting;
      const entries = store.entries.length;
      await assert.rejects(ledger.checkpoint(), tampered);
      await assert.rejects(ledger.append(testAuthor('node4').more(1)), tampered);
      await assert.rejects(ledger.confront(published.note), tampered);
      assert.equal(store.entries.length, entries);
      assert.ok(disk.contradictions[0]?.notes.includes(published.note));
      await assert.rejects(ledgerOn(store, disk).start(), tampered);
      disk.lose();
      await assert.rejects(ledgerOn(store, disk).start(), tampered, 'the evidence alone is enough');
    });
  }

  test('what is shown after the contradiction still says how far the ledger was published, also over a restart', async () => {
    const { store, disk, author } = await grown({ early: 20, late: 9 });
    const restore = store.snapshot();
    const before = await startOn(store, disk);
    const held: string[] = [];
    for (const more of [5, 70, 3]) {
      await before.append(author.more(more));
      held.push((await before.checkpoint()).note);
    }
    const [little = '', middle = '', most = ''] = held;
    restore();
    disk.lose();
    const ledger = await startOn(store, disk);
    await Promise.all([little, middle, little].map((note) => assert.rejects(ledger.confront(note), tampered)));
    assert.equal(disk.note, middle);
    await Promise.all([most, middle].map((note) => assert.rejects(ledger.confront(note), tampered)));
    assert.equal(disk.note, most);
    await assert.rejects(ledger.confront(middle), tampered);
    const other = ledgerOn(new FakeLedgerStore(), new FakeDisk(), quietLogger, testAuthor('node1').keys);
    await other.start();
    await other.append(testAuthor('node1').more(200));
    for (const foreign of [(await other.checkpoint()).note, most.replace(/\n\d+\n/, '\n999\n'), 'x']) {
      await assert.rejects(ledger.confront(foreign), tampered);
    }
    assert.equal(disk.note, most);
    assert.equal(disk.contradictions.length, 1);
    await assert.rejects(ledgerOn(store, disk).start(), tampered);
  });

  test('evidence of a rollback is settled once the entries are back', async () => {
    const { store, disk, restore, published, lost } = await grown({ early: 20, late: 9 });
    restore();
    disk.lose();
    const ledger = await startOn(store, disk);
    await assert.rejects(ledger.confront(published.note), tampered);
    await (await startOn(store, new FakeDisk())).append(lost);
    const after = await startOn(store, disk);
    assert.equal((await after.checkpoint()).note, published.note);
  });

  test('what the key of this ledger did not sign is no evidence', async () => {
    const { store, disk, published } = await grown({ early: 3, late: 3 });
    const ledger = await startOn(store, disk);
    const other = ledgerOn(new FakeLedgerStore(), new FakeDisk(), quietLogger, testAuthor('node1').keys);
    await other.start();
    await other.append(testAuthor('node1').more(100));
    await assert.rejects(ledger.confront((await other.checkpoint()).note), { code: 'auth.signature' });
    await assert.rejects(ledger.confront(published.note.replace('\n7\n', '\n8\n')), { code: 'auth.signature' });
    await assert.rejects(ledger.confront('x'), { code: 'ledger.proof' });
    assert.equal(ledger.contradiction, undefined);
    await ledger.checkpoint();
  });
});
