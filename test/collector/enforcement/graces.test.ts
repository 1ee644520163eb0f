import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nothingTold, sayDrifts, type Told } from '../../../agent/told/told.ts';
import { NodeClocks } from '../../../collector/enforcement/graces.ts';
import type { EndedDriftRow, OpenDrift } from '../../../collector/enforcement/ports.ts';
import { EnforcementRounds } from '../../../collector/enforcement/rounds.ts';
import type { ManifestInForce } from '../../../collector/enforcement/situation.ts';
import type { Drift } from '../../../common/drift.ts';
import { limits } from '../../../common/limits.ts';
import { type Random, randomOf, seedOf } from '../../e2e/random.ts';
import { enforcementWorld } from '../../fakes/enforcement.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { commit, driftOf, manifestOf, nowMs } from './situations.ts';

const node = 'node1';

function opened(drift: Drift, openedAtMs: number, openedIndex: number): OpenDrift {
  return { node, drift, openedIndex, openedAtMs, commit };
}

/** As the database answers, with as much of a past as there is. */
function past(ended: readonly EndedDriftRow[]) {
  const read: number[] = [];
  const endedDrifts = async (_node: string, { sinceMs, afterIndex }: { sinceMs: number; afterIndex: number }) => {
    const rows = ended.filter(({ endedMs, endedIndex }) => endedMs >= sinceMs && endedIndex > afterIndex);
    const newest = rows.sort((a, b) => b.endedIndex - a.endedIndex).slice(0, limits.maxEndedDriftsRead);
    read.push(newest.length);
    return newest;
  };
  return { endedDrifts, read };
}

describe('the clock of trouble that comes back in a loop', () => {
  const manifest = manifestOf({ graceSeconds: 3_600 });
  /** Each under another name, for 1.9 of 2 seconds. */
  const loop = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, at): EndedDriftRow => {
      const nth = from + at;
      const openedAtMs = nowMs + nth * 2_000;
      const drift = driftOf('UNAUTHORIZED_CONTAINER', `miner${nth}`);
      return { ...opened(drift, openedAtMs, 2 * nth), endedMs: openedAtMs + 1_900, endedIndex: 2 * nth + 1 };
    });
  const next = (nth: number) => opened(driftOf('UNAUTHORIZED_CONTAINER', 'miner'), nowMs + nth * 2_000, 2 * nth);

  test('reaches back for a whole grace period of an hour, though each container lives for two seconds', async () => {
    const clocks = new NodeClocks();
    const found = await clocks.look(past(loop(0, 3_600)), {
      ...{ node, drifts: [next(3_600)], manifest },
      nowMs: nowMs + 3_600 * 2_000,
    });
    assert.ok((found.get(next(3_600).drift.id)?.sinceMs ?? nowMs * 2) <= nowMs + 3_600_000);
  });

  test('is carried further than can be read at once, and what was read is not read again', async () => {
    const clocks = new NodeClocks();
    const rows: EndedDriftRow[] = [];
    const store = past(rows);
    for (let nth = 0; nth < 15_000; nth += 1_000) {
      rows.push(...loop(nth, nth + 1_000));
      const drifts = [next(nth + 1_000)];
      const found = await clocks.look(store, { node, drifts, manifest, nowMs: nowMs + (nth + 1_000) * 2_000 });
      assert.deepEqual([...found.values()], [{ sinceMs: nowMs, openedIndex: 0 }]);
    }
    assert.deepEqual(new Set(store.read), new Set([1_000]));
  });

  test('goes on from what ended in the same look of the node, though it is heard of a moment later', async () => {
    const clocks = new NodeClocks();
    const rows: EndedDriftRow[] = [];
    const [first] = loop(0, 1);
    assert.ok(first);
    const drifts = [opened(driftOf('UNAUTHORIZED_CONTAINER', 'miner'), first.endedMs - 5, 1)];
    const at = { node, drifts, manifest, nowMs: nowMs + 2_000 };
    assert.equal((await clocks.look(past(rows), at)).size, 0);
    rows.push({ ...first, endedIndex: 2 });
    assert.equal((await clocks.look(past(rows), at)).get(drifts[0]?.drift.id ?? '')?.sinceMs, nowMs);
  });
});

/** What a node that comes and goes with containers says, and since when it holds each of them to stand. */
function wildNode(random: Random, { manifest, graceMs }: { manifest: ManifestInForce; graceMs: number }) {
  const grace = { graceMs, wantedImages: manifest.wantedImages?.(node) ?? [] };
  let told: Told = nothingTold;
  let index = 0;
  let atMs = nowMs;
  const standing = new Map<string, OpenDrift>();
  const ended: EndedDriftRow[] = [];
  const look = () => {
    atMs += 1_500 + random.int(0, graceMs / 2);
    const names = Array.from({ length: random.int(0, 3) }, () => random.int(0, 11));
    const seen = new Map(
      names.map((nth) => {
        const drift = driftOf('UNAUTHORIZED_CONTAINER', `id${nth}`);
        const differences = [{ field: 'image', desired: null, observed: `image${random.int(0, 5)}:1` }];
        const kept = standing.get(drift.id)?.drift;
        return [drift.id, kept ?? { ...drift, container: `name${random.int(0, 5)}`, differences }] as const;
      }),
    );
    const compared = { standing: [...seen.values()], held: new Set<string>(), commit, nowMs: atMs, grace };
    const { statements, after } = sayDrifts(told, compared);
    told = after;
    for (const { kind, body } of statements) {
      if (kind === 'drift.opened') standing.set(body.drift.id, opened(body.drift, atMs, index++));
      if (kind !== 'drift.resolved') continue;
      const over = standing.get(body.id) ?? assert.fail('it never stood');
      standing.delete(body.id);
      ended.push({ ...over, endedMs: atMs, endedIndex: index++ });
    }
    return { told, drifts: [...standing.values()], nowMs: atMs };
  };
  return { look, ended };
}

test('node and collector agree since when drifts stand, whatever comes and goes, and however often the collector looks', async () => {
  const seed = seedOf('grace periods');
  const random = randomOf(seed, 'containers');
  const graceMs = 60_000;
  const manifest = { ...manifestOf({ graceSeconds: 60 }), wantedImages: () => ['image0:1', 'image1:1'] };
  const { look, ended } = wildNode(random, { manifest, graceMs });
  const clocks = new NodeClocks();
  const store = past(ended);
  let compared = 0;
  for (let turn = 0; turn < 2_000; turn++) {
    const { told, drifts, nowMs: atMs } = look();
    if (random.chance(0.3)) continue;
    const found = await clocks.look(store, { node, drifts, manifest, nowMs: atMs });
    for (const { drift, openedAtMs } of drifts) {
      if (atMs - openedAtMs >= graceMs) continue;
      compared++;
      // Whose grace period was over when it opened is all the same.
      const within = (sinceMs = openedAtMs) => Math.max(sinceMs, openedAtMs - graceMs);
      const its = told.since.get(drift.id);
      assert.equal(within(found.get(drift.id)?.sinceMs), within(its), `turn ${turn}`);
    }
  }
  assert.ok(compared > 500);
});

test('what a node opens and resolves again in a loop is not remembered without bound', async () => {
  const world = enforcementWorld(nowMs);
  world.rows.push({ node, adopted: { commit, atMs: nowMs - 3_600_000 }, containers: 10 });
  const manifest = manifestOf({ graceSeconds: 86_400 });
  const clocks = new NodeClocks();
  const rounds = new EnforcementRounds({
    ...{ store: world.store, ledger: world.ledger, clock: world.clock, logger: quietLogger },
    dispatcher: { fresh: () => {}, waiting: async () => {}, unwitnessed: [], forget: () => {} },
    freezer: { freeze: async () => ({ frozen: false }) },
    announcements: { inForce: async () => [] },
    random: (bytes) => Buffer.alloc(bytes, 1),
    metrics: { ordered: () => {} },
  });
  for (let look = 0; look < 100; look++) {
    const names = Array.from({ length: 30 }, (_, nth) => `c${look}-${nth}`);
    const stand = names.map((name) => world.open(node, driftOf('UNAUTHORIZED_CONTAINER', name)));
    await rounds.run(node, manifest, clocks);
    for (const { drift } of stand) world.resolve(node, drift.id);
  }
  assert.ok(clocks.seenMs.size <= limits.maxEndedDrifts + 30, `${clocks.seenMs.size} are remembered`);
});
