import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Outbox, openOutbox } from '../../agent/outbox/outbox.ts';
import type { Statement } from '../../common/kinds.ts';
import { auditedEntries, cleared, options, report, tempDir } from '../agent/outbox/support.ts';
import { randomOf, seedOf } from '../e2e/random.ts';

const minuteMs = 60_000;
const hourMinutes = 60;
const days = 30;
/** Small enough that what is not periodic has to be refused as well. */
const maxBytes = 2 * 1024 * 1024;
const reserveFileBytes = 64 * 1024;
/** LevelDB's logs, tables that are being merged, and the list of them: see docs/outbox.md. */
const overheadBytes = 8 * 1024 * 1024;
const started = Date.UTC(2026, 0, 2);

/** A node's life as it should be on record: what was never said is what the account has to name. */
interface Unsaid {
  reports: number;
  /** Statements that were refused and never said. */
  readonly others: Set<string>;
}

test(`an agent cut off for ${days} days keeps within its disk bound, and says exactly what it dropped`, {
  timeout: 900_000,
}, async (t) => {
  const parent = tempDir(t);
  const random = randomOf(seedOf('thirty days', 7), 'days');
  let nowMs = started;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs };
  const settings = options(parent, { clock, maxBytes, reserveFileBytes });
  let outbox = await openOutbox(settings);
  t.after(() => outbox.close());
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  const unsaid: Unsaid = { reports: 0, others: new Set() };
  let standing: string[] = [];
  let mostBytes = 0;
  for (let hour = 0; hour < days * 24; hour += 1) {
    const minutes = Array.from({ length: hourMinutes }, (_, minute) => hour * hourMinutes + minute);
    const said = await Promise.all(minutes.map((minute) => outbox.append([report(minute)])));
    unsaid.reports += said.filter((entries) => entries.length === 0).length;
    nowMs += hourMinutes * minuteMs;
    // What is there is tried until it is said or gone, at every look.
    const fresh = Array.from({ length: random.int(0, 6) }, (_, n) => `${hour}/${n}`);
    standing = await sayAll(outbox, [...standing.filter(() => random.chance(0.5)), ...fresh], unsaid);
    standing = await sayAll(outbox, standing, unsaid);
    if (random.chance(0.006)) {
      await outbox.close();
      outbox = await openOutbox(settings);
      assert.equal(outbox.recovery, undefined);
    }
    mostBytes = Math.max(mostBytes, bytesIn(parent));
    assert.ok(outbox.bytes <= maxBytes);
  }
  assert.ok(mostBytes <= maxBytes + reserveFileBytes + overheadBytes, `${mostBytes} bytes on disk`);
  const queued = await auditedEntries(outbox);
  await outbox.trim(outbox.head.seq, 'connected again');
  await outbox.append([cleared('after all')]);
  const accounts = [...queued, ...(await auditedEntries(outbox))].flatMap(({ entry }) =>
    entry.kind === 'outbox.dropped' ? [entry] : [],
  );
  const [account] = accounts;
  assert.equal(accounts.length, 1);
  assert.deepEqual(account?.body.kinds, { report: unsaid.reports, 'sigil.cleared': unsaid.others.size });
  assert.equal(account?.body.count, unsaid.reports + unsaid.others.size);
  assert.ok(unsaid.reports > 10_000 && unsaid.others.size > 50);
  const reports = queued.filter(({ entry }) => entry.kind === 'report').length;
  assert.equal(reports + unsaid.reports, days * 24 * hourMinutes, 'every minute is in the queue, or counted');
  t.diagnostic(JSON.stringify({ maxBytes, mostBytes, queued: queued.length, ...account?.body }));
});

/** @returns what is still to be said */
async function sayAll(outbox: Outbox, ids: readonly string[], { others }: Unsaid): Promise<string[]> {
  const left: string[] = [];
  for (const id of ids) {
    const drift: Statement = cleared(id, 'x'.repeat(400));
    const said = await outbox.append([drift]).then(
      () => true,
      () => false,
    );
    if (said) others.delete(id);
    else others.add(id);
    if (!said) left.push(id);
  }
  return left;
}

function bytesIn(dir: string): number {
  return readdirSync(dir, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return sum + bytesIn(path);
    // What the database removes in between takes no room any more.
    return sum + (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  }, 0);
}
