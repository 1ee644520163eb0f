import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rebuildGap } from '../../../agent/docker/gap.ts';
import type { ObservedContainer } from '../../../common/observed.ts';

const at = (second: number): string => `2026-01-02T03:04:${String(second).padStart(2, '0')}.123456789Z`;
const ms = (second: number): number => Date.parse(at(second));

function container(name: string, startedAt: string | null, finishedAt: string | null): ObservedContainer {
  const state = finishedAt === null ? 'running' : 'exited';
  const rest = { image: 'a:1', imageId: 'sha256:0', health: 'none', exitCode: 0, restartCount: 0 } as const;
  return { id: `id of ${name}`, name, state, ...rest, createdAt: at(0), startedAt, finishedAt };
}

test('what started or finished in the gap is told, earliest first, and nothing outside of it', () => {
  const containers = [
    container('ended inside', at(5), at(25)),
    container('began inside', at(22), null),
    container('lived inside', at(21), at(23)),
    container('before', at(5), at(9)),
    container('after', at(31), at(33)),
    container('never started', null, null),
    container('outlived it', at(29), at(40)),
  ];
  assert.deepEqual(
    rebuildGap(containers, ms(20), ms(30)).map(({ name, startedAt, finishedAt }) => [name, startedAt, finishedAt]),
    [
      ['lived inside', at(21), at(23)],
      ['began inside', at(22), null],
      ['ended inside', null, at(25)],
      ['outlived it', at(29), null],
    ],
  );
});

test('both ends belong to the gap', () => {
  const edges = [container('a', at(20), null), container('b', at(30), null)];
  assert.equal(rebuildGap(edges, ms(20), ms(30)).length, 2);
  assert.equal(rebuildGap(edges, ms(20) + 1, ms(30) - 1).length, 0);
});
