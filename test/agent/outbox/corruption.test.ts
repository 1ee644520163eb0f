import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import type { Outbox } from '../../../agent/outbox/outbox.ts';
import { openOutbox } from '../../../agent/outbox/outbox.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { auditedEntries, cleared, opened, options, quarantines, tempDir } from './support.ts';

const opensWithinMs = 10_000;
/** In each of the tables; every entry of them is verified several times in every case. */
const entriesPerTable = process.env.SIGILWATCH_TEST_LONG === '1' ? 1_500 : 300;
const parent = tempDir();
const pristine = join(parent, 'pristine');
let queued: readonly SignedEntry[] = [];
let ackedSeq = 0;

before(async () => {
  let outbox = await openOutbox(options(pristine));
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  for (let round = 0; round < 3; round += 1) {
    const text = 'x'.repeat(500);
    await Promise.all(
      Array.from({ length: entriesPerTable }, (_, n) =>
        outbox.append([cleared(`${round}/${n}`, text)], [{ key: `k${n}`, value: n }]),
      ),
    );
    await outbox.trim((round + 1) * 100, `note ${round}`);
    // Each start turns the log into a table.
    await outbox.close();
    outbox = await openOutbox(options(pristine));
  }
  await outbox.append([cleared('last')]);
  queued = await auditedEntries(outbox);
  ackedSeq = outbox.acked.seq;
  await outbox.close();
});

test.after(() => rmSync(parent, { recursive: true, force: true }));

function files(dir: string, pattern: RegExp): string[] {
  return readdirSync(dir)
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => join(dir, name));
}

function one(found: readonly string[]): string {
  const path = found[0];
  assert.ok(path);
  return path;
}

/** Mulberry32: a small seeded generator, so that a failing seed can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  writeFileSync(path, bytes);
}

async function openDamaged(t: TestContext, damage: (dir: string) => void): Promise<{ outbox: Outbox; data: string }> {
  const data = tempDir(t);
  cpSync(pristine, data, { recursive: true });
  damage(join(data, 'outbox'));
  const begun = performance.now();
  const outbox = await opened(t, data);
  assert.ok(performance.now() - begun < opensWithinMs, `opened after ${performance.now() - begun} ms`);
  return { outbox, data };
}

/** What must hold after any damage: a valid chain that is a prefix of what was queued, and work goes on. */
async function assertRecovered(t: TestContext, { outbox, data }: { outbox: Outbox; data: string }): Promise<number> {
  const { recovery } = outbox;
  assert.ok(recovery, 'damage is noticed');
  assert.equal(outbox.anchored, false);
  const [quarantine] = await quarantines(data);
  assert.equal(recovery.quarantine, quarantine && join(data, quarantine));
  await outbox.append([cleared('after')]);
  await outbox.anchor(outbox.acked);
  const entries = await auditedEntries(outbox);
  assert.equal(entries.length, recovery.salvaged + 2);
  const ackedAgain = Math.min(recovery.salvaged, Math.max(0, ackedSeq - outbox.acked.seq));
  assert.equal(recovery.salvaged - ackedAgain + Number(recovery.missing), queued.length, 'what is missing is counted');
  const kept = entries.slice(0, recovery.salvaged);
  if (kept.length > 0 && outbox.acked.seq >= ackedSeq) {
    const from = outbox.acked.seq - ackedSeq;
    for (const [n, signed] of kept.entries()) assert.deepEqual(signed.bytes, queued[from + n]?.bytes);
  }
  const said = entries[recovery.salvaged]?.entry;
  assert.ok(said?.kind === 'outbox.recovered' && said.body.salvaged === recovery.salvaged);
  assert.equal(said.body.missing, recovery.missing);
  assert.equal((await outbox.state()).size > 0, recovery.stateKept);
  await outbox.close();
  const again = await opened(t, data);
  assert.equal(again.recovery, undefined, 'a recovered outbox is sound');
  assert.equal(again.head.seq, outbox.head.seq);
  return recovery.salvaged;
}

test('a missing CURRENT file costs nothing', async (t) => {
  const damaged = await openDamaged(t, (dir) => rmSync(join(dir, 'CURRENT')));
  assert.equal(damaged.outbox.checkpoint(), 'note 2');
  assert.equal(await assertRecovered(t, damaged), queued.length);
});

test('a missing MANIFEST costs nothing', async (t) => {
  const damaged = await openDamaged(t, (dir) => rmSync(one(files(dir, /^MANIFEST/))));
  assert.equal(await assertRecovered(t, damaged), queued.length);
});

test('a log that lost its end is noticed, and only that end is lost', async (t) => {
  const damaged = await openDamaged(t, (dir) => {
    const log = one(files(dir, /\.log$/));
    truncateSync(log, statSync(log).size - 10);
  });
  assert.equal(damaged.outbox.recovery?.stateKept, true);
  assert.equal(await assertRecovered(t, damaged), queued.length - 1);
});

test('an emptied log is noticed', async (t) => {
  const damaged = await openDamaged(t, (dir) => truncateSync(one(files(dir, /\.log$/)), 0));
  assert.equal(await assertRecovered(t, damaged), queued.length - 1);
});

test('a table that lost its end is quarantined', async (t) => {
  const damaged = await openDamaged(t, (dir) => {
    const table = one(files(dir, /\.ldb$/).reverse());
    truncateSync(table, statSync(table).size >> 1);
  });
  await assertRecovered(t, damaged);
});

test('a missing table is quarantined', async (t) => {
  await assertRecovered(t, await openDamaged(t, (dir) => rmSync(one(files(dir, /\.ldb$/).reverse()))));
});

test('a flipped byte in a table costs its own block and what follows, not what stands before', async (t) => {
  const data = tempDir(t);
  let outbox = await opened(t, data);
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  const pick = random(7);
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  const noise = () => Array.from({ length: 300 }, () => letters[pick(letters.length)]).join('');
  const ids = Array.from({ length: 200 }, noise);
  await outbox.append(ids.map((id) => cleared(id)));
  await outbox.close();
  outbox = await opened(t, data);
  await outbox.close();
  const table = one(files(join(data, 'outbox'), /\.ldb$/).reverse());
  // Compressed, but noise stays as it is for the most part: some of the hundredth id is found by its text.
  const content = readFileSync(table);
  const id = ids[100] ?? '';
  const at = Array.from({ length: 280 }, (_, from) => content.indexOf(id.slice(from, from + 12))).find(
    (found) => found > 0,
  );
  assert.ok(at);
  flip(table, at);
  const recovered = await opened(t, data);
  assert.match(recovered.recovery?.reason ?? '', /damaged tables/);
  const salvaged = recovered.recovery?.salvaged ?? 0;
  assert.ok(salvaged > 80 && salvaged <= 100, `${salvaged} salvaged`);
  assert.equal(recovered.recovery?.stateKept, false);
});

test('a mark of an earlier version tells of a lost end, and without a mark nobody says how much is missing', async (t) => {
  const garbage = (dir: string) => {
    for (const path of files(dir, /./)) writeFileSync(path, 'garbage');
  };
  const earlier = await openDamaged(t, (dir) => {
    const write = readFileSync(`${dir}.mark`, 'utf8').slice(0, 16);
    writeFileSync(`${dir}.mark`, `${write} ${hash('sha256', write, 'hex')}\n`);
    const log = one(files(dir, /\.log$/));
    truncateSync(log, statSync(log).size - 10);
  });
  assert.match(earlier.outbox.recovery?.reason ?? '', /1 acknowledged writes are missing/);
  const none = await openDamaged(t, (dir) => {
    rmSync(`${dir}.mark`);
    garbage(dir);
  });
  assert.ok(none.outbox.recovery);
  assert.equal(none.outbox.recovery.missing, undefined);
});

test('a table that a killed process had not finished is no damage', async (t) => {
  const { outbox, data } = await openDamaged(t, (dir) => {
    const table = readFileSync(one(files(dir, /\.ldb$/)));
    writeFileSync(join(dir, '999999.ldb'), table.subarray(0, table.length >> 1));
  });
  assert.equal(outbox.recovery, undefined);
  assert.deepEqual(await auditedEntries(outbox), queued);
  assert.deepEqual(await quarantines(data), []);
});

test('a table that was not finished is no damage either where there is other damage', async (t) => {
  const damaged = await openDamaged(t, (dir) => {
    const table = readFileSync(one(files(dir, /\.ldb$/)));
    writeFileSync(join(dir, '999999.ldb'), table.subarray(0, table.length >> 1));
    const log = one(files(dir, /\.log$/));
    truncateSync(log, statSync(log).size - 10);
  });
  assert.equal(await assertRecovered(t, damaged), queued.length - 1);
});

test('a folder full of garbage, an empty one and a plain file in its place are no crash', async (t) => {
  const garbage = await openDamaged(t, (dir) => {
    for (const path of files(dir, /./)) writeFileSync(path, 'garbage'.repeat(1_000));
  });
  await assertRecovered(t, garbage);
  const plain = await openDamaged(t, (dir) => {
    rmSync(dir, { recursive: true });
    writeFileSync(dir, 'not a folder');
  });
  await assertRecovered(t, plain);
  const empty = await openDamaged(t, (dir) => {
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
  });
  assert.equal(empty.outbox.recovery?.reason, 'the outbox folder is gone');
  assert.deepEqual(await quarantines(empty.data), []);
});

test('an installation interrupted between its renames is completed', async (t) => {
  const data = tempDir(t);
  cpSync(pristine, data, { recursive: true });
  cpSync(join(data, 'outbox'), join(data, 'outbox.next'), { recursive: true });
  rmSync(join(data, 'outbox'), { recursive: true });
  mkdirSync(join(data, 'outbox.building'));
  const outbox = await opened(t, data);
  assert.equal(outbox.recovery, undefined);
  assert.equal((await auditedEntries(outbox)).length, queued.length);
  assert.deepEqual(readdirSync(data).sort(), ['outbox', 'outbox.mark', 'outbox.reserve']);
});

test('no more than three damaged outboxes are kept', async (t) => {
  const data = tempDir(t);
  const begun = Date.UTC(2026, 0, 1);
  for (let n = 0; n < 5; n += 1) {
    const clock = { now: () => begun + n, monotonicMs: () => performance.now() };
    const outbox = await openOutbox(options(data, { clock }));
    await outbox.append([cleared(n)]);
    await outbox.close();
    rmSync(join(data, 'outbox', 'CURRENT'));
  }
  const outbox = await opened(t, data, { clock: { now: () => begun + 9, monotonicMs: () => performance.now() } });
  assert.equal(outbox.recovery?.salvaged, 9);
  assert.deepEqual(await quarantines(data), [
    'outbox.corrupt-20260101T000000.003Z',
    'outbox.corrupt-20260101T000000.004Z',
    'outbox.corrupt-20260101T000000.009Z',
  ]);
});

for (let seed = 1; seed <= 15; seed += 1) {
  test(`bytes flipped anywhere (seed ${seed}) are either harmless or noticed`, async (t) => {
    const pick = random(seed);
    const damaged = await openDamaged(t, (dir) => {
      const touched = files(dir, /^(MANIFEST.*|CURRENT|.*\.ldb|.*\.log)$/);
      for (let n = 0; n < 3; n += 1) {
        const path = touched[pick(touched.length)];
        if (path !== undefined) flip(path, pick(statSync(path).size));
      }
    });
    if (damaged.outbox.recovery) await assertRecovered(t, damaged);
    else assert.deepEqual(await auditedEntries(damaged.outbox), queued);
  });
}
