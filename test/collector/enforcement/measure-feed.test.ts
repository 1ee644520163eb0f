import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMeasureFeed } from '../../../collector/enforcement/measure-feed.ts';
import type { MeasureRow } from '../../../collector/enforcement/measure-ports.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import { limits } from '../../../common/limits.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { nowMs } from './situations.ts';

const day = 86_400_000;

async function toldAll({ node, ends, areAll = true }: { node: string; ends: number; areAll?: boolean }) {
  const text = announcementText({ node, container: 'web', image: 'app:2', until: new Date(ends).toISOString() });
  const approval = { approver: 'ada', signature: '' };
  const rows = Array.from({ length: limits.maxMeasuresTold + 1 }, (_, index): MeasureRow => {
    return { index, order: null, said: { kind: 'change.announced', body: { text, approval } } };
  });
  const said: boolean[] = [];
  const feed = createMeasureFeed({
    store: { measuresFor: async () => ({ rows, areAll }), measuresAfter: async () => [], lastMeasure: async () => 501 },
    carrier: { nodes: () => ['node1'], tell: () => true, measured: (_, all) => said.push(all) > 0 },
    clock: { now: () => nowMs },
    logger: quietLogger,
  });
  feed.came('node1');
  await until('it was told', () => said.length === 1);
  await feed.stop();
  return said[0];
}

test('what concerns other nodes, or is long over, keeps no node from knowing everything', async () => {
  assert.equal(await toldAll({ node: 'node2', ends: nowMs + day }), true);
  assert.equal(await toldAll({ node: 'node1', ends: nowMs - day }), true);
});

test('a node that more concerns than it is told knows that, and so does one of whose measures not all were read', async () => {
  assert.equal(await toldAll({ node: 'node1', ends: nowMs + day }), false);
  assert.equal(await toldAll({ node: 'node2', ends: nowMs + day, areAll: false }), false);
});
