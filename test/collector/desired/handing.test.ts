import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createHanding } from '../../../collector/desired/handing.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import type { Holding } from '../../../common/protocol.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';

const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(40));
const at = (commit: string | undefined, more: Partial<Holding> = {}): Holding => {
  return { commit: commit ?? null, base: commit ?? null, takes: true, ...more };
};

/** What was sent to whom: the commit, and what it builds on. */
function bench() {
  const sent: string[] = [];
  const asked: string[] = [];
  const world = { head: b ?? '', open: true };
  const handing = createHanding({
    follower: {
      get adopted() {
        return { commit: world.head, manifest: parseManifest('containers: []'), adoptedAtMs: 0, earlier: [] };
      },
      bundleFor: async (have) => {
        asked.push(have ?? 'whole');
        return { commit: world.head, bytes: Buffer.from(`${world.head[0]} on ${have?.[0] ?? 'nothing'}`) };
      },
    },
    send: (node, _, bytes) => {
      if (world.open) sent.push(`${node}: ${bytes}`);
      return world.open;
    },
    logger: quietLogger,
  });
  return { handing, sent, asked, world };
}

describe('a commit is handed over', () => {
  test('as what leads to it from the one that the node has', async () => {
    const { handing, sent } = bench();
    handing.came('lyra');
    handing.holds('lyra', at(a));
    handing.holds('node1', at(undefined));
    await until('both', () => sent.length === 2);
    assert.deepEqual(sent.sort(), ['lyra: b on a', 'node1: b on nothing']);
  });

  test('to nobody who has it, or takes none', async () => {
    const { handing, sent, asked } = bench();
    handing.holds('lyra', at(b));
    handing.holds('node1', at(a, { takes: false }));
    handing.holds('node2', at(b, { base: null }));
    handing.changed();
    handing.holds('node3', at(a));
    await until('the last one', () => sent.length > 0);
    assert.deepEqual([sent, asked], [['node3: b on a'], [a]]);
  });

  test('whole to a node that says it does not hold what the last one builds on, once', async () => {
    const { handing, sent } = bench();
    handing.holds('lyra', at(a));
    await until('a part', () => sent.length === 1);
    handing.holds('lyra', at(a, { base: null }));
    await until('the whole', () => sent.length === 2);
    handing.holds('lyra', at(a, { base: null }));
    handing.changed();
    handing.holds('node1', at(a));
    await until('another node', () => sent.length === 3);
    assert.deepEqual(sent, ['lyra: b on a', 'lyra: b on nothing', 'node1: b on a']);
  });

  test('again in a new session, where the one before was cut in the middle', async () => {
    const { handing, sent, world } = bench();
    handing.holds('lyra', at(a));
    await until('the first', () => sent.length === 1);
    handing.came('lyra');
    world.head = c ?? '';
    handing.changed();
    handing.holds('lyra', at(a));
    await until('the second', () => sent.length === 2);
    assert.deepEqual(sent, ['lyra: b on a', 'lyra: c on a']);
  });

  test('when it changes, to every node from what that has', async () => {
    const { handing, sent, world } = bench();
    handing.holds('lyra', at(b));
    handing.holds('node1', at(a));
    await until('node1', () => sent.length === 1);
    world.head = c ?? '';
    handing.changed();
    await until('both', () => sent.length === 3);
    assert.deepEqual(sent.slice(1).sort(), ['lyra: c on b', 'node1: c on a']);
  });

  test('later, when the node could not be reached', async () => {
    const { handing, sent, asked, world } = bench();
    world.open = false;
    handing.holds('lyra', at(a));
    await until('tried', () => asked.length === 1);
    world.open = true;
    handing.changed();
    await until('sent', () => sent.length === 1);
  });
});
