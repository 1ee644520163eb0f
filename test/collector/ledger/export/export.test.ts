import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { exportLines, type StoredLeaf } from '../../../../collector/ledger/export/export.ts';
import { writeNewFile } from '../../../../collector/new-file.ts';
import { numberedLeaf } from '../../../common/trees.ts';
import { exportableLedger } from '../../../exports.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-export-'));
});
after(() => rm(root, { recursive: true, force: true }));

test('what was changed in the database is not exported: the entry is named, and there is no file', async () => {
  const fleet = await exportableLedger(300);
  const checkpoint = await fleet.checkpoint();
  const changes: readonly (readonly [at: number, (leaf: StoredLeaf) => StoredLeaf | undefined])[] = [
    [7, (leaf) => ({ ...leaf, body: leaf.body && { ...leaf.body, bytes: Buffer.from('{}') } })],
    [9, (leaf) => ({ ...leaf, body: leaf.body && { ...leaf.body, signature: Buffer.alloc(64) } })],
    [290, (leaf) => ({ ...leaf, body: undefined, leafHash: numberedLeaf(1) })],
    [12, () => undefined],
  ];
  for (const [at, change] of changes) {
    const leaves = async (from: number, to: number) => {
      const stored = await fleet.source.leaves(from, to);
      return stored.flatMap((leaf) => (leaf.index === at ? (change(leaf) ?? []) : leaf));
    };
    const source = { ...fleet.source, leaves };
    const lines = exportLines({ from: 0, to: 300, source, prover: fleet.ledger, checkpoint });
    await assert.rejects(writeNewFile(join(root, 'export.jsonl'), lines), {
      code: 'ledger.tampered',
      details: { index: at },
    });
    assert.deepEqual(await readdir(root), []);
  }
});

test('a hash changed inside a block of 256 is not exported either', async () => {
  const fleet = await exportableLedger(300);
  const leaves = async (from: number, to: number) => {
    const stored = await fleet.source.leaves(from, to);
    return stored.map((leaf) => (leaf.index === 99 ? { ...leaf, body: undefined, leafHash: numberedLeaf(1) } : leaf));
  };
  const options = { prover: fleet.ledger, checkpoint: await fleet.checkpoint(), source: { ...fleet.source, leaves } };
  for (const [from, to] of [
    [0, 300],
    [0, 10],
  ] as const) {
    await assert.rejects(writeNewFile(join(root, 'export.jsonl'), exportLines({ ...options, from, to })), {
      code: 'ledger.tampered',
    });
  }
});

test('a new file is whole or not there, and never in the place of another', async () => {
  const path = join(root, 'new');
  const breaking = async function* () {
    yield 'half';
    throw new Error('no more');
  };
  await assert.rejects(writeNewFile(path, breaking()), /no more/);
  assert.deepEqual(await readdir(root), []);
  const late = async function* () {
    yield 'ours';
    await writeFile(path, 'theirs');
  };
  await assert.rejects(writeNewFile(path, late()), { code: 'state.conflict' });
  await assert.rejects(writeNewFile(path, ['ours']), { code: 'state.conflict' });
  assert.equal(await readFile(path, 'utf8'), 'theirs');
  assert.deepEqual(await readdir(root), ['new']);
  await assert.rejects(writeNewFile(join(root, 'no', 'folder'), ['x']), { code: 'validation.request' });
});
