import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Agent } from '../../agent/agent.ts';
import { diskSpace } from '../../agent/data/disk.ts';
import type { Cycle } from '../../agent/told/coverage-account.ts';
import { AppError } from '../../common/errors.ts';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import { type FakeJournal, fakeJournal } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { agentOver, fold, manifestRepository, settableClock, tempFolder, type WatchingOptions } from './watching.ts';

const dir = tempFolder();
const image = 'registry.local/app:1';
const tenYearsMs = 10 * 365 * 24 * 3_600_000;

let engine: FakeEngine;
let journal: FakeJournal;
let running: Agent[] = [];

beforeEach(async () => {
  engine = await startFakeEngine(join(dir, 'engine.sock'));
  await engine.importImage(image);
  journal = fakeJournal();
});
afterEach(async () => {
  journal.mood = 'well';
  await Promise.all(running.map((agent) => agent.stop()));
  running = [];
  await engine.stop();
});

async function start(options: Partial<WatchingOptions> = {}) {
  const cycles: Cycle[] = [];
  const made = agentOver({
    socketPath: engine.socketPath,
    journal,
    onCycle: (cycle) => cycles.push(cycle),
    ...options,
  });
  running.push(made.agent);
  await made.agent.start();
  return { ...made, cycles };
}

const run = (name: string) => engine.run({ name, image, cmd: ['sleep', 'x'] });
const folded = () => fold(journal.said);
const names = () => [...folded().containers.values()].map(({ name }) => name).sort();
const sees = (...wanted: string[]) =>
  until(`it sees ${wanted}`, () => JSON.stringify(names()) === JSON.stringify(wanted));
const yearOf = (time: string) => new Date(time).getUTCFullYear();
const coverages = () => journal.saidOf('report').map(({ body }) => body.coverage);
/** Gaps over minutes that these account for: a busy machine passes over others, which is told rightly. */
const gapsOver = (cycles: readonly Cycle[]) =>
  journal
    .saidOf('coverage.gap')
    .filter(({ body: { from, to } }) => cycles.some(({ slot }) => Date.parse(from) <= slot && slot < Date.parse(to)));

describe('the account', () => {
  test('the first entry of a node is a baseline, and there is one only', async () => {
    await run('api');
    const first = await start();
    await sees('api');
    await first.agent.stop();
    await start();
    await until('it has started twice', () => journal.saidOf('agent.started').length === 2);
    assert.deepEqual(journal.said[0], { kind: 'observed', body: { baseline: true, upserted: [], removed: [] } });
    assert.equal(journal.saidOf('observed').filter(({ body }) => body.baseline).length, 1);
  });

  test('a restart says nothing that was said before', async () => {
    await run('api');
    const first = await start();
    await sees('api');
    await first.agent.stop();
    const second = await start();
    await until('it has scanned', () => second.agent.engine === 'up' && second.cycles.length > 0);
    assert.deepEqual(folded().repeated, []);
  });

  test('an agent whose outbox takes nothing still starts and watches, and says all of it later', async () => {
    await run('api');
    journal.mood = 'full';
    const { agent } = await start();
    await until('the engine is up', () => agent.engine === 'up');
    assert.equal(journal.said.length, 0);
    journal.mood = 'well';
    await sees('api');
    await until('it has said that it started', () => journal.saidOf('agent.started').length === 1);
    assert.equal(fold(journal.said.slice(0, 1)).containers.size, 0);
    assert.equal(journal.said[0]?.kind, 'observed');
  });

  test('what a failed write left unsaid is said without waiting for a tick or an event', async () => {
    const { agent } = await start({ scanIntervalMs: 3_600_000 });
    await until('the engine is up', () => agent.engine === 'up');
    journal.mood = 'write_failed';
    await run('api');
    await until('it was looked at', () => agent.summary.containers.count === 1);
    journal.mood = 'well';
    await sees('api');
  });

  test('a replaced journal that knows nothing is told everything, after a baseline', async () => {
    await run('api');
    const { replaced } = await start();
    await sees('api');
    const before = journal.said.length;
    journal.loseState();
    replaced();
    await until('it was told', () => fold(journal.said.slice(before)).containers.size === 1);
    assert.deepEqual(journal.said[before], { kind: 'observed', body: { baseline: true, upserted: [], removed: [] } });
  });

  test('what was under way when the journal was replaced is told again after the baseline', async () => {
    const { agent, replaced } = await start({ scanIntervalMs: 3_600_000 });
    await until('the engine is up', () => agent.engine === 'up');
    const release = journal.hold();
    await run('api');
    await until('it was looked at', () => agent.summary.containers.count === 1);
    journal.loseState();
    replaced();
    release();
    const isBaseline = (at: number) => {
      const said = journal.said[at];
      return said?.kind === 'observed' && said.body.baseline;
    };
    await until('there is a second baseline', () => journal.said.some((_, at) => at > 0 && isBaseline(at)));
    await sees('api');
  });

  test('a replaced journal that knows everything is told nothing', async () => {
    await run('api');
    const { replaced, cycles } = await start();
    await sees('api');
    replaced();
    const done = cycles.length;
    await until('it has scanned twice more', () => cycles.length >= done + 2);
    assert.deepEqual(folded().repeated, []);
    assert.equal(journal.saidOf('observed').filter(({ body }) => body.baseline).length, 1);
  });
});

describe('the engine', () => {
  test('events are told at once, without a tick', async () => {
    const { agent } = await start({ scanIntervalMs: 3_600_000 });
    await until('the engine is up', () => agent.engine === 'up');
    const id = await run('api');
    await sees('api');
    await engine.remove(id);
    await sees();
  });

  test('an engine that restarts is a gap, and what happened meanwhile is seen', async () => {
    await run('api');
    const { agent } = await start({ scanIntervalMs: 3_600_000 });
    await sees('api');
    await engine.down();
    await until('it is down', () => agent.engine === 'down');
    engine.state.create('late', { Image: image });
    engine.state.remove('api');
    await engine.up();
    await sees('late');
    await until('the gap is told', () => journal.saidOf('coverage.gap').length === 1);
    assert.equal(journal.saidOf('coverage.gap')[0]?.body.reason, 'engine-down');
  });

  test('an engine that comes back and fails the first scan is up, and its gap is told', async () => {
    const { agent } = await start({ scanIntervalMs: 3_600_000 });
    await until('the engine is up', () => agent.engine === 'up');
    await engine.down();
    await until('it is down', () => agent.engine === 'down');
    journal.mood = 'write_failed';
    await engine.up();
    await run('api');
    await until('it is up again', () => agent.engine === 'up');
    journal.mood = 'well';
    await sees('api');
    await until('the gap is told', () => journal.saidOf('coverage.gap').length === 1);
  });

  test('that it went away is logged once, and once that it is back, whatever is tried meanwhile', async () => {
    const logged: string[] = [];
    const say = (event: string, fields: Readonly<Record<string, unknown>> = {}) => {
      logged.push(fields.error === undefined ? event : `${event} with a stack`);
    };
    const logger = { ...quietLogger, info: say, warn: say, error: say };
    const { agent, cycles } = await start({ logger });
    await until('the engine is up', () => agent.engine === 'up');
    await engine.down();
    await until('it is down', () => agent.engine === 'down');
    const done = cycles.length;
    await until('it was looked for in vain', () => cycles.length >= done + 3);
    await engine.up();
    await until('it is up again', () => agent.engine === 'up');
    const [went, came] = [logged.indexOf('engine.down'), logged.lastIndexOf('engine.up')];
    // A busy machine passes over a minute, which is told.
    const between = logged.slice(went, came + 1).filter((event) => event !== 'coverage.gap');
    assert.deepEqual(between, ['engine.down', 'engine.up']);
    assert.deepEqual(
      logged.filter((line) => line.endsWith('stack')),
      [],
    );
  });

  test('while the engine is away nothing is concluded, and minutes count as engine-down', async () => {
    const repository = manifestRepository(tempFolder());
    repository.commit(`containers:\n  - {name: api, image: "${image}"}\n`);
    await run('api');
    await run('rogue');
    const { agent } = await start({ repository: repository.dir });
    await until('the drift is open', () => folded().drifts.size === 1);
    await engine.down();
    await until('it is down', () => agent.engine === 'down');
    repository.commit(`containers:\n  - {name: other, image: "${image}"}\n`);
    await until('the minute says so', () => coverages().at(-1) === 'engine-down');
    assert.deepEqual(
      [...folded().drifts.values()].map(({ kind }) => kind),
      ['UNAUTHORIZED_CONTAINER'],
    );
    assert.deepEqual(names(), ['api', 'rogue']);
  });

  test('no engine at the first start: degraded, and the first minute says so', async () => {
    await engine.down();
    const { agent } = await start();
    await until('it is known to be down', () => agent.engine === 'down');
    await until('a minute is reported', () => coverages().length > 0);
    assert.equal(coverages()[0], 'engine-down');
  });
});

/** Every minute since the first is told of once, by a report or by a gap. */
function assertAccounted(): void {
  const accounted = [
    ...journal.saidOf('report').map(({ body }) => Date.parse(body.minute)),
    ...journal.saidOf('coverage.gap').flatMap(({ body: { from, to } }) => {
      const minutes = (Date.parse(to) - Date.parse(from)) / 1_000;
      return Array.from({ length: minutes }, (_, i) => Date.parse(from) + i * 1_000);
    }),
  ].sort((a, b) => a - b);
  const first = accounted[0] ?? 0;
  assert.deepEqual(
    accounted,
    accounted.map((_, i) => first + i * 1_000),
  );
}

describe('minutes', () => {
  test('a report says how much room there is for the data, and leaves it out where nobody can tell', async () => {
    const { agent } = await start({ disk: () => diskSpace(import.meta.dirname) });
    await until('a minute is reported', () => journal.saidOf('report').length > 0);
    await agent.stop();
    const { freeBytes = -1, totalBytes = 0 } = journal.saidOf('report')[0]?.body.disk ?? {};
    assert.ok(freeBytes >= 0 && freeBytes <= totalBytes && totalBytes > 0);
    const before = journal.saidOf('report').length;
    await start({ disk: () => diskSpace(join(import.meta.dirname, 'no-such-folder')) });
    await until('another one is', () => journal.saidOf('report').length > before);
    assert.ok(
      journal.saidOf('report').at(-1) !== undefined && !('disk' in (journal.saidOf('report').at(-1)?.body ?? {})),
    );
  });

  test('every minute is reported once', async () => {
    const { cycles } = await start();
    await until('three minutes', () => cycles.length >= 3);
    const minutes = journal.saidOf('report').map(({ body }) => body.minute);
    assert.deepEqual(minutes, [...new Set(minutes)]);
  });

  test('a report stands for exactly the entries before it', async () => {
    const { cycles, agent } = await start();
    await until('one minute', () => cycles.length >= 1);
    const release = journal.hold();
    await run('api');
    await until('it was looked at', () => agent.summary.containers.count === 1);
    const nextSlot = Math.ceil(Date.now() / 1_000) * 1_000;
    await until('a tick has come meanwhile', () => Date.now() > nextSlot + 300);
    release();
    await until('it is reported', () => cycles.length >= 2);
    let changed = false;
    let digest: string | undefined;
    for (const { kind, body } of journal.said) {
      if (kind === 'observed' && !body.baseline) changed = true;
      if (kind !== 'report') continue;
      assert.equal(body.containers.digest !== digest, digest === undefined || changed);
      digest = body.containers.digest;
      changed = false;
    }
  });

  test('minutes of a stopped agent are a gap, said once', async () => {
    const first = await start();
    await until('a minute is reported', () => first.cycles.length > 0);
    await first.agent.stop();
    const clock = settableClock();
    clock.stepMs = 5_000;
    const second = await start({ clock });
    await until('a minute is reported', () => second.cycles.length > 1);
    const gaps = journal.saidOf('coverage.gap').filter(({ body }) => Date.parse(body.to) === second.cycles[0]?.slot);
    assert.equal(gaps.length, 1);
    const { from, to, reason } = gaps[0]?.body ?? {};
    assert.equal(reason, 'agent-down');
    assert.equal(Date.parse(from ?? ''), (first.cycles.at(-1)?.slot ?? 0) + 1_000);
    assert.equal(Date.parse(to ?? ''), second.cycles[0]?.slot);
  });

  test('a disk that takes no reports is not an agent that was down', async () => {
    const { cycles } = await start();
    await until('a minute is reported', () => cycles.length > 0);
    journal.mood = 'write_failed';
    const before = cycles.length;
    await until('two minutes pass', () => cycles.length >= before + 2);
    journal.mood = 'well';
    await until('reports come again', () => cycles.length >= before + 4);
    const gaps = gapsOver(cycles).map(({ body }) => body);
    assert.ok(gaps.length > 0);
    assert.ok(gaps.every(({ reason }) => reason === 'dropped'));
    assertAccounted();
  });

  test('no minute is told of by a report and by a gap, though a kill came when only the report was taken', async () => {
    const first = await start();
    await until('a minute is reported', () => first.cycles.length > 0);
    journal.mood = 'write_failed';
    const before = first.cycles.length;
    await until('two minutes pass', () => first.cycles.length >= before + 2);
    journal.mood = 'well';
    const { append } = journal;
    journal.append = async (statements, changes) => {
      if (!statements.some(({ kind }) => kind === 'coverage.gap')) return append(statements, changes);
      throw new AppError('outbox.write_failed', 'too large for what is left', { retryable: true });
    };
    await until('two more pass', () => first.cycles.length >= before + 4);
    await first.agent.stop();
    journal.append = append;
    const second = await start();
    await until('a minute is reported', () => second.cycles.length > 0);
    assertAccounted();
  });

  test('reports that a full outbox drops are no gap, also not after a restart', async () => {
    const first = await start();
    await until('a minute is reported', () => first.cycles.length > 0);
    journal.mood = 'full';
    const before = first.cycles.length;
    await until('two minutes pass', () => first.cycles.length >= before + 2);
    await first.agent.stop();
    journal.mood = 'well';
    const second = await start();
    await until('a minute is reported', () => second.cycles.length > 0);
    assert.deepEqual(gapsOver([...first.cycles, ...second.cycles]), []);
  });

  test('a clock set ten years ahead and back is suspect, and the agent goes on', async () => {
    const clock = settableClock();
    const { cycles } = await start({ clock });
    await until('a minute is reported', () => cycles.length > 0);
    clock.stepMs = tenYearsMs;
    const suspects = () => coverages().filter((coverage) => coverage === 'clock-suspect').length;
    await until('it is noticed', () => suspects() === 1);
    await until('and over', () => coverages().at(-1) === 'observed');
    const longGaps = () => journal.saidOf('coverage.gap').filter(({ body }) => yearOf(body.from) < yearOf(body.to));
    assert.deepEqual(
      longGaps().map(({ body }) => body.reason),
      ['clock-suspect'],
    );
    clock.stepMs = 0;
    await until('it is noticed again', () => suspects() === 2);
    await until('and over again', () => coverages().at(-1) === 'observed');
    assert.equal(longGaps().length, 1);
  });

  test('a clock that is back from the future after a restart is suspect, not a gap', async () => {
    const clock = settableClock();
    clock.stepMs = tenYearsMs;
    const first = await start({ clock });
    await until('a minute is reported', () => first.cycles.length > 0);
    await first.agent.stop();
    const second = await start();
    await until('a minute is reported', () => second.cycles.length > 1);
    assert.deepEqual(gapsOver(second.cycles), []);
    assert.equal(second.cycles[0]?.coverage, 'clock-suspect');
    assert.equal(second.cycles[1]?.coverage, 'observed');
  });
});
