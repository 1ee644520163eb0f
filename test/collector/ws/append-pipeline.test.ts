import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAppendPipeline } from '../../../collector/ws/append-pipeline.ts';
import { createVerifier } from '../../../collector/ws/verify.ts';
import { generateKeyPair, verifyBytesAsync } from '../../../common/keys.ts';
import { toWire } from '../../../common/protocol.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { until } from '../../until.ts';
import { statement } from '../../wire.ts';

test('how long an ack took is counted from its frame until the ack has left', async () => {
  const keys = generateKeyPair();
  const outbox = memoryOutbox('node1', keys.privateKey);
  const ledger = memoryLedger();
  const clock = { at: 1_000, now: () => clock.at, monotonicMs: () => clock.at };
  const timed: { readonly entries: number; readonly tookMs: number }[] = [];
  const leaving: (() => void)[] = [];
  const pipeline = createAppendPipeline({
    ...{ ledger, clock, startSize: 0, random: () => 0.5, author: { node: 'node1', publicKey: keys.publicKey } },
    verify: createVerifier(verifyBytesAsync),
    rounds: { forming: undefined, missed: () => {} },
    sleep: async () => {},
    over: () => false,
    appended: () => {},
    send: () => new Promise((resolve) => leaving.push(resolve)),
    acknowledged: (entries, tookMs) => timed.push({ entries, tookMs }),
    fail: (thrown) => assert.fail(String(thrown)),
  });
  const entries = [1, 2, 3].map((i) => toWire(outbox.append(statement(i))));
  await pipeline.offer(entries, clock.at - 7);
  await until('the ack is on its way', () => leaving.length === 1);
  assert.deepEqual(timed, []);
  clock.at += 40;
  leaving[0]?.();
  await until('acknowledged', () => timed.length > 0);
  assert.deepEqual(timed, [{ entries: 3, tookMs: 47 }]);
});
