import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { lastHold, openSteadyClock, type SteadyClock } from '../../collector/steady-clock.ts';
import { limits } from '../../common/limits.ts';
import { quietLogger } from '../quiet-logger.ts';

const hourMs = 3_600_000;
const tenYearsMs = 3_653 * 24 * hourMs;
const startMs = Date.UTC(2026, 2, 1);

/** A machine with its clocks, and a database whose clock is right unless it is told otherwise. */
function machineOf(t: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'sigilwatch-steady-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const machine = { dataDir, rightMs: startMs, wrongBy: 0, databaseWrongBy: 0, upMs: 0 };
  const clock = { now: () => machine.rightMs + machine.wrongBy, monotonicMs: () => machine.upMs };
  const databaseNow = async () => machine.rightMs + machine.databaseWrongBy;
  return Object.assign(machine, {
    start: () => openSteadyClock(dataDir, { clock, databaseNow, logger: quietLogger }),
    pass: async (ms: number, looking?: SteadyClock) => {
      for (let left = ms; left > 0; left -= hourMs) {
        machine.rightMs += Math.min(left, hourMs);
        machine.upMs += Math.min(left, hourMs);
        await looking?.look();
      }
    },
  });
}

test('a clock that goes as it should, through restarts and a quiet weekend, lets go of what is old', async (t) => {
  const machine = machineOf(t);
  const first = await machine.start();
  assert.equal(await first.whyNot(), undefined);
  await machine.pass(2 * hourMs, first);
  assert.equal(await first.whyNot(), undefined);
  machine.rightMs += 3 * 24 * hourMs;
  machine.upMs = 0;
  assert.equal(await (await machine.start()).whyNot(), undefined);
});

for (const jumpMs of [tenYearsMs, -tenYearsMs, hourMs, -hourMs]) {
  test(`a jump of ${jumpMs} ms holds deletions back for a day, and so does the way back`, async (t) => {
    const machine = machineOf(t);
    // The database of the same machine goes by the same clock.
    const set = (ms: number) => Object.assign(machine, { wrongBy: ms, databaseWrongBy: ms });
    const steady = await machine.start();
    set(jumpMs);
    assert.match((await steady.whyNot()) ?? '', /was set/);
    await machine.pass(hourMs, steady);
    set(0);
    await machine.pass(limits.deletionsHeldMs, steady);
    assert.match((await steady.whyNot()) ?? '', /was set/);
    await machine.pass(hourMs, steady);
    assert.equal(await steady.whyNot(), undefined);
  });
}

test('a jump while nobody looked is seen at the start, and restarts do not shorten the wait', async (t) => {
  const machine = machineOf(t);
  await (await machine.start()).look();
  Object.assign(machine, { wrongBy: tenYearsMs, databaseWrongBy: tenYearsMs });
  for (let start = 0; start < 3; start += 1) {
    machine.upMs = 0;
    const steady = await machine.start();
    assert.match((await steady.whyNot()) ?? '', /was set/, `start ${start}`);
    await machine.pass(hourMs, steady);
  }
  Object.assign(machine, { wrongBy: 0, databaseWrongBy: 0 });
  const back = await machine.start();
  await machine.pass(limits.deletionsHeldMs - hourMs, back);
  assert.match((await back.whyNot()) ?? '', /was set/);
});

test('nothing is deleted while the clock of the database is another', async (t) => {
  const machine = machineOf(t);
  const steady = await machine.start();
  machine.databaseWrongBy = limits.retentionMaxClockGapMs + 1;
  assert.match((await steady.whyNot()) ?? '', /clocks disagree/);
  machine.databaseWrongBy = 0;
  assert.equal(await steady.whyNot(), undefined);
});

test('a record that cannot be read holds deletions back, and keeps nobody from starting', async (t) => {
  const machine = machineOf(t);
  for (const left of ['', '\0\0\0', '{"seenMs":', '{"seenMs":1e300,"heldMs":-1}']) {
    writeFileSync(join(machine.dataDir, 'clock.json'), left);
    const steady = await machine.start();
    assert.match((await steady.whyNot()) ?? '', /cannot be read/, left);
  }
});

test('whoever looks from outside learns why deletions are held back, and until when', async (t) => {
  const machine = machineOf(t);
  assert.equal(await lastHold(machine.dataDir), undefined);
  const steady = await machine.start();
  assert.deepEqual(await lastHold(machine.dataDir), { ms: 0, why: '' });
  machine.wrongBy = tenYearsMs;
  await steady.look();
  const hold = await lastHold(machine.dataDir);
  assert.equal(hold?.ms, limits.deletionsHeldMs);
  assert.match(hold?.why ?? '', /was set from 2026-03-01.* to 2036-03-01/);
  await machine.pass(hourMs, steady);
  assert.equal((await lastHold(machine.dataDir))?.ms, limits.deletionsHeldMs - hourMs);
  writeFileSync(join(machine.dataDir, 'clock.json'), '{');
  assert.match((await lastHold(machine.dataDir))?.why ?? '', /cannot be read/);
});
