import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { entryKey, packRecord } from '../../../agent/outbox/layout.ts';
import { openDb } from '../../../agent/outbox/level-store.ts';
import type { Outbox } from '../../../agent/outbox/outbox.ts';
import { rebase } from '../../../agent/outbox/rebase.ts';
import { emptyStanding } from '../../../agent/outbox/standing.ts';
import type { LedgerHead } from '../../../agent/ports.ts';
import { type ChainHead, genesis, sealEntry } from '../../../common/entry.ts';
import {
  auditedEntries,
  author,
  cleared,
  enrolled,
  failsWith,
  idsOf,
  keys,
  opened,
  plenty,
  tempDir,
} from './support.ts';

const elsewhere: LedgerHead = { seq: 500, hash: 'ab'.repeat(32), proved: true };

function seqsOf(entries: readonly { entry: { seq: number } }[]): number[] {
  return entries.map(({ entry }) => entry.seq);
}

async function unchanged(outbox: Outbox, act: () => Promise<unknown>): Promise<void> {
  const before = [outbox.head, outbox.acked, outbox.bytes, outbox.anchored];
  await act();
  assert.deepEqual([outbox.head, outbox.acked, outbox.bytes, outbox.anchored], before);
}

/** Ten entries of which the last four are lost again, as by a damaged end of LevelDB's log; the heads of all ten. */
async function tailLost(t: TestContext, parent: string): Promise<{ outbox: Outbox; heads: ChainHead[] }> {
  const first = await enrolled(t, parent);
  const heads: ChainHead[] = [];
  const say = async (n: number) => {
    await first.append([cleared(n)], [{ key: `told/${n}`, value: true }]);
    heads.push(first.head);
  };
  for (let n = 1; n <= 6; n += 1) await say(n);
  await first.trim(2, 'note');
  const copy = join(parent, 'copy');
  cpSync(join(parent, 'outbox'), copy, { recursive: true });
  for (let n = 7; n <= 10; n += 1) await say(n);
  await first.close();
  rmSync(join(parent, 'outbox'), { recursive: true });
  cpSync(copy, join(parent, 'outbox'), { recursive: true });
  const outbox = await opened(t, parent);
  assert.match(outbox.recovery?.reason ?? '', /4 acknowledged writes are missing/);
  assert.equal(outbox.recovery?.stateKept, true);
  assert.equal(outbox.recovery?.missing, 4);
  assert.equal((await outbox.state('told/')).size, 6, 'told is exactly what is still queued or acknowledged');
  await outbox.append([cleared('new')]);
  return { outbox, heads };
}

function nth(heads: readonly ChainHead[], seq: number): ChainHead {
  const head = heads[seq - 1];
  assert.ok(head);
  return head;
}

test('a new outbox sends nothing before it knows where its chain stands', async (t) => {
  const outbox = await opened(t, tempDir(t));
  await outbox.append([cleared('a')]);
  await assert.rejects(outbox.read(0, plenty), failsWith('state.conflict'));
  await assert.rejects(outbox.trim(1, 'note'), failsWith('state.conflict'));
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  assert.deepEqual(seqsOf(await auditedEntries(outbox)), [1]);
});

test('a new outbox of a node with history continues that history, with the times as they were', async (t) => {
  const parent = tempDir(t);
  const outbox = await opened(t, parent);
  const said = await outbox.append([cleared('a'), cleared('b')]);
  await outbox.anchor(elsewhere);
  const entries = await auditedEntries(outbox);
  assert.deepEqual(seqsOf(entries), [501, 502]);
  assert.equal(entries[0]?.entry.prev, elsewhere.hash);
  assert.deepEqual(
    entries.map(({ entry }) => entry.at),
    said.map(({ entry }) => entry.at),
  );
  await outbox.append([cleared('c')]);
  await outbox.close();
  const again = await opened(t, parent);
  assert.equal(again.anchored, true);
  assert.deepEqual(idsOf(await auditedEntries(again)), ['a', 'b', 'c']);
  await again.anchor(elsewhere);
});

test('an anchored outbox drops nothing for a head, and refuses one it never had', async (t) => {
  const outbox = await enrolled(t, tempDir(t));
  for (let n = 1; n <= 5; n += 1) await outbox.append([cleared(n)]);
  const [, second, third] = await auditedEntries(outbox);
  await outbox.anchor({ seq: 2, hash: third?.entry.prev ?? '', proved: true });
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['1', '2', '3', '4', '5']);
  await outbox.trim(2, 'note');
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['3', '4', '5']);
  await unchanged(outbox, async () => {
    await assert.rejects(outbox.anchor(elsewhere), failsWith('ledger.sequence', false));
    await assert.rejects(outbox.anchor({ seq: 4, hash: elsewhere.hash }), failsWith('ledger.sequence'));
    await assert.rejects(outbox.anchor({ seq: 2, hash: elsewhere.hash }), failsWith('ledger.sequence'));
    await assert.rejects(outbox.anchor({ seq: 1, hash: second?.entry.prev ?? '' }), failsWith('ledger.sequence'));
  });
});

test('after a lost tail that the ledger has, what is still queued is said again: no head proves that it is in there', async (t) => {
  const { outbox, heads } = await tailLost(t, tempDir(t));
  await outbox.anchor({ ...nth(heads, 10), proved: true });
  const entries = await auditedEntries(outbox);
  assert.deepEqual(idsOf(entries), ['3', '4', '5', '6', 'outbox.recovered', 'new']);
  assert.deepEqual(seqsOf(entries), [11, 12, 13, 14, 15, 16]);
});

test('an outbox that lost its place drops, numbers and sends nothing on a word that is not proved', async (t) => {
  const { outbox, heads } = await tailLost(t, tempDir(t));
  const fresh = await opened(t, tempDir(t));
  await fresh.append([cleared('first')]);
  for (const [lied, honest] of [
    [outbox, { ...nth(heads, 10), proved: true }],
    [fresh, genesis],
  ] as const) {
    for (const seq of [9, 500]) {
      await unchanged(lied, () =>
        assert.rejects(lied.anchor({ seq, hash: elsewhere.hash }), failsWith('ledger.sequence')),
      );
      await assert.rejects(lied.read(0, plenty), failsWith('state.conflict'));
    }
    await lied.anchor(honest);
  }
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['3', '4', '5', '6', 'outbox.recovered', 'new']);
  assert.deepEqual(idsOf(await auditedEntries(fresh)), ['first']);
});

test('a wrong place that was believed is set right by a proved one, until an ack proves the first', async (t) => {
  const parent = tempDir(t);
  const first = await opened(t, parent);
  await first.append([cleared('a')]);
  // Nothing can prove that there is nothing, so this may have been a lie.
  await first.anchor(genesis);
  await first.append([cleared('b')]);
  await first.close();
  const outbox = await opened(t, parent);
  await outbox.anchor(elsewhere);
  const later: LedgerHead = { seq: 700, hash: 'cd'.repeat(32), proved: true };
  await outbox.anchor(later);
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['a', 'b']);
  assert.deepEqual([outbox.acked.seq, outbox.head.seq], [700, 702]);
  await outbox.trim(701, 'note');
  await unchanged(outbox, () =>
    assert.rejects(outbox.anchor({ ...elsewhere, seq: 900 }), failsWith('ledger.sequence', false)),
  );
});

test('an ack of what had its number before the loss does not prove the numbers given since', async (t) => {
  const { outbox, heads } = await tailLost(t, tempDir(t));
  await outbox.anchor(nth(heads, 4));
  await outbox.trim(5, 'note');
  await outbox.anchor({ ...nth(heads, 10), proved: true });
  assert.deepEqual(seqsOf(await auditedEntries(outbox)), [11, 12, 13]);
});

test('after a lost tail that was never sent the chain simply goes on', async (t) => {
  const { outbox, heads } = await tailLost(t, tempDir(t));
  await outbox.anchor(nth(heads, 4));
  const entries = await auditedEntries(outbox);
  assert.deepEqual(idsOf(entries), ['3', '4', '5', '6', 'outbox.recovered', 'new']);
  assert.deepEqual(seqsOf(entries), [3, 4, 5, 6, 7, 8]);
});

test('after a lost tail a ledger on another branch gets everything that it may not have', async (t) => {
  const { outbox } = await tailLost(t, tempDir(t));
  await outbox.anchor({ ...elsewhere, seq: 5 });
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['3', '4', '5', '6', 'outbox.recovered', 'new']);
  assert.equal(outbox.head.seq, 11);
});

test('not even an outbox that lost its tail follows a ledger behind what was acknowledged', async (t) => {
  const { outbox, heads } = await tailLost(t, tempDir(t));
  await unchanged(outbox, () => assert.rejects(outbox.anchor(nth(heads, 1)), failsWith('ledger.sequence')));
});

test('a crash while re-basing leaves the old chain, and the next attempt is clean', async (t) => {
  const parent = tempDir(t);
  const first = await opened(t, parent);
  for (let n = 1; n <= 5; n += 1) await first.append([cleared(n)]);
  const { head, bytes } = first;
  await first.close();
  // As far as a re-base gets without its switch, onto a head that is not even asked for again.
  const db = await openDb(join(parent, 'outbox'));
  await rebase(db, { ...emptyStanding, head }, { seq: 900, hash: elsewhere.hash }, (statement, from, now) =>
    sealEntry(statement, { author, head: from, now, privateKey: keys.privateKey }),
  );
  await db.close();

  const second = await opened(t, parent);
  assert.equal(second.anchored, false);
  assert.deepEqual([second.head, second.bytes], [head, bytes]);
  await second.anchor(elsewhere);
  assert.deepEqual(idsOf(await auditedEntries(second)), ['1', '2', '3', '4', '5']);
  assert.equal(second.head.seq, 505);
});

test('a crash after the switch leaves old entries that count for nothing', async (t) => {
  const parent = tempDir(t);
  const first = await opened(t, parent);
  const said = await first.append([cleared(1), cleared(2)]);
  await first.anchor(elsewhere);
  const { head, bytes } = first;
  await first.close();
  const db = await openDb(join(parent, 'outbox'));
  for (const signed of said) await db.put(entryKey(0, signed.entry.seq), packRecord(signed));
  await db.close();

  const second = await opened(t, parent);
  assert.deepEqual([second.head, second.bytes, second.recovery], [head, bytes, undefined]);
  assert.deepEqual(seqsOf(await auditedEntries(second)), [501, 502]);
});

test('a long queue is re-based and trimmed in bounded steps', async (t) => {
  const outbox = await opened(t, tempDir(t));
  await Promise.all(Array.from({ length: 2_500 }, (_, n) => outbox.append([cleared(n)])));
  await outbox.anchor(elsewhere);
  const entries = await auditedEntries(outbox);
  assert.equal(entries.length, 2_500);
  const { bytes } = outbox;
  await outbox.trim(outbox.head.seq - 3, 'note');
  assert.equal((await auditedEntries(outbox)).length, 3);
  assert.ok(outbox.bytes > 0 && outbox.bytes < bytes / 100);
});
