import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { openOutbox } from '../../../agent/outbox/outbox.ts';
import { fromSource } from '../../from-source.ts';
import { auditedEntries, options, quarantines, tempDir } from './support.ts';

const rounds = process.env.SIGILWATCH_TEST_LONG === '1' ? 60 : 8;
const seed = 20_260_102;
const deadlineMs = 30_000;

/** A linear congruential generator: enough to spread the kills, and the same every time. */
function* moments(from: number): Generator<number> {
  for (let state = from; ; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    yield (state >>> 8) / 2 ** 24;
  }
}

/**
 * Runs the appender, kills it `afterMs` after its first acknowledgement, and returns the lines it printed. They go to a
 * file: a pipe is non-blocking here and would fail the appender whenever this process is slow to read.
 */
async function runAndKill(parent: string, afterMs: number): Promise<string[]> {
  const printed = join(parent, 'printed');
  const out = openSync(printed, 'w');
  const args = [...fromSource(join(import.meta.dirname, 'appender.ts')), parent];
  const child = spawn(process.execPath, args, { stdio: ['ignore', out, 'pipe'] });
  closeSync(out);
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    complaint += chunk;
  });
  const closed = once(child, 'close');
  const lines = () => readFileSync(printed, 'utf8').split('\n').slice(0, -1);
  const deadline = performance.now() + deadlineMs;
  while (lines().length < 2 && child.exitCode === null && performance.now() < deadline) await setTimeout(5);
  await setTimeout(afterMs);
  child.kill('SIGKILL');
  const [, signal] = await closed;
  assert.equal(signal, 'SIGKILL', `the appender ended by itself: ${complaint}`);
  return lines();
}

test(`nothing acknowledged is lost over ${rounds} kills (seed ${seed})`, { timeout: 300_000 }, async (t) => {
  const parent = tempDir(t);
  const random = moments(seed);
  let acknowledged = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const afterMs = Math.floor((random.next().value ?? 0) * 150);
    const [opening, ...said] = await runAndKill(parent, afterMs);
    assert.equal(opening, 'open sound', `round ${round}`);
    acknowledged = Math.max(acknowledged, ...said.map(Number));
    const outbox = await openOutbox(options(parent));
    try {
      assert.equal(outbox.recovery, undefined, `round ${round}`);
      assert.ok(
        outbox.head.seq >= acknowledged,
        `round ${round}: ${acknowledged} was acknowledged, head ${outbox.head.seq}`,
      );
      await auditedEntries(outbox);
    } finally {
      await outbox.close();
    }
  }
  assert.ok(acknowledged > rounds);
  assert.deepEqual(await quarantines(parent), []);
  t.diagnostic(`${acknowledged} entries acknowledged`);
});
