import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRevocations } from '../../../collector/wiring/revocations.ts';
import type { NodeKey } from '../../../collector/ws/ports.ts';
import { AppError } from '../../../common/errors.ts';
import { fingerprint, generateKeyPair } from '../../../common/keys.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';

const nodeKey = (revoked = false): NodeKey => {
  const { publicKey } = generateKeyPair();
  return { publicKey, fingerprint: fingerprint(publicKey), revoked };
};

/** Nodes with a session each, under the key they are given; `table` is what the database knows by now. */
function fleet(sessions: Record<string, NodeKey>, table: Record<string, NodeKey | 'unreadable'>) {
  const open = new Map(Object.entries(sessions));
  const asked: string[] = [];
  const revocations = createRevocations({
    nodes: {
      key: async (node) => {
        asked.push(node);
        const known = table[node];
        if (known === 'unreadable') throw new AppError('database.unreachable', 'gone', { retryable: true });
        return known;
      },
    },
    sockets: {
      sessions: () =>
        [...open].map(([node, key]) => ({
          ...{ node, fingerprint: key.fingerprint, version: '0.1.0', remote: '127.0.0.1', sinceMs: 0 },
        })),
      disconnect: (node) => void open.delete(node),
    },
    logger: quietLogger,
  });
  return { revocations, asked, open: () => [...open.keys()] };
}

test('a session ends when its key was revoked, replaced, or cannot be looked up, and not because somebody says so', async () => {
  const [sound, gone, old, unknown] = [nodeKey(), nodeKey(), nodeKey(), nodeKey()];
  const { revocations, asked, open } = fleet(
    { last: unknown, sound, gone, old, unknown },
    { sound, gone: { ...gone, revoked: true }, old: nodeKey(), last: 'unreadable' },
  );
  for (const node of ['sound', 'gone', 'old', 'unknown', 'nobody', "'; drop table nodes; --"]) {
    revocations.announced(node);
  }
  await until('looked at', () => open().length === 2);
  assert.deepEqual(asked, ['sound', 'gone', 'old', 'unknown'], 'who has no session is not looked up');
  revocations.lookAtAll();
  await until('looked at', () => open().length === 1);
  assert.deepEqual(open(), ['sound']);
});

test('a thousand announcements cost one look', async () => {
  const [sound, last] = [nodeKey(), nodeKey()];
  const { revocations, asked, open } = fleet({ sound, last }, { sound });
  for (let i = 0; i < 1_000; i++) revocations.announced('sound');
  revocations.announced('last');
  await until('looked at', () => !open().includes('last'));
  assert.deepEqual(asked, ['sound', 'last']);
});
