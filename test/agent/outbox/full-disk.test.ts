import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Outbox } from '../../../agent/outbox/outbox.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { AppError, errnoOf } from '../../../common/errors.ts';
import type { Statement } from '../../../common/kinds.ts';
import { auditedEntries, cleared, failsWith, opened, report, tempDir } from './support.ts';

/** A filesystem of 8 MB of its own, or the reason why there is none. */
function smallDisk(t: TestContext): { parent: string } | { skip: string } {
  if (process.getuid?.() !== 0) return { skip: 'mounting a small filesystem needs root' };
  const parent = tempDir();
  t.after(() => {
    spawnSync('umount', ['-l', parent]);
    rmSync(parent, { recursive: true });
  });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', parent], { encoding: 'utf8' });
  if (mounted.status !== 0) return { skip: `cannot mount a small filesystem: ${mounted.stderr?.trim()}` };
  return { parent };
}

/** Takes what is left of the disk, but for `sparedBytes`. */
function fillDisk(parent: string): string {
  const path = join(parent, 'ballast');
  const file = openSync(path, 'a');
  for (const chunk of [1024 * 1024, 4096]) {
    try {
      while (writeSync(file, Buffer.alloc(chunk)) === chunk);
    } catch (error) {
      assert.equal(errnoOf(error), 'ENOSPC');
    }
  }
  closeSync(file);
  return path;
}

/** Hard for LevelDB to compress, so that the disk really fills. */
const noise = randomBytes(1_400).toString('base64');

/** Few large entries fill the disk as well as many small ones, and each of them is verified several times. */
function bulky(evidence: string): Statement {
  return { kind: 'witness.released', body: { evidence, heldSize: 0, reason: noise } };
}

/** Says statements until one is refused; the refusal. */
async function sayUntilRefused(outbox: Outbox, said: SignedEntry[], prefix: string): Promise<AppError> {
  for (let n = 0; n < 20_000; n += 1) {
    try {
      const text = `${prefix}/${n}`;
      const statements = Array.from({ length: 10 }, (_, part) => bulky(`${text}/${part}`));
      said.push(...(await outbox.append(statements, [{ key: `told/${n % 50}`, value: text }])));
    } catch (error) {
      assert.ok(error instanceof AppError);
      return error;
    }
  }
  throw new Error('the disk never filled');
}

async function holdsExactly(outbox: Outbox, said: readonly SignedEntry[]): Promise<void> {
  const entries = await auditedEntries(outbox);
  assert.deepEqual(
    entries.filter(({ entry }) => entry.kind !== 'outbox.dropped').map(({ bytes }) => bytes),
    said.filter(({ entry }) => entry.seq > outbox.acked.seq).map(({ bytes }) => bytes),
  );
}

/** Tries again for as long as the outbox says that this may help. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 15_000;
  while (true) {
    try {
      return await act();
    } catch (error) {
      assert.ok(error instanceof AppError && error.retryable, String(error));
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

for (const when of ['while running', 'over a restart']) {
  test(`a full disk loses nothing acknowledged, and what was refused was not said (${when})`, async (t) => {
    const disk = smallDisk(t);
    if ('skip' in disk) return t.skip(disk.skip);
    const { parent } = disk;
    const reserveFileBytes = 3 * 1024 * 1024;
    let outbox = await opened(t, parent, { reserveFileBytes });
    await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
    const said: SignedEntry[] = [];
    const error = await sayUntilRefused(outbox, said, 'a');
    assert.ok(failsWith('outbox.full', true)(error));
    await holdsExactly(outbox, said);
    const ballast = fillDisk(parent);
    // What still fits the last page is taken, the rest handed back; there is no third way.
    for (let n = 0; n < 5; n += 1) {
      for (const statement of [cleared(`tight/${n}`), report(n)]) {
        const outcome = await outbox.append([statement]).catch((refused: unknown) => refused);
        if (Array.isArray(outcome)) said.push(...outcome);
        else assert.ok(outcome instanceof AppError && outcome.retryable, String(outcome));
      }
    }
    rmSync(ballast);
    if (when === 'over a restart') {
      await outbox.close();
      outbox = await opened(t, parent, { reserveFileBytes });
    }
    await patiently(() => holdsExactly(outbox, said));
    assert.equal(outbox.recovery, undefined);
    await outbox.trim(outbox.head.seq, 'note');
    said.push(...(await patiently(() => outbox.append([cleared('space is back')]))));
    await holdsExactly(outbox, said);
    assert.equal(existsSync(join(parent, 'outbox.reserve')), true, 'the reserve is made again');
    await outbox.close();
    const again = await opened(t, parent, { reserveFileBytes });
    assert.equal(again.recovery, undefined);
    await holdsExactly(again, said);
  });
}

test('a disk that fills again and again loses nothing acknowledged', async (t) => {
  const disk = smallDisk(t);
  if ('skip' in disk) return t.skip(disk.skip);
  const { parent } = disk;
  const reserveFileBytes = 3 * 1024 * 1024;
  const said: SignedEntry[] = [];
  for (let round = 0; round < 4; round += 1) {
    const outbox = await opened(t, parent, { reserveFileBytes });
    assert.equal(outbox.recovery, undefined, `round ${round}`);
    if (round === 0) await outbox.anchor({ seq: 0, hash: '0'.repeat(64) });
    await holdsExactly(outbox, said);
    const ballast = round % 2 === 1 ? fillDisk(parent) : undefined;
    await sayUntilRefused(outbox, said, `${round}`);
    await holdsExactly(outbox, said);
    if (ballast !== undefined) rmSync(ballast);
    await patiently(() => outbox.append([]));
    const { head, acked } = outbox;
    await outbox.trim(acked.seq + Math.ceil((head.seq - acked.seq) * 0.9), `note ${round}`);
    await outbox.close();
  }
});
