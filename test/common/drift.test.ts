import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { MadeContainer } from '../../common/config-drift.ts';
import type { DesiredContainer, DesiredState } from '../../common/desired.ts';
import { type Drift, diff, driftChanges, driftSchema, type ObservedState, undecided } from '../../common/drift.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import { containerStates, type ObservedContainer } from '../../common/observed.ts';

const imageId = (letter: string) => `sha256:${letter.repeat(64)}`;

function seen(name: string, changes: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64),
    name,
    image: `${name}:1`,
    imageId: imageId('a'),
    state: 'running',
    health: 'none',
    exitCode: 0,
    restartCount: 0,
    createdAt: '2026-01-01T00:00:00Z',
    startedAt: null,
    finishedAt: null,
    ...changes,
  };
}

const nowMs = Date.parse('2026-06-01T12:00:00Z');

const bareImage = { command: [], entrypoint: [], environment: {}, labels: {}, user: '', volumes: [] };
const bareConfig = {
  ...bareImage,
  ...{ ports: [], restart_policy: 'no', cap_add: [], cap_drop: [], privileged: false, network_mode: 'default' },
  ...{ mem_limit: 0, cpus: 0 },
};

function wanted(name: string, changes: Partial<DesiredContainer> = {}): DesiredContainer {
  return { name, image: `${name}:1`, imageId: null, config: {}, creation: {}, ...changes };
}

function desire(containers: readonly DesiredContainer[], ignored: readonly DriftKind[] = []): DesiredState {
  const checks = { environment: 'said', ports: 'said', volumes: 'said' } as const;
  const exempt = ({ name }: ObservedContainer) => name.startsWith('tool-');
  return { containers, ignored: new Set(ignored), checks, newerPatches: false, exempt };
}

function observe(
  containers: readonly ObservedContainer[],
  unobserved: readonly string[] = [],
  name: string | null = null,
): ObservedState {
  const made = new Map<string, MadeContainer>();
  return {
    containers: new Map(containers.map((one) => [one.id, one])),
    unobserved: new Map(unobserved.map((id) => [id, name])),
    atMs: nowMs,
    made,
  };
}

function told(drifts: readonly Drift[]): string[] {
  return drifts.map(({ kind, container }) => `${kind} ${container}`);
}

const names = ['web', 'api', 'db', 'tool-x', '😀'.repeat(256), 'nul\0'];
const image = fc.constantFrom('web:1', 'web:2', 'docker.io/library/web:1', 'x'.repeat(512));
const someWanted = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom(...names),
    image,
    imageId: fc.option(fc.constantFrom('a', 'b').map(imageId)),
    config: fc.constant({}),
    creation: fc.constant({}),
  }),
  {
    selector: ({ name }) => name,
  },
);
const someSeen = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom(...names),
      image,
      imageId: fc.constantFrom('a', 'b').map(imageId),
      state: fc.constantFrom(...containerStates),
    }),
    { selector: ({ name }) => name },
  )
  .map((list) => list.map(({ name, ...rest }) => seen(name, rest)));
const unseen = fc.subarray(['e', 'f'].map((letter) => letter.repeat(64)));

describe('diff', () => {
  test('what runs as it should has no drift', () => {
    const pinned = wanted('db', { imageId: imageId('a') });
    const observed = observe([
      seen('web'),
      seen('db'),
      seen('tool-x'),
      seen('api', { image: 'docker.io/library/api:1' }),
    ]);
    assert.deepEqual(diff(desire([wanted('web'), pinned, wanted('api')]), observed), []);
  });

  test('a container made of the pinned id itself, which names no reference, is not drift; of another id it is', () => {
    const desired = desire([wanted('db', { imageId: imageId('a') })]);
    const made = (image: string, of: string) => diff(desired, observe([seen('db', { image, imageId: of })])).length;
    assert.equal(made(imageId('a'), imageId('a')), 0);
    assert.equal(made(imageId('b'), imageId('b')), 1);
    assert.equal(made(imageId('a'), imageId('b')), 1);
  });

  test('a newer patch is drift unless the manifest allows it, and of a pinned image always', () => {
    const patched = observe([seen('web', { image: 'web:1.4.10' })]);
    const plain = desire([wanted('web', { image: 'web:1.4.9' })]);
    const pinned = desire([wanted('web', { image: 'web:1.4.9', imageId: imageId('a') })]);
    assert.deepEqual(told(diff(plain, patched)), ['IMAGE_DRIFT web']);
    assert.deepEqual(told(diff({ ...plain, newerPatches: true }, patched)), []);
    assert.deepEqual(told(diff({ ...pinned, newerPatches: true }, patched)), ['IMAGE_DRIFT web']);
  });

  test('each difference is one drift with both sides', () => {
    const desired = desire([wanted('web'), wanted('api'), wanted('db', { imageId: imageId('b') }), wanted('cache')]);
    const stray = seen('miner', { image: 'evil/miner' });
    const observed = observe([seen('api', { image: 'api:2' }), seen('db'), seen('cache', { state: 'exited' }), stray]);
    const drifts = diff(desired, observed);
    assert.deepEqual(told(drifts), [
      'IMAGE_DRIFT api',
      'IMAGE_DRIFT db',
      'MISSING_CONTAINER cache',
      'MISSING_CONTAINER web',
      'UNAUTHORIZED_CONTAINER miner',
    ]);
    assert.deepEqual(
      drifts.map(({ differences }) => differences),
      [
        [{ field: 'image', desired: 'api:1', observed: 'api:2' }],
        [{ field: 'image_sha', desired: imageId('b'), observed: imageId('a') }],
        [{ field: 'state', desired: 'running', observed: 'exited (0)' }],
        [{ field: 'state', desired: 'running', observed: null }],
        [
          { field: 'image', desired: null, observed: 'evil/miner' },
          { field: 'state', desired: null, observed: 'running' },
        ],
      ],
    );
    assert.equal(drifts[4]?.containerId, stray.id);
  });

  test('a container that is there but does not do its work is missing', () => {
    for (const state of containerStates) {
      const drifts = diff(desire([wanted('web')]), observe([seen('web', { state })]));
      const works = ['running', 'restarting'].includes(state);
      assert.deepEqual(told(drifts), works ? [] : ['MISSING_CONTAINER web'], state);
    }
  });

  const agoMs = (ms: number) => new Date(nowMs - ms).toISOString();
  const stands: Record<string, [Partial<ObservedContainer>, string | undefined]> = {
    'one that ended, with how it ended': [{ state: 'exited', exitCode: 137 }, 'exited (137)'],
    'one that is paused': [{ state: 'paused' }, 'paused'],
    'one that is just being started': [{ state: 'created', createdAt: agoMs(9_999) }, undefined],
    'one that nobody started': [{ state: 'created', createdAt: agoMs(10_000) }, 'never started'],
    'one that crashed once': [{ state: 'restarting', restartCount: 1 }, undefined],
    'one that crashes again and again': [{ state: 'restarting', restartCount: 3 }, 'crash-looping'],
    'one that does so and runs for the moment': [
      { state: 'running', restartCount: 3, startedAt: agoMs(59_999) },
      'crash-looping',
    ],
    'one that has calmed down': [{ state: 'running', restartCount: 3, startedAt: agoMs(60_000) }, undefined],
    'one that was started by hand': [{ state: 'running', restartCount: 0, startedAt: agoMs(1) }, undefined],
  };
  for (const [name, [container, said]] of Object.entries(stands)) {
    test(`tells apart ${name}`, () => {
      const [drift] = diff(desire([wanted('web')]), observe([seen('web', container)]));
      assert.equal(drift?.differences[0]?.observed ?? undefined, said);
    });
  }

  test('a drift of how a container was made is opened, and held while that is not known', () => {
    const web = seen('web', { state: 'running' });
    const config = { ...bareConfig, ports: ['22->22/tcp'] };
    const known = { ...observe([web]), made: new Map([[web.id, { config, image: bareImage }]]) };
    const desired = desire([wanted('web', { config: { ports: [] } })]);
    const [drift, ...others] = diff(desired, known);
    assert.deepEqual([drift?.id, drift?.containerId, others], ['CONFIG_DRIFT/web', web.id, []]);
    assert.deepEqual(drift?.differences, [{ field: 'ports', desired: null, observed: '22->22/tcp' }]);
    assert.deepEqual(diff(desired, observe([web])), []);
    assert.ok(drift !== undefined && undecided(drift, desired, observe([web])));
    assert.ok(!undecided(drift, desired, known));
  });

  test('another container under the same name is another drift', () => {
    const [one, two] = ['a', 'b'].map((letter) => observe([seen('miner', { id: letter.repeat(64) })]));
    assert.ok(one && two);
    assert.notEqual(diff(desire([]), one)[0]?.id, diff(desire([]), two)[0]?.id);
  });

  test('nothing is concluded about containers that could not be inspected, nor from their absence', () => {
    const hidden = 'f'.repeat(64);
    assert.deepEqual(diff(desire([wanted('web')]), observe([], [hidden])), []);
    assert.deepEqual(told(diff(desire([wanted('web')]), observe([], []))), ['MISSING_CONTAINER web']);
    const others = observe([seen('api', { image: 'api:2' }), seen('miner'), seen('db', { state: 'dead' })], [hidden]);
    assert.deepEqual(told(diff(desire([wanted('web'), wanted('api'), wanted('db')]), others)), [
      'IMAGE_DRIFT api',
      'MISSING_CONTAINER db',
      'UNAUTHORIZED_CONTAINER miner',
    ]);
  });

  test('what could not be inspected hides what is missing under its own name, and nothing else', () => {
    const desired = desire([wanted('web'), wanted('db')]);
    const seenLess = observe([], ['f'.repeat(64)], 'web');
    assert.deepEqual(told(diff(desired, seenLess)), ['MISSING_CONTAINER db']);
    const unsure = diff(desired, observe([])).filter((drift) => undecided(drift, desired, seenLess));
    assert.deepEqual(told(unsure), ['MISSING_CONTAINER web']);
    assert.deepEqual(told(diff(desired, observe([], ['f'.repeat(64)]))), [], 'one without a name could be any');
  });

  test('seeing less never makes a drift, and takes away only what absence alone had told', () => {
    fc.assert(
      fc.property(someWanted, someSeen, unseen, (containers, list, hidden) => {
        const all = diff(desire(containers), observe(list));
        const less = diff(desire(containers), observe(list, hidden));
        const gone = all.filter((drift) => !less.some(({ id }) => id === drift.id));
        assert.deepEqual(
          less,
          all.filter((drift) => !gone.includes(drift)),
        );
        assert.ok(gone.every(({ kind, containerId }) => kind === 'MISSING_CONTAINER' && containerId === null));
        assert.ok(hidden.length > 0 || gone.length === 0);
      }),
    );
  });

  test('is the same list for the same states, in whatever order they come, and fits into entries', () => {
    fc.assert(
      fc.property(someWanted, someSeen, unseen, (containers, list, hidden) => {
        const drifts = diff(desire(containers), observe(list, hidden));
        assert.deepEqual(diff(desire([...containers].reverse()), observe([...list].reverse(), hidden)), drifts);
        assert.equal(new Set(drifts.map(({ id }) => id)).size, drifts.length);
        for (const drift of drifts) assert.deepEqual(driftSchema.parse(drift), drift);
      }),
    );
  });

  test('kinds that the rules ignore and exempt containers are left out', () => {
    const kinds: readonly DriftKind[] = ['UNAUTHORIZED_CONTAINER', 'MISSING_CONTAINER', 'IMAGE_DRIFT'];
    fc.assert(
      fc.property(someWanted, someSeen, fc.subarray([...kinds]), (containers, list, ignored) => {
        const all = diff(desire(containers), observe(list));
        const rest = diff(desire(containers, ignored), observe(list));
        assert.deepEqual(
          rest,
          all.filter(({ kind }) => !ignored.includes(kind)),
        );
        assert.ok(!told(all).includes('UNAUTHORIZED_CONTAINER tool-x'));
      }),
    );
  });
});

describe('from one comparison to the next', () => {
  test('what is told adds up to what stands and what is held', () => {
    fc.assert(
      fc.property(someWanted, someSeen, someSeen, unseen, (containers, before, after, hidden) => {
        const known = new Map(diff(desire(containers), observe(before)).map((drift) => [drift.id, drift]));
        const wish = desire(containers);
        const now = observe(after, hidden);
        const current = diff(wish, now);
        const held = new Set([...known.values()].filter((drift) => undecided(drift, wish, now)).map(({ id }) => id));
        const { opened, changed, resolved } = driftChanges(known, current, held);
        const next = new Map(known);
        for (const id of resolved) assert.ok(next.delete(id) && !held.has(id));
        for (const drift of changed) assert.ok(next.has(drift.id) && next.set(drift.id, drift));
        for (const drift of opened) assert.ok(!next.has(drift.id) && next.set(drift.id, drift));
        for (const drift of current) assert.deepEqual(next.get(drift.id), drift);
        for (const id of next.keys()) assert.ok(held.has(id) || current.some((drift) => drift.id === id));
        const again = driftChanges(next, current, held);
        assert.deepEqual(again, { opened: [], changed: [], resolved: [] });
      }),
    );
  });

  test('a drift is undecided while what it is about may be what could not be inspected', () => {
    const hidden = 'f'.repeat(64);
    const wish = desire([wanted('web')]);
    const [missing] = diff(wish, observe([]));
    const stray = seen('miner', { id: hidden });
    const [unauthorized] = diff(wish, observe([seen('web'), stray]));
    assert.ok(missing && unauthorized);
    assert.ok(!undecided(missing, wish, observe([])));
    assert.ok(undecided(missing, wish, observe([], [hidden])));
    assert.ok(!undecided(missing, wish, observe([seen('web')], [hidden])));
    // What is no longer wanted cannot be missing.
    assert.ok(!undecided(missing, desire([]), observe([], [hidden])));
    assert.ok(undecided(unauthorized, wish, observe([seen('web')], [hidden])));
    assert.ok(!undecided(unauthorized, wish, observe([seen('web')], ['e'.repeat(64)])));
  });
});
