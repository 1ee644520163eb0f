import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Adopted } from '../../agent/desired/desired-source.ts';
import { dockerEngine } from '../../agent/docker/dockerode.ts';
import { createImages, observedOf, stateToJudge } from '../../agent/docker/images.ts';
import { scanContainers } from '../../agent/docker/scanner.ts';
import { ContainerObserver } from '../../agent/observer.ts';
import { Account } from '../../agent/told/account.ts';
import { diff } from '../../common/drift.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { parseManifest } from '../../common/manifest/manifest.ts';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import { type FakeJournal, fakeJournal, type JournalMood } from '../fakes/journal.ts';
import { quietLogger } from '../quiet-logger.ts';
import { fold, tempFolder } from './watching.ts';

const dir = tempFolder();
/** Stands still: how long ago something was made is not what this is about. */
const beganMs = Date.now();
const clock = { now: () => beganMs };
const images = ['app:1', 'app:2'] as const;
const names = ['api', 'db', 'rogue', 'extra'] as const;

let engine: FakeEngine;
before(async () => {
  engine = await startFakeEngine(join(dir, 'engine.sock'));
  for (const image of images) await engine.importImage(image);
});
after(() => engine.stop());

const manifests = [
  undefined,
  'containers: [{name: api, image: "app:1"}, {name: db, image: "app:1"}]',
  'containers: [{name: api, image: "app:2"}, {name: gone, image: "app:1"}]',
  'containers: [{name: db, image: "app:1"}]\ndrift_rules: {unauthorized_containers: {exceptions: ["ro*"]}}',
].map((text, i) => (text === undefined ? undefined : adopted(`c${i}`, text)));

function adopted(commit: string, text: string): Adopted {
  const manifest = parseManifest(text);
  return { commit, desired: compileDesired(manifest, 'node1'), manifest, signer: null };
}

/** One run of the program: what it remembers beyond the journal is in here. */
function startRun(journal: FakeJournal, desired: () => Adopted | undefined) {
  const account = new Account(journal);
  const adapter = dockerEngine({ socketPath: engine.socketPath, timeoutMs: 10_000 });
  const observer = new ContainerObserver({
    ...{ engine: adapter, journal: account, desired, logger: quietLogger },
    clock,
  });
  return { account, adapter, observer };
}

class World {
  readonly journal = fakeJournal();
  manifest: Adopted | undefined;
  run = startRun(this.journal, () => this.manifest);

  restart(): void {
    this.run = startRun(this.journal, () => this.manifest);
  }

  /** Removes everything the run before left. */
  static clear(): void {
    for (const { id } of [...engine.state.containers.values()]) engine.state.remove(id);
  }

  find(name: string) {
    return [...engine.state.containers.values()].find((container) => container.name === name);
  }

  /** After a scan that saw all and was told, what was said amounts to what is. */
  async check(): Promise<void> {
    const { adapter, observer } = this.run;
    await observer.scan();
    const { containers } = await scanContainers(adapter, { concurrency: 8 });
    const { containers: said, drifts, repeated } = fold(this.journal.said);
    assert.deepEqual(new Map([...said].sort()), new Map([...observedOf(containers)].sort()));
    if (this.manifest !== undefined) {
      const { desired } = this.manifest;
      const images = createImages(adapter, (_, error) => assert.fail(error));
      const standing = diff(
        desired,
        await stateToJudge({ containers, unobserved: new Map(), atMs: clock.now() }, desired, images),
      );
      assert.deepEqual([...drifts.values()].sort(byId), standing.sort(byId));
    }
    assert.deepEqual(repeated, []);
    assert.equal(observer.summary.drifts.open, drifts.size);
  }
}

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);

type Step = (world: World) => Promise<void>;
const quietly = (work: Promise<unknown>): Promise<void> =>
  work.then(
    () => {},
    () => {},
  );
const shown = (name: string, step: Step): Step => Object.assign(step, { [fc.toStringMethod]: () => name });

const change = (name: string, image: string, what: number): Step =>
  shown(`change(${name}, ${image}, ${what})`, async (world) => {
    const { state } = engine;
    const found = world.find(name);
    if (found === undefined) state.start(state.create(name, { Image: image }).id);
    else if (what === 0) state.remove(found.id);
    else if (what === 1 && found.status === 'running') state.exit(found.id, 1);
    else if (what === 2 && found.status !== 'running') state.start(found.id);
    else if (what === 3 && world.find(`${name}-old`) === undefined) state.rename(found.id, `${name}-old`);
  });
const anyName = fc.constantFrom(...names);
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(anyName, fc.constantFrom(...images), fc.nat(3)).map((args) => change(...args)) },
  {
    weight: 4,
    arbitrary: anyName.map((name) =>
      shown(`look(${name})`, (world) => quietly(world.run.observer.look(world.find(name)?.id ?? '0'.repeat(64)))),
    ),
  },
  { weight: 2, arbitrary: fc.constant(shown('scan', (world) => quietly(world.run.observer.scan()))) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<JournalMood>('well', 'write_failed', 'full').map((mood) =>
      shown(`journal(${mood})`, async ({ journal }) => {
        journal.mood = mood;
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      shown('restart', async (world) => {
        world.restart();
        await quietly(world.run.observer.restore());
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      shown('journal replaced', async ({ journal, run: { account, observer } }) => {
        journal.loseState();
        account.forget();
        observer.forget();
      }),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(manifests.length - 2).map((i) =>
      shown(`manifest ${i + 1}`, async (world) => {
        world.manifest = manifests[i + 1];
        await quietly(world.run.observer.compare());
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      shown('engine away', async ({ run: { observer } }) => {
        observer.engineAway();
        await engine.down();
        await quietly(Promise.all([observer.scan(), observer.compare()]));
        await engine.up();
      }),
    ),
  },
);

describe('what was said', () => {
  test('amounts to what is, after every scan that was told, and nothing is said twice', async () => {
    const property = fc.asyncProperty(
      fc.array(fc.array(steps, { maxLength: 12 }), { maxLength: 3 }),
      async (rounds) => {
        World.clear();
        const world = new World();
        for (const round of rounds) {
          for (const step of round) await step(world);
          world.journal.mood = 'well';
          await world.check();
        }
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
});

describe('a container that cannot be inspected', () => {
  const setUp = async (text: string) => {
    World.clear();
    const world = new World();
    world.manifest = adopted('c', text);
    return world;
  };
  const open = ({ journal }: World) => [...fold(journal.said).drifts.keys()];
  const start = (name: string, image = 'app:1') => {
    const { id } = engine.state.create(name, { Image: image });
    engine.state.start(id);
    return id;
  };

  test('keeps its drift, also when another takes its name', async () => {
    const world = await setUp('containers: [{name: api, image: "app:1"}]');
    start('api');
    const rogue = start('rogue');
    await world.run.observer.scan();
    engine.breakInspect(rogue, 'fails');
    engine.state.rename(rogue, 'hidden');
    const second = start('rogue');
    await world.run.observer.scan();
    assert.deepEqual(
      open(world).sort(),
      [`UNAUTHORIZED_CONTAINER/${rogue}`, `UNAUTHORIZED_CONTAINER/${second}`].sort(),
    );
    assert.ok(fold(world.journal.said).containers.has(rogue), 'it is still known to be there');
  });

  test('does not keep the drift of one that is known to be gone', async () => {
    const world = await setUp('containers: []');
    const [stuck, gone] = [start('rogue'), start('extra')];
    await world.run.observer.scan();
    engine.breakInspect(stuck, 'fails');
    engine.state.remove(gone);
    await world.run.observer.scan();
    assert.deepEqual(open(world), [`UNAUTHORIZED_CONTAINER/${stuck}`]);
  });

  test('does not keep anybody from learning that another one is missing', async () => {
    const world = await setUp('containers: [{name: api, image: "app:1"}, {name: db, image: "app:1"}]');
    const [stuck, db] = [start('rogue'), start('db')];
    engine.breakInspect(stuck, 'fails');
    await world.run.observer.scan();
    assert.deepEqual(open(world), ['MISSING_CONTAINER/api']);
    engine.state.remove(db);
    await Promise.all([stuck, db].map((id) => world.run.observer.look(id)));
    assert.deepEqual(open(world).sort(), ['MISSING_CONTAINER/api', 'MISSING_CONTAINER/db'], 'within a look');
    start('api');
    engine.state.rename(stuck, 'db');
    await world.run.observer.scan();
    assert.deepEqual(open(world), ['MISSING_CONTAINER/db'], 'whether it is db nobody knows: what was told stands');
  });

  test('may be the one that is missing: neither said to be missing nor resolved', async () => {
    const world = await setUp('containers: [{name: api, image: "app:2"}, {name: db, image: "app:1"}]');
    const api = start('api');
    await world.run.observer.scan();
    assert.deepEqual(open(world).sort(), ['IMAGE_DRIFT/api', 'MISSING_CONTAINER/db']);
    engine.breakInspect(api, 'fails');
    await quietly(world.run.observer.look(api));
    await world.run.observer.scan();
    assert.deepEqual(open(world).sort(), ['IMAGE_DRIFT/api', 'MISSING_CONTAINER/db']);
    world.manifest = adopted('d', 'containers: []');
    await world.run.observer.compare();
    assert.deepEqual(open(world), [], 'what is not desired any more cannot be missing');
  });
});

test('what is seen of work half done is no reason to conclude anything, also if the work has ended by then', async () => {
  World.clear();
  const journal = fakeJournal();
  const wanting = adopted('c', 'containers: [{name: api, image: "app:1"}]');
  const adapter = dockerEngine({ socketPath: engine.socketPath, timeoutMs: 10_000 });
  let names = new Set<string>();
  let ends = () => {};
  const observer = new ContainerObserver({
    engine: {
      ...adapter,
      inspect: async (id) => {
        const found = await adapter.inspect(id);
        ends();
        return found;
      },
    },
    ...{ journal: new Account(journal), desired: () => wanting, logger: quietLogger, clock },
    inHand: () => ({ names, ids: new Set() }),
  });
  await observer.scan();
  const said = () => journal.said.flatMap(({ kind }) => (kind.startsWith('drift.') ? [kind] : []));
  assert.deepEqual(said(), ['drift.opened']);
  names = new Set(['api']);
  const { id } = engine.state.create('api', { Image: 'app:1' });
  ends = () => {
    names = new Set();
    engine.state.remove(id);
    ends = () => {};
  };
  await observer.look(id);
  assert.deepEqual(said(), ['drift.opened']);
  await observer.scan();
  assert.deepEqual(said(), ['drift.opened'], 'it was missing all the time');
});

test('before the first full list an event is told, and nothing is judged or thought gone', async () => {
  World.clear();
  const world = new World();
  world.manifest = manifests[1];
  const { id } = engine.state.create('rogue', { Image: 'app:1' });
  await world.run.observer.scan();
  const before = fold(world.journal.said);
  world.restart();
  const { id: late } = engine.state.create('extra', { Image: 'app:1' });
  await world.run.observer.look(late);
  const { containers, drifts } = fold(world.journal.said);
  assert.deepEqual([...containers.keys()].sort(), [id, late].sort());
  assert.deepEqual([...drifts.keys()], [...before.drifts.keys()]);
});
