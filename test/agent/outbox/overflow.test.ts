import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storedBytes } from '../../../agent/outbox/layout.ts';
import type { Outbox } from '../../../agent/outbox/outbox.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { limits } from '../../../common/limits.ts';
import { auditedEntries, cleared, enrolled, failsWith, opened, report, steppingClock, tempDir } from './support.ts';

const small = { maxBytes: 10_000, reservedShare: 0.3, clock: steppingClock() };

async function fillWithReports(outbox: Outbox): Promise<number> {
  for (let n = 1; ; n += 1) if ((await outbox.append([report(n)])).length === 0) return n - 1;
}

const bulky = (id: number) => cleared(id, 'x'.repeat(500));

function account(entries: readonly SignedEntry[]) {
  return entries.flatMap(({ entry }) => (entry.kind === 'outbox.dropped' ? [entry.body] : []));
}

test('periodic statements are dropped before they get a number, and the count is exact across a restart', async (t) => {
  const parent = tempDir(t);
  const first = await enrolled(t, parent, small);
  const kept = await fillWithReports(first);
  assert.ok(first.bytes <= 7_000 && first.bytes + storedBytes(400) > 7_000);
  assert.deepEqual(await first.append([report(100)], [{ key: 'told', value: 1 }]), []);
  await first.close();

  const outbox = await opened(t, parent, small);
  assert.deepEqual(await outbox.append([report(101)]), []);
  assert.equal(outbox.drops?.count, 3);
  assert.equal((await outbox.state()).size, 0, 'state that goes with a dropped statement is not told');
  await outbox.trim(kept - 2, 'note');
  await outbox.append([report(102)]);
  const entries = await auditedEntries(outbox);
  assert.deepEqual(
    entries.map(({ entry }) => entry.kind),
    ['report', 'report', 'outbox.dropped', 'report'],
  );
  const [dropped] = account(entries);
  assert.deepEqual({ ...dropped, from: '', to: '' }, { count: 3, from: '', to: '', kinds: { report: 3 } });
  assert.ok(dropped && dropped.from < dropped.to);
  assert.equal(outbox.drops, undefined);
});

test('other statements use the reserved share and are then handed back', async (t) => {
  const outbox = await enrolled(t, tempDir(t), small);
  await fillWithReports(outbox);
  let said = 0;
  const refused = async (): Promise<void> => {
    for (; ; said += 1) await outbox.append([cleared(said)], [{ key: `told/${said}`, value: true }]);
  };
  await assert.rejects(refused(), failsWith('outbox.full', true));
  assert.ok(said > 5);
  assert.equal((await outbox.state()).size, said);
  assert.ok(outbox.bytes <= 10_000);
  for (let again = 0; again < 3; again += 1) {
    await assert.rejects(outbox.append([cleared(said)]), failsWith('outbox.full', true));
  }
  assert.deepEqual(outbox.drops?.kinds, { report: 1, 'sigil.cleared': 1 }, 'a retry is not another loss');
});

test('statements that come, are tried often and go count once each, however many there were', async (t) => {
  const outbox = await enrolled(t, tempDir(t), { ...small, maxBytes: 2_000 });
  const kept = await fillWithReports(outbox);
  await outbox.append([cleared('takes the rest', 'x'.repeat(200))]).catch(() => undefined);
  const before = outbox.drops?.count ?? 0;
  const many = limits.outboxRefusedRemembered + 50;
  for (let n = 0; n < many; n += 1) {
    // A look at it before the one and after the next.
    for (const id of [n, n, Math.max(0, n - 1)]) await outbox.append([bulky(id)]).catch(failsWith('outbox.full', true));
  }
  assert.ok(kept > 0);
  assert.equal(outbox.drops?.count, before + many);
});

test('a statement that was refused and is said after all does not count as dropped', async (t) => {
  const outbox = await enrolled(t, tempDir(t), small);
  await fillWithReports(outbox);
  const refused: string[] = [];
  for (let n = 0; refused.length < 2; n += 1) await outbox.append([cleared(n)]).catch(() => refused.push(String(n)));
  await outbox.trim(outbox.head.seq, 'note');
  await outbox.append([cleared(refused[0] ?? '')]);
  assert.deepEqual(
    account(await auditedEntries(outbox)).map(({ count, kinds }) => ({ count, kinds })),
    [{ count: 2, kinds: { report: 1, 'sigil.cleared': 1 } }],
  );
});

test('an append is said whole or not at all', async (t) => {
  const outbox = await enrolled(t, tempDir(t), small);
  await fillWithReports(outbox);
  const said = await outbox.append([report(500), cleared('with')]);
  assert.equal(said.length, 2, 'a report beside a finding shares its claim to the reserve');
});

test('the drops of concurrent calls are all counted', async (t) => {
  const outbox = await enrolled(t, tempDir(t), { ...small, maxBytes: 2_000 });
  const results = await Promise.all(Array.from({ length: 200 }, (_, n) => outbox.append([report(n)])));
  const said = results.filter((entries) => entries.length > 0).length;
  assert.ok(said > 0);
  assert.equal(outbox.drops?.count, 200 - said);
});
