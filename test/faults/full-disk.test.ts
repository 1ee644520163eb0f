import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Outbox, openOutbox } from '../../agent/outbox/outbox.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';
import { auditedEntries, options, quarantines, tempDir } from '../agent/outbox/support.ts';
import { type Random, randomOf, seedOf } from '../e2e/random.ts';

const offsets = process.env.SIGILWATCH_TEST_LONG === '1' ? 100 : 12;
const diskMb = 12;
const opensWithinMs = 10_000;
const patienceMs = 15_000;

test(`a disk that is full at ${offsets} random offsets takes nothing that was acknowledged`, {
  timeout: 900_000,
}, async (t) => {
  const parent = smallDisk(t);
  if (typeof parent !== 'string') return t.skip(parent.skip);
  const seed = seedOf('full disk', 20_260_104);
  const settings = options(parent, { reserveFileBytes: 1024 * 1024 });
  let slowestOpenMs = 0;
  const opened = async (): Promise<Outbox> => {
    const startedMs = performance.now();
    const outbox = await patiently(() => openOutbox(settings));
    slowestOpenMs = Math.max(slowestOpenMs, Math.round(performance.now() - startedMs));
    assert.equal(outbox.recovery, undefined);
    return outbox;
  };
  let outbox = await opened();
  t.after(() => outbox.close());
  await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
  let said: SignedEntry[] = [];
  let refusals = 0;
  for (let trial = 0; trial < offsets; trial += 1) {
    const random = randomOf(seed, `offset ${trial}`);
    const ballast = leaveFree(parent, random.int(0, 2 * 1024 * 1024));
    refusals += await sayMuch(outbox, said, random);
    // With no byte left it may not even be read; it says so, and what it holds is looked at when there is room.
    await holds(outbox, said).catch(refusedAsFull);
    const fullRestart = random.chance(0.3);
    if (!fullRestart) rmSync(ballast);
    if (fullRestart || random.chance(0.3)) {
      await outbox.close();
      const tried = await openOutbox(settings).catch(refusedAsFull);
      await tried?.close();
      rmSync(ballast, { force: true });
      outbox = await opened();
    }
    await patiently(() => holds(outbox, said));
    await patiently(() => outbox.trim(outbox.head.seq, `note ${trial}`));
    said = [];
  }
  assert.deepEqual(await quarantines(parent), []);
  assert.ok(slowestOpenMs <= opensWithinMs, `opened after ${slowestOpenMs} ms`);
  assert.ok(refusals > 0, 'the disk was never full');
  t.diagnostic(JSON.stringify({ seed, offsets, refusals, slowestOpenMs, entries: outbox.head.seq }));
});

function refusedAsFull(error: unknown): undefined {
  assert.ok(error instanceof AppError && error.code === 'outbox.full', String(error));
}

/** Says statements until a few were refused, or for long enough. @returns how many were */
async function sayMuch(outbox: Outbox, said: SignedEntry[], random: Random): Promise<number> {
  let refused = 0;
  for (let n = 0; n < 150 && refused < 3; n += 1) {
    const statements = Array.from({ length: random.int(1, 20) }, () => bulky(random));
    try {
      said.push(...(await outbox.append(statements, [{ key: `told/${n % 9}`, value: n }])));
    } catch (error) {
      assert.ok(error instanceof AppError && error.retryable, String(error));
      refused += 1;
    }
  }
  return refused;
}

/** Hard to compress, so that the disk really fills. */
function bulky(random: Random): Statement {
  const reason = Array.from({ length: random.int(1, 200) }, () => random.int(0, 2 ** 31).toString(36)).join('');
  return { kind: 'witness.released', body: { evidence: 'x', heldSize: 0, reason } };
}

/** Exactly what was acknowledged, and what was refused is not among it. */
async function holds(outbox: Outbox, said: readonly SignedEntry[]): Promise<void> {
  const entries = (await auditedEntries(outbox)).filter(({ entry }) => entry.kind !== 'outbox.dropped');
  assert.deepEqual(
    entries.map(({ bytes }) => bytes.toString()),
    said.filter(({ entry }) => entry.seq > outbox.acked.seq).map(({ bytes }) => bytes.toString()),
  );
}

/** Tries again for as long as the outbox says that this may help. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + patienceMs;
  while (true) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof AppError && error.retryable) || performance.now() > deadline) throw error;
      await delay(100);
    }
  }
}

/** A filesystem of its own, or the reason why there is none. */
function smallDisk(t: TestContext): string | { readonly skip: string } {
  if (process.getuid?.() !== 0) return { skip: 'mounting a small filesystem needs root' };
  const parent = tempDir();
  t.after(() => {
    spawnSync('umount', ['-l', parent]);
    rmSync(parent, { recursive: true });
  });
  const args = ['-t', 'tmpfs', '-o', `size=${diskMb}m`, 'tmpfs', parent];
  const mounted = spawnSync('mount', args, { encoding: 'utf8' });
  return mounted.status === 0 ? parent : { skip: `cannot mount a small filesystem: ${mounted.stderr?.trim()}` };
}

/** Takes the disk but for so many bytes. @returns the file that holds it */
function leaveFree(parent: string, bytes: number): string {
  const path = join(parent, 'ballast');
  const { bavail, bsize } = statfsSync(parent);
  const file = openSync(path, 'w');
  try {
    for (let left = bavail * bsize - bytes; left > 0; left -= bsize)
      writeSync(file, Buffer.alloc(Math.min(left, bsize)));
  } finally {
    closeSync(file);
  }
  return path;
}
