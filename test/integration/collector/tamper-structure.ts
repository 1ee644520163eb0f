import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { LedgerFault } from '../../../collector/ledger/verify/verify.ts';
import type { Tx } from '../../../collector/postgres/pool.ts';
import { signCheckpoint } from '../../../common/checkpoint.ts';
import { appendLeaves, emptyRange, encodeRange, leafHash, rootOf } from '../../../common/merkle.ts';
import { noteSigner, signatureTypes } from '../../../common/note.ts';
import type { Random } from '../../e2e/random.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { firstFault, type Victim } from './tamper-ledger.ts';

export interface Scene {
  readonly tx: Tx;
  readonly random: Random;
  readonly victim: Victim;
}

/** What has to be said of an attack: what is wrong, unless there is more than one way to see it, and the entry. */
export interface Expected {
  readonly fault: LedgerFault['fault'] | undefined;
  readonly named: readonly (number | null)[];
}
export type Attack = (scene: Scene) => Promise<Expected>;

export function expect(fault: LedgerFault['fault'], index: number | null): Expected {
  return { fault, named: [index] };
}

/**
 * Where a chain breaks shows at the next entry of its author, at the latest where the batch ends: its root is that of what
 * had been there.
 */
export function brokenAt(index: number, { batches }: Victim): Expected {
  return { fault: undefined, named: [index, index + 1, batches.findLast((end) => end <= index) ?? 0] };
}

function exchange(tx: Tx, table: 'entries' | 'entry_bodies', [first, second]: readonly [number, number]) {
  return tx.query(`update ${table} set index = -1 where index = ${first};
                   update ${table} set index = ${first} where index = ${second};
                   update ${table} set index = ${second} where index = -1`);
}

/** A batch that is not the first, by the size it begins at and the one it ends at. */
function someBatch({ random, victim: { batches } }: Scene, leastEntries = 1): { from: number; to: number } {
  const spans = batches.slice(1).map((to, at) => ({ from: batches[at] ?? 0, to }));
  return random.pick(spans.filter(({ from, to }) => to - from >= leastEntries));
}

/** Two entries, the first one first. */
function twoEntries({ random, victim: { size } }: Scene): [number, number] {
  const first = random.int(0, size - 2);
  return [first, random.int(first + 1, size - 1)];
}

/** The tree of the first `size` entries, by their stored leaf hashes. */
async function treeAt(tx: Tx, size: number): Promise<{ root: Buffer; edge: Buffer }> {
  const { rows } = await tx.query<{ leaf_hash: Buffer }>(
    'select leaf_hash from entries where index < $1 order by index',
    [size],
  );
  const range = appendLeaves(
    emptyRange,
    rows.map((row) => row.leaf_hash),
  );
  return { root: rootOf(range), edge: encodeRange(range) };
}

/** Everything as it was when the ledger had `size` entries, to the last row. */
async function rewind(tx: Tx, size: number): Promise<void> {
  const { root, edge } = await treeAt(tx, size);
  for (const table of ['entries', 'entry_bodies']) await tx.query(`delete from ${table} where index >= ${size}`);
  for (const table of ['batches', 'checkpoints']) await tx.query(`delete from ${table} where size > ${size}`);
  await tx.query(`delete from tiles where (n + 1) * 256 > ${size}`);
  await tx.query('update ledger_head set size = $1, root = $2, edge = $3', [size, root, edge]);
  await tx.query('delete from author_heads');
  await tx.query(`insert into author_heads (author, seq, entry_hash, index)
                  select distinct on (author) author, seq, entry_hash, index from entries order by author, index desc`);
  await tx.query(`delete from nodes where first_index >= ${size}`);
  await tx.query(`update nodes set revoked_at = null`);
  await tx.query(`update nodes n set enrolled_index = e.index, enrolled_at = e.at,
                         public_key = decode(b.body->>'publicKey', 'base64'), fingerprint = b.body->>'fingerprint'
                    from entries e, lateral (select convert_from(bytes, 'UTF8')::jsonb->'body' as body
                                               from entry_bodies where index = e.index) b
                   where e.index = n.first_index`);
  await tx.query(`update nodes set revoked_at = e.at from entries e where e.kind = 'node.revoked' and node = 'node3'`);
}

/** A body that nobody signed, with everything that follows from it put right: columns, leaf, tiles, tree head. */
async function rewrite(tx: Tx, index: number): Promise<void> {
  const { rows } = await tx.query<{ bytes: Buffer; signature: Buffer }>(
    'select bytes, signature from entry_bodies where index = $1',
    [index],
  );
  const [row] = rows;
  assert.ok(row !== undefined);
  const bytes = Buffer.from(row.bytes.toString('utf8').replace('"store":"demo"', '"store":"dema"'));
  const leaf = leafHash(bytes, row.signature);
  await tx.query('update entry_bodies set bytes = $2 where index = $1', [index, bytes]);
  await tx.query('update entries set leaf_hash = $2, entry_hash = $3 where index = $1', [
    index,
    leaf,
    hash('sha256', bytes, 'buffer'),
  ]);
  await tx.query(
    `update tiles set hashes = (select string_agg(leaf_hash, '' order by index) from entries where index < 256)`,
  );
  const size = (await tx.query<{ size: number }>('select size from ledger_head')).rows[0]?.size ?? 0;
  const { root, edge } = await treeAt(tx, size);
  await tx.query('update ledger_head set root = $1, edge = $2', [root, edge]);
}

const someColumns = 'author, seq, kind, at, entry_hash, leaf_hash';

export const structuralAttacks: Readonly<Record<string, Attack>> = {
  'the tail cut, with everything put as it was then': async (scene) => {
    const { tx } = scene;
    const { from } = someBatch(scene);
    await rewind(tx, from);
    assert.equal(await firstFault(tx, []), undefined, 'nothing in the database shows it');
    return expect('checkpoint', from);
  },
  'the last entries deleted': async ({ tx, random, victim: { size } }) => {
    const from = random.int(0, size - 1);
    await tx.query(`delete from entries where index >= ${from}`);
    await tx.query(`delete from entry_bodies where index >= ${from}`);
    return expect('missing', from);
  },
  'an entry deleted': async ({ tx, random, victim: { size } }) => {
    const index = random.int(0, size - 1);
    await tx.query(`delete from entries where index = ${index}`);
    return expect('missing', index);
  },
  'a body deleted': async ({ tx, random, victim: { size } }) => {
    const index = random.int(0, size - 1);
    await tx.query(`delete from entry_bodies where index = ${index}`);
    return expect('body', index);
  },
  'an entry deleted, and those behind it moved up': async ({ tx, random, victim }) => {
    const index = random.int(0, victim.size - 2);
    for (const table of ['entries', 'entry_bodies']) {
      await tx.query(`delete from ${table} where index = ${index}`);
      await tx.query(`update ${table} set index = -index where index > ${index}`);
      await tx.query(`update ${table} set index = -index - 1 where index < 0`);
    }
    return brokenAt(index, victim);
  },
  'a tile deleted': async ({ tx }) => {
    await tx.query('delete from tiles');
    return expect('tile', 0);
  },
  'a batch deleted': async (scene) => {
    const { from, to } = someBatch(scene);
    await scene.tx.query(`delete from batches where size = ${to}`);
    return expect('batch', from);
  },
  'all batches deleted': async ({ tx }) => {
    await tx.query('delete from batches');
    return expect('batch', 0);
  },
  'the tree head deleted': async ({ tx }) => {
    await tx.query('delete from ledger_head');
    return expect('head', null);
  },
  'a second tree head': async ({ tx }) => {
    await tx.query('insert into ledger_head select false, origin, size, root, edge from ledger_head');
    return expect('head', null);
  },
  'a chain head deleted': async ({ tx, random }) => {
    const { rows } = await tx.query<{ index: number }>('select index from author_heads order by index');
    const { index } = random.pick(rows);
    await tx.query(`delete from author_heads where index = ${index}`);
    return expect('author_heads', index);
  },
  'a node deleted': async ({ tx, random }) => {
    const { rows } = await tx.query<{ index: number }>('select enrolled_index as index from nodes order by 1');
    const { index } = random.pick(rows);
    await tx.query(`delete from nodes where enrolled_index = ${index}`);
    return expect('nodes', index);
  },
  'a revoked node let in again': async ({ tx }) => {
    const { rows } = await tx.query<{ index: number }>(
      `update nodes set revoked_at = null where node = 'node3' returning enrolled_index as index`,
    );
    return expect('nodes', rows[0]?.index ?? null);
  },
  'two bodies exchanged': async (scene) => {
    const [first, second] = twoEntries(scene);
    await exchange(scene.tx, 'entry_bodies', [first, second]);
    return expect('leaf_hash', first);
  },
  'two entries exchanged, with their bodies': async (scene) => {
    const [first, second] = twoEntries(scene);
    await exchange(scene.tx, 'entries', [first, second]);
    await exchange(scene.tx, 'entry_bodies', [first, second]);
    return brokenAt(first, scene.victim);
  },
  'two entries exchanged, without their bodies': async (scene) => {
    const [first, second] = twoEntries(scene);
    await exchange(scene.tx, 'entries', [first, second]);
    return expect('leaf_hash', first);
  },
  'the times of two batches exchanged': async (scene) => {
    const { tx, victim } = scene;
    const { to } = someBatch(scene);
    const [first] = victim.batches;
    await tx.query(`update batches b set received_ms = o.received_ms from batches o
                     where (b.size, o.size) in ((${to}, ${first}), (${first}, ${to}))`);
    return expect('batch', 0);
  },
  'a body copied over another': async (scene) => {
    const [first, second] = twoEntries(scene);
    await scene.tx.query(`update entry_bodies b set bytes = o.bytes, signature = o.signature from entry_bodies o
                           where b.index = ${second} and o.index = ${first}`);
    return expect('leaf_hash', second);
  },
  'an entry told a second time, at the end': async (scene) => {
    const { tx, victim } = scene;
    const [first] = twoEntries(scene);
    await tx.query('alter table entry_runs drop constraint entry_runs_author_seq_key');
    await tx.query(`insert into entries (index, ${someColumns}) select ${victim.size}, ${someColumns}
                      from entries where index = ${first}`);
    return expect('head', victim.size);
  },
  'an entry there twice': async (scene) => {
    const { tx } = scene;
    const [first] = twoEntries(scene);
    await tx.query('alter table entry_runs drop constraint entry_runs_author_seq_key, drop constraint entry_runs_pkey');
    await tx.query(`insert into entries select * from entries where index = ${first}`);
    return expect('duplicate', first);
  },
  'a body there twice': async (scene) => {
    const { tx } = scene;
    const [first] = twoEntries(scene);
    await tx.query('alter table run_bodies drop constraint run_bodies_pkey');
    await tx.query(`insert into entry_bodies select * from entry_bodies where index = ${first}`);
    return expect('duplicate', first);
  },
  'a tile there twice': async ({ tx }) => {
    await tx.query('alter table tiles drop constraint tiles_pkey');
    await tx.query('insert into tiles select * from tiles');
    return expect('tile', 0);
  },
  'a batch there twice': async (scene) => {
    const { from, to } = someBatch(scene);
    await scene.tx.query('alter table batches drop constraint batches_pkey');
    await scene.tx.query(`insert into batches select * from batches where size = ${to}`);
    return expect('batch', from);
  },
  'a body without an entry': async ({ tx, random, victim: { size } }) => {
    const index = size + random.int(0, 1_000);
    await tx.query(`insert into entry_bodies select ${index}, bytes, signature from entry_bodies where index = 5`);
    return expect('body', index);
  },
  'a batch beyond the end': async ({ tx, random, victim: { size } }) => {
    await tx.query(`insert into batches select size + ${random.int(1, 1_000)}, root, received_ms, signature
                      from batches where size = ${size}`);
    return expect('batch', null);
  },
  'a batch too many': async (scene) => {
    const { from, to } = someBatch(scene, 2);
    const size = scene.random.int(from + 1, to - 1);
    await scene.tx.query(`insert into batches select ${size}, root, received_ms, signature
                            from batches where size = ${to}`);
    return expect('batch', from);
  },
  'a checkpoint of another history, signed by the collector': async ({ tx, victim: { size } }) => {
    const root = hash('sha256', 'another history', 'buffer');
    const signer = noteSigner(testOrigin, signatureTypes.ed25519, collectorKeys);
    const note = signCheckpoint({ origin: testOrigin, size, root, extensions: [] }, signer);
    await tx.query('update checkpoints set note = $1 where size = $2', [note, size]);
    return expect('checkpoint', null);
  },
  'a checkpoint beyond the end': async ({ tx, victim: { size } }) => {
    await tx.query(`insert into checkpoints (size, note) select size + 1, note from checkpoints where size = ${size}`);
    return expect('checkpoint', null);
  },
  'a tile that no tree has': async ({ tx, random }) => {
    const place = random.pick(['1, 0', '0, 1', '0, -1', '7, 0', '63, 5']);
    await tx.query(`insert into tiles select ${place}, hashes from tiles`);
    return expect('tile', null);
  },
  'a chain head of nobody': async ({ tx }) => {
    await tx.query(`insert into author_heads select 'node9', seq, entry_hash, index from author_heads limit 1`);
    return expect('author_heads', null);
  },
  'a node that nobody enrolled': async ({ tx }) => {
    await tx.query(`insert into nodes (node, public_key, fingerprint, enrolled_at, enrolled_index, first_index)
                    select 'node9', public_key, fingerprint, enrolled_at, enrolled_index, first_index from nodes limit 1`);
    return expect('nodes', null);
  },
  'an entry rewritten, with all that follows from it': async (scene) => {
    const index = scene.random.int(4, scene.victim.size - 4);
    await rewrite(scene.tx, index);
    return expect('signature', index);
  },
};
