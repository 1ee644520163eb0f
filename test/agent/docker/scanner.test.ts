import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import type { Engine } from '../../../agent/docker/engine.ts';
import { scanContainers } from '../../../agent/docker/scanner.ts';
import { image, isUnreachable, sleeps } from '../../contract/engine.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
let fake: FakeEngine;
let ids: string[];

beforeEach(async () => {
  fake = await startFakeEngine(path.join(dir, 'engine.sock'));
  await fake.importImage(image);
  ids = await Promise.all(Array.from({ length: 20 }, (_, n) => fake.run({ name: `c${n}`, image, cmd: sleeps })));
});
afterEach(() => fake.stop());
after(() => rmSync(dir, { recursive: true, force: true }));

const adapter = (timeoutMs = 5_000): Engine => dockerEngine({ socketPath: fake.socketPath, timeoutMs });

test('a scan sees every container, by id', async () => {
  const { containers, unobserved } = await scanContainers(adapter(), { concurrency: 8 });
  assert.deepEqual([...containers.keys()].sort(), ids.toSorted());
  assert.ok([...containers].every(([id, { container }]) => container.id === id));
  assert.deepEqual(unobserved, []);
});

test('never more inspections at one time than allowed', async () => {
  const engine = adapter();
  let running = 0;
  let most = 0;
  const counting: Engine = {
    ...engine,
    inspect: async (id) => {
      running += 1;
      most = Math.max(most, running);
      const container = await engine.inspect(id);
      running -= 1;
      return container;
    },
  };
  await scanContainers(counting, { concurrency: 3 });
  assert.equal(most, 3);
});

test('a container that cannot be inspected is unobserved, and hides no other', async () => {
  const [hangs = '', fails = '', lies = ''] = ids;
  fake.breakInspect(hangs, 'hangs');
  fake.breakInspect(fails, 'fails');
  fake.breakInspect(lies, 'lies');
  const { containers, unobserved } = await scanContainers(adapter(2_000), { concurrency: 4 });
  assert.equal(containers.size, ids.length - 3);
  const codes = Object.fromEntries(unobserved.map(({ id, error }) => [id, error.code]));
  assert.deepEqual(codes, {
    [hangs]: 'engine.unreachable',
    [fails]: 'engine.answer',
    [lies]: 'engine.answer',
  });
});

test('an engine that freezes during a scan costs one timeout, not one per container', async () => {
  const engine = adapter(2_000);
  let asked = 0;
  const freezing: Engine = {
    ...engine,
    inspect: (id) => {
      asked += 1;
      return engine.inspect(id);
    },
    list: async () => {
      const listed = await engine.list();
      fake.freeze();
      return listed;
    },
  };
  const { containers, unobserved } = await scanContainers(freezing, { concurrency: 4 });
  assert.ok(asked < 2 * 4, `${asked} of ${ids.length} were asked for, four at once`);
  assert.deepEqual([containers.size, unobserved.length], [0, ids.length]);
});

test('a scan without an engine fails, rather than reporting an empty node', async () => {
  await fake.down();
  await assert.rejects(scanContainers(adapter(), { concurrency: 8 }), isUnreachable(fake.socketPath));
});
