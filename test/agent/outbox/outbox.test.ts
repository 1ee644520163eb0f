import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openOutbox } from '../../../agent/outbox/outbox.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import {
  auditedEntries,
  cleared,
  enrolled,
  failsWith,
  idsOf,
  opened,
  options,
  plenty,
  quarantines,
  report,
  steppingClock,
  tempDir,
} from './support.ts';

test('what was appended is there after a reopen, chained without a gap, and is continued', async (t) => {
  const parent = tempDir(t);
  const first = await enrolled(t, parent);
  const said = await first.append([cleared('a'), report(1)], [{ key: 'told/a', value: { n: 1 } }]);
  assert.deepEqual(
    said.map(({ entry }) => entry.seq),
    [1, 2],
  );
  const { head, bytes } = first;
  await first.close();

  const second = await opened(t, parent);
  assert.deepEqual(second.head, head);
  assert.equal(second.bytes, bytes);
  assert.equal(second.anchored, true);
  assert.equal(second.recovery, undefined);
  await second.append([cleared('b')]);
  assert.deepEqual(idsOf(await auditedEntries(second)), ['a', 'report', 'b']);
  assert.deepEqual([...(await second.state())], [['told/a', { n: 1 }]]);
  assert.deepEqual(await quarantines(parent), []);
});

test('concurrent callers are numbered in the order they called, several to a batch', async (t) => {
  const outbox = await enrolled(t, tempDir(t));
  const begun = performance.now();
  const calls = Array.from({ length: 500 }, (_, n) => outbox.append([cleared(`${n}a`), cleared(`${n}b`)]));
  const said = await Promise.all(calls);
  const elapsedMs = performance.now() - begun;
  said.forEach((entries, n) => {
    assert.deepEqual(
      entries.map(({ entry }) => entry.seq),
      [2 * n + 1, 2 * n + 2],
    );
    assert.deepEqual(idsOf(entries), [`${n}a`, `${n}b`]);
  });
  assert.equal((await auditedEntries(outbox)).length, 1000);
  t.diagnostic(`500 concurrent calls in ${elapsedMs.toFixed(0)} ms`);
});

test('a statement that cannot be an entry is rejected alone', async (t) => {
  const outbox = await enrolled(t, tempDir(t));
  const huge = cleared('x'.repeat(70_000));
  const results = await Promise.allSettled([
    outbox.append([cleared('a')]),
    outbox.append([cleared('lost'), huge], [{ key: 'told/huge', value: true }]),
    outbox.append([cleared('b')]),
  ]);
  const refused = results[1];
  assert.ok(refused.status === 'rejected' && failsWith('validation.entry')(refused.reason));
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['a', 'b']);
  assert.equal((await outbox.state()).size, 0);
});

test('state is read by prefix, changed in place and removed, also without a statement', async (t) => {
  const parent = tempDir(t);
  const outbox = await enrolled(t, parent);
  await outbox.append(
    [],
    [
      { key: 'drift/1', value: { open: true } },
      { key: 'drift/2', value: [1, 2] },
      { key: 'scan/main', value: 'x' },
    ],
  );
  const changed = { key: 'drift/1', value: { open: false } };
  const writing = outbox.append([], [changed, { key: 'scan/main', value: undefined }]);
  changed.value.open = true;
  await writing;
  await outbox.close();
  const again = await opened(t, parent);
  assert.deepEqual(
    [...(await again.state('drift/'))],
    [
      ['drift/1', { open: false }],
      ['drift/2', [1, 2]],
    ],
  );
  assert.deepEqual([...(await again.state('scan/'))], []);
  assert.equal(again.depth, 0);
});

test('acknowledged entries are gone, their head and the checkpoint stay', async (t) => {
  const parent = tempDir(t);
  const outbox = await enrolled(t, parent);
  assert.equal(outbox.checkpoint(), undefined);
  for (let n = 1; n <= 10; n += 1) await outbox.append([cleared(n)]);
  const empty = outbox.bytes;
  const fourth = (await auditedEntries(outbox))[3];
  await outbox.trim(4, 'note 1');
  assert.ok(outbox.bytes < empty);
  await outbox.trim(4, 'note 2');
  await outbox.trim(2, 'note 3');
  await assert.rejects(outbox.trim(11, 'note 4'), failsWith('ledger.sequence'));
  await outbox.close();

  const again = await opened(t, parent);
  assert.equal(again.acked.seq, 4);
  assert.equal(again.checkpoint(), 'note 3');
  assert.deepEqual(idsOf(await auditedEntries(again)), ['5', '6', '7', '8', '9', '10']);
  assert.equal((await auditedEntries(again))[0]?.entry.prev, again.acked.hash);
  assert.equal(fourth?.entry.seq, 4);
  await again.trim(10, 'all');
  assert.equal(again.depth, 0);
  assert.equal(again.bytes, 0);
});

test('reading is bounded by number and bytes but never stalls on a large entry', async (t) => {
  const outbox = await enrolled(t, tempDir(t));
  await outbox.append([cleared('a'), cleared('b', 'x'.repeat(500)), cleared('c')]);
  assert.equal((await outbox.read(0, { maxEntries: 2, maxBytes: 10_000 })).length, 2);
  assert.equal((await outbox.read(0, { maxEntries: 9, maxBytes: 500 })).length, 1);
  assert.deepEqual(
    (await outbox.read(1, { maxEntries: 9, maxBytes: 10 })).map(({ entry }) => entry.seq),
    [2],
  );
  assert.deepEqual(await outbox.read(3, plenty), []);
});

test('a listener hears of entries once they are durable, and its faults are its own', async (t) => {
  const outbox = await enrolled(t, tempDir(t));
  const heard: number[] = [];
  outbox.onAppended(() => {
    throw new Error('listener');
  });
  const stop = outbox.onAppended(() => heard.push(outbox.head.seq));
  await outbox.append([cleared('a')]);
  await outbox.append([], [{ key: 'k', value: 1 }]);
  await outbox.append([cleared('b'), cleared('c')]);
  stop();
  await outbox.append([cleared('d')]);
  assert.deepEqual(heard, [1, 3]);
});

test('a second agent on the same folder is told so and disturbs nothing', async (t) => {
  const parent = tempDir(t);
  const outbox = await enrolled(t, parent);
  await outbox.append([cleared('a')]);
  await assert.rejects(openOutbox(options(parent)), (error: Error) => {
    assert.match(error.message, new RegExp(join(parent, 'outbox')));
    return failsWith('state.conflict')(error);
  });
  await outbox.append([cleared('b')]);
  assert.deepEqual(idsOf(await auditedEntries(outbox)), ['a', 'b']);
  assert.deepEqual(await quarantines(parent), []);
});

test("another node's or key's outbox is refused, not moved aside", async (t) => {
  const parent = tempDir(t);
  const outbox = await enrolled(t, parent);
  await outbox.append([cleared('a')]);
  await outbox.close();
  const { privateKey } = generateKeyPair();
  await assert.rejects(openOutbox(options(parent, { privateKey })), failsWith('state.conflict'));
  await assert.rejects(openOutbox(options(parent, { author: 'node2' })), failsWith('state.conflict'));
  assert.deepEqual(await quarantines(parent), []);
  assert.deepEqual(idsOf(await auditedEntries(await opened(t, parent))), ['a']);
});

test('close waits for what is under way and refuses what comes later', async (t) => {
  const parent = tempDir(t);
  const outbox = await enrolled(t, parent);
  const underWay = [outbox.append([cleared('a')]), outbox.append([cleared('b')])];
  await outbox.close();
  await Promise.all(underWay);
  await assert.rejects(outbox.append([cleared('c')]), failsWith('state.conflict'));
  await assert.rejects(outbox.read(0, plenty), failsWith('state.conflict'));
  assert.deepEqual(idsOf(await auditedEntries(await opened(t, parent))), ['a', 'b']);
});

test('the reserve file is really allocated', async (t) => {
  const parent = tempDir(t);
  await enrolled(t, parent, { reserveFileBytes: 1024 * 1024 });
  const { size, blocks } = statSync(join(parent, 'outbox.reserve'));
  assert.equal(size, 1024 * 1024);
  assert.ok(blocks * 512 >= size);
  assert.ok(existsSync(join(parent, 'outbox.mark')));
});

test('entries carry the time of the call', async (t) => {
  const outbox = await enrolled(t, tempDir(t), { clock: steppingClock(Date.UTC(2030, 0, 1)) });
  const [signed] = await outbox.append([cleared('a')]);
  assert.match(signed?.entry.at ?? '', /^2030-01-01T00:00:00\.\d{3}Z$/);
});
