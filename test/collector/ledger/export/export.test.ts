import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { writeNewFile } from '../../../../collector/data/new-file.ts';
import { exportLines, provedLeaf, type StoredLeaf } from '../../../../collector/ledger/export/export.ts';
import { leafData } from '../../../../common/entry.ts';
import { leafHash } from '../../../../common/merkle.ts';
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
    [200, (leaf) => ({ ...leaf, body: undefined })],
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

test('a body that is gone is exported as erased only where the log has signed for it, and never for a kept kind', async () => {
  const fleet = await exportableLedger(300);
  await fleet.erase(0, 40);
  const checkpoint = await fleet.checkpoint();
  const without = (at: number) => {
    const drop = (leaf: StoredLeaf) => (leaf.index === at ? { ...leaf, body: undefined } : leaf);
    return {
      ...fleet.source,
      leaves: async (from: number, to: number) => (await fleet.source.leaves(from, to)).map(drop),
      keyStatements: async (before: number) => (await fleet.source.keyStatements(before)).map(drop),
    };
  };
  const written = async (at: number, from: number) => {
    const lines = exportLines({ from, to: 301, source: without(at), prover: fleet.ledger, checkpoint });
    for await (const _ of lines);
  };
  await written(39, 0);
  const proved = (at: number) => provedLeaf(at, { source: without(at), prover: fleet.ledger, checkpoint });
  assert.equal((await proved(39)).leaf.body, undefined);
  for (const at of [2, 40, 300]) {
    await assert.rejects(proved(at), { code: 'ledger.tampered', details: { index: at } });
    for (const from of [0, 1]) {
      await assert.rejects(written(at, from), { code: 'ledger.tampered', details: { index: at } });
    }
  }
  await assert.rejects(written(2, 200), { code: 'ledger.tampered', details: { index: 2 } });
});

test('what the collector erases while an export is made counts as erased', async () => {
  const fleet = await exportableLedger(600);
  const checkpoint = await fleet.checkpoint();
  await fleet.erase(0, 10);
  let erased = false;
  const leaves = async (from: number, to: number) => {
    if (from === 256 && !erased) {
      erased = true;
      await fleet.erase(10, 300);
    }
    return fleet.source.leaves(from, to);
  };
  const options = { prover: fleet.ledger, checkpoint, source: { ...fleet.source, leaves } };
  for await (const _ of exportLines({ ...options, from: 0, to: 600 }));
  assert.ok(erased);
});

test('an entry that is not as it was logged is not proved', async () => {
  const fleet = await exportableLedger(300);
  const prover = fleet.ledger;
  const checkpoint = await fleet.checkpoint();
  const changes: readonly ((leaf: StoredLeaf) => StoredLeaf | undefined)[] = [
    (leaf) => ({ ...leaf, body: leaf.body && { ...leaf.body, bytes: Buffer.from('{}') } }),
    (leaf) => ({ ...leaf, body: leaf.body && { ...leaf.body, signature: Buffer.alloc(64) } }),
    (leaf) => {
      const body = { bytes: Buffer.from('{}'), signature: Buffer.alloc(64) };
      return { ...leaf, body, leafHash: leafHash(leafData(body)) };
    },
    () => undefined,
  ];
  for (const change of changes) {
    const leaves = async (from: number, to: number) => {
      return (await fleet.source.leaves(from, to)).flatMap((leaf) => change(leaf) ?? []);
    };
    const proved = provedLeaf(42, { source: { ...fleet.source, leaves }, prover, checkpoint });
    await assert.rejects(proved, { code: 'ledger.tampered', details: { index: 42 } });
  }
});

test('a hash changed inside a block of 256 is not exported either', async () => {
  const fleet = await exportableLedger(300);
  await fleet.erase(0, 256);
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
