import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import type { PublishedCheckpoint } from '../../../collector/ledger/publisher.ts';
import { leafData, parseEntry, type SignedEntry, splitLeaf } from '../../../common/entry.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash, splitHashes } from '../../../common/merkle.ts';
import { expandProof, verifyInclusion } from '../../../common/proof.ts';
import { decodeBundle, tileWidth } from '../../../common/tiles.ts';
import { cleared, type TestAuthor, testAuthor } from '../../authors.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { assertOneHistory, collectorKeys, startLedger, stoppedClock, testOrigin } from '../../ledgers.ts';

const unreachable = { code: 'database.unreachable', retryable: true };

function next(author: TestAuthor): SignedEntry {
  return author.next(cleared(`after ${author.head.seq}`));
}

function kindsIn(store: FakeLedgerStore): string[] {
  return store.entries.map(({ entry }) => entry.kind);
}

describe('appending', () => {
  test('the same bytes again keep their place', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const entries = testAuthor('node1').more(5);
    const places = await ledger.append(entries);
    assert.deepEqual(
      places,
      entries.map((_, i) => ({ seq: i + 1, index: i + 1 })),
    );
    assert.deepEqual(await ledger.append(entries), places);
    assert.deepEqual(await ledger.append(entries.slice(1, 4)), places.slice(1, 4));
    assert.deepEqual(await (await startLedger(store)).append(entries), places);
    assert.equal(store.entries.length, 6);
  });

  test('known and new entries can come in one wish', async () => {
    const ledger = await startLedger(new FakeLedgerStore());
    const entries = testAuthor('node1').more(5);
    await ledger.append(entries.slice(0, 3));
    const places = await ledger.append(entries);
    assert.deepEqual(
      places.map(({ index }) => index),
      [1, 2, 3, 4, 5],
    );
    assert.deepEqual(await ledger.append([]), []);
  });

  test('a gap, another predecessor and a wish out of order are refused and leave nothing', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const author = testAuthor('node1');
    const twin = author.twin();
    const [first, second, third, fourth] = [next(author), next(author), next(author), next(author)];
    twin.next(cleared('of the twin'));
    const stranger = twin.next(cleared('after the entry of the twin'));
    await ledger.append([first]);
    const before = store.entries.length;
    for (const wish of [[third], [second, fourth], [stranger], [third, second], [second, first], [second, second]]) {
      await assert.rejects(ledger.append(wish), { code: 'ledger.sequence', retryable: false });
    }
    await assert.rejects(ledger.append([first, next(testAuthor('node2'))]), { code: 'ledger.sequence' });
    assert.equal(store.entries.length, before);
    assert.deepEqual(
      await ledger.append([second, third, fourth]),
      [2, 3, 4].map((seq) => ({ seq, index: seq })),
    );
  });

  test('a second entry under a taken number is refused and put on record once, with what was offered', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const [author, twin] = [testAuthor('node1'), testAuthor('node1')];
    const accepted = author.next(cleared('accepted'));
    const offered = twin.next(cleared('offered'));
    await ledger.append([accepted]);
    for (let i = 0; i < 3; i++) await assert.rejects(ledger.append([offered]), { code: 'ledger.equivocation' });
    assert.deepEqual(kindsIn(store), ['ledger.created', 'sigil.cleared', 'ledger.equivocation']);
    const told = store.entries[2]?.entry;
    assert.ok(told?.kind === 'ledger.equivocation');
    assert.deepEqual(told.body, {
      node: 'node1',
      seq: 1,
      accepted: author.head.hash,
      offered: twin.head.hash,
      offeredText: offered.bytes.toString(),
      offeredSignature: offered.signature.toString('base64'),
    });
    assert.equal((await ledger.append([author.next(cleared('goes on'))]))[0]?.index, 3);
  });

  test('the longest evidence still fits into an entry', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    await ledger.append(testAuthor('node1').more(1));
    for (const filling of ['"', '\u{10ffff}', '\uffff', '\n', '\0']) {
      for (const times of [15_000, 2_600, 20_000]) {
        const offered = testAuthor('node1').next({
          kind: 'drift.resolved',
          body: { id: String(times), commit: filling.repeat(Math.floor(times / JSON.stringify(filling).length)) },
        });
        await assert.rejects(ledger.append([offered]), { code: 'ledger.equivocation' });
        const told = store.entries.at(-1);
        assert.ok(told?.entry.kind === 'ledger.equivocation');
        const { offeredText } = told.entry.body;
        const fits = offered.bytes.toString().length <= limits.maxEvidenceChars;
        assert.equal(offeredText, fits ? offered.bytes.toString() : null);
        assert.deepEqual(parseEntry(told.bytes), told.entry);
      }
    }
  });

  test('a node that offers ever other entries fills no ledger, and hides nobody else', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const names = ['node1', 'node2'];
    for (const name of names) await ledger.append(testAuthor(name).more(1));
    const offer = (name: string, id: number) =>
      assert.rejects(ledger.append([testAuthor(name).next(cleared(`other ${id}`))]), { code: 'ledger.equivocation' });
    for (let id = 0; id <= limits.maxEquivocationsToldPerNode; id++) await offer('node1', id);
    await offer('node2', 0);
    const against = store.entries.flatMap(({ entry }) =>
      entry.kind === 'ledger.equivocation' ? [entry.body.node] : [],
    );
    assert.deepEqual(
      names.map((name) => against.filter((node) => node === name).length),
      [limits.maxEquivocationsToldPerNode, 1],
    );
  });

  test('evidence that could not be written is written when the entry is offered again', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    await ledger.append(testAuthor('node1').more(1));
    const offered = [testAuthor('node1').next(cleared('offered'))];
    store.faults = ['failed'];
    await assert.rejects(ledger.append(offered), unreachable);
    await assert.rejects(ledger.append(offered), { code: 'ledger.equivocation' });
    assert.deepEqual(kindsIn(store), ['ledger.created', 'sigil.cleared', 'ledger.equivocation']);
  });
});

describe('starting', () => {
  test('makes the first entry once, however often and at how many places it happens', async () => {
    const store = new FakeLedgerStore({ pause: () => new Promise(setImmediate) });
    const ledgers = await Promise.all([1, 2, 3].map(() => startLedger(store)));
    await startLedger(store);
    assert.deepEqual(kindsIn(store), ['ledger.created']);
    const [first] = store.entries;
    const collectorKey = testAuthor('collector').keys.publicKey.export({ format: 'der', type: 'spki' }).subarray(12);
    assert.deepEqual(first?.entry.body, { origin: testOrigin, collectorKey: collectorKey.toString('base64') });
    const notes = await Promise.all(ledgers.map(async (ledger) => (await ledger.checkpoint()).note));
    assert.equal(new Set(notes).size, 1);
  });

  test('with another key or origin than the ledger has is refused', async () => {
    const store = new FakeLedgerStore();
    await startLedger(store);
    const options = { store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock };
    const code = 'state.conflict';
    const keys = { keys: testAuthor('node1').keys, keyPath: '/data/collector.key' };
    const message = /another collector key than the one in \/data\/collector\.key.*copy of the first one's/;
    await assert.rejects(new Ledger({ ...options, ...keys }).start(), { code, message });
    await assert.rejects(new Ledger({ ...options, origin: 'another.test/ledger' }).start(), {
      code,
      message: /the ledger sigilwatch\.test\/ledger, but the settings say that this is another\.test\/ledger.*--config/,
    });
    await new Ledger(options).start();
    assert.deepEqual(kindsIn(store), ['ledger.created']);
  });

  test('never says a second time when something was received, whatever became of what was said', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const author = testAuthor('node1');
    for (let i = 0; i < 3; i++) await ledger.append(author.more(2));
    const said = [...store.batches];
    const [last] = said.slice(-1);
    assert.ok(last);
    const other = { ...last, batch: { ...last.batch, root: Buffer.alloc(32) } };
    const beyond = { ...last, batch: { ...last.batch, size: last.batch.size + 5 } };
    for (const left of [[], said.slice(0, -1), said.slice(0, 1), [...said.slice(0, -1), other], [...said, beyond]]) {
      store.batches.splice(0, Number.POSITIVE_INFINITY, ...left);
      await assert.rejects(startLedger(store), { code: 'ledger.tampered', message: /batch/ });
      assert.deepEqual(store.batches, left);
    }
    store.batches.splice(0, Number.POSITIVE_INFINITY, ...said);
    await (await startLedger(store)).append(author.more(1));
    assert.equal(store.batches.at(-1)?.batch.from, last.batch.size);
  });

  test('without the first body, or with another one, is refused to every key and writes nothing', async () => {
    const store = new FakeLedgerStore();
    await (await startLedger(store)).append(testAuthor('node1').more(2));
    const whole = [...store.entries];
    for (const keys of [collectorKeys, testAuthor('node1').keys]) {
      for (const first of [undefined, whole[1]]) {
        store.leaves = async () => (first === undefined ? [] : [leafData(first)]);
        const ledger = new Ledger({ store, origin: testOrigin, keys, clock: stoppedClock });
        await assert.rejects(ledger.start(), { code: 'ledger.tampered', message: /first entry/ });
      }
    }
    assert.deepEqual(store.entries, whole);
    assert.equal(store.batches.length, 2);
  });
});

describe('publishing', () => {
  test('every checkpoint verifies and continues every earlier one', async () => {
    const ledger = await startLedger(new FakeLedgerStore());
    const author = testAuthor('node1');
    const published: PublishedCheckpoint[] = [await ledger.checkpoint()];
    for (const count of [1, 1, 2, 5, 90, 153, 1, 1, 1, 200, 56, 1]) {
      await ledger.append(author.more(count));
      published.push(await ledger.checkpoint());
    }
    assert.equal(published.at(-1)?.size, 513);
    assert.equal((await ledger.checkpoint()).note, published.at(-1)?.note);
    await assertOneHistory(ledger, published);
  });

  test('entries and their proofs are right in trees of every size they are in', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    const author = testAuthor('node1');
    for (const count of [254, 1, 1, 1, 256]) {
      await ledger.append(author.more(count));
      const { size, root } = await ledger.checkpoint();
      const indexes = [0, 1, 253, 254, 255, 256, 257, size - 1].filter((index) => index < size);
      const shared = await ledger.inclusion(indexes, size);
      for (const [which, index] of indexes.entries()) {
        const entry = store.entries[index];
        assert.ok(entry);
        const proof = expandProof(shared, which);
        verifyInclusion({ leafHash: leafHash(entry.bytes, entry.signature), index, size, root, proof });
      }
    }
    await assert.rejects(ledger.inclusion([1], 100_000), { code: 'ledger.proof' });
    await assert.rejects(ledger.consistency(1, 100_000), { code: 'ledger.proof' });
  });

  test('tiles hold the leaf hashes, bundles the leaves, and both end where the log ends', async () => {
    const store = new FakeLedgerStore();
    const ledger = await startLedger(store);
    await ledger.append(testAuthor('node1').more(599));
    for (const index of [0, 1, 2]) {
      const width = tileWidth({ level: 0, index }, 600);
      const leaves = store.entries.slice(index * 256, index * 256 + width).map(leafData);
      const bundle = await ledger.bundle(index, width);
      assert.deepEqual(decodeBundle(bundle ?? Buffer.alloc(0)), leaves);
      const tile = await ledger.tile(0, index, width);
      assert.deepEqual(
        splitHashes(tile ?? Buffer.alloc(0)),
        leaves.map((leaf) => leafHash(leaf)),
      );
      for (const part of [1, 17, width - 1]) {
        assert.deepEqual(await ledger.tile(0, index, part), tile?.subarray(0, part * 32));
        const short = decodeBundle((await ledger.bundle(index, part)) ?? Buffer.alloc(0));
        assert.deepEqual(short, leaves.slice(0, part));
        assert.ok(short.every((leaf) => parseEntry(splitLeaf(leaf).bytes)));
      }
    }
    assert.equal((await ledger.tile(1, 0, 2))?.length, 64);
    for (const [level, index, width] of [
      [0, 2, 89],
      [0, 2, 0],
      [0, 3, 1],
      [1, 0, 3],
      [1, 1, 1],
      [2, 0, 1],
      [63, 0, 1],
    ] as const) {
      assert.equal(await ledger.tile(level, index, width), undefined);
      if (level === 0) assert.equal(await ledger.bundle(index, width), undefined);
    }
  });

  test('what another collector appended is in the next checkpoint, tile and proof', async () => {
    const store = new FakeLedgerStore();
    const [writer, reader] = [await startLedger(store), await startLedger(store)];
    const published = [await reader.checkpoint()];
    await writer.append(testAuthor('node1').more(300));
    assert.equal((await reader.tile(0, 0, 256))?.length, 256 * 32);
    published.push(await reader.checkpoint());
    assert.equal(published[1]?.size, 301);
    await writer.append(testAuthor('node2').more(3));
    published.push(await writer.checkpoint());
    await assertOneHistory(reader, published);
    assert.deepEqual(await reader.authorHead('node2'), await writer.authorHead('node2'));
  });

  test('a database that was put back to an old backup gets no signature', async () => {
    const [today, backup] = [new FakeLedgerStore(), new FakeLedgerStore()];
    const author = testAuthor('node1');
    const early = author.more(3);
    await (await startLedger(backup)).append(early);
    let current = today;
    const store = new Proxy(today, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(current, name);
        return typeof value === 'function' ? value.bind(current) : value;
      },
    });
    const ledger = await startLedger(store);
    await ledger.append([...early, ...author.more(4)]);
    await ledger.checkpoint();
    current = backup;
    await ledger.append(testAuthor('node2').more(4)).catch(() => {});
    await assert.rejects(ledger.checkpoint(), { code: 'ledger.tampered' });
  });
});
