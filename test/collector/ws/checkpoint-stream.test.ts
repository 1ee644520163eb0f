import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { createCheckpointStream } from '../../../collector/ws/checkpoint-stream.ts';
import type { Placed } from '../../../collector/ws/ports.ts';
import { toAppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { parseNote } from '../../../common/note.ts';
import { testAuthor } from '../../authors.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { until } from '../../until.ts';

test('entries sent again to a database that was put back are not acknowledged: it is found out', async () => {
  const store = new FakeLedgerStore();
  const ledger = await startLedger(store);
  const author = testAuthor('node1');
  const first = author.more(10);
  await ledger.append(first);
  const putBack = store.snapshot();
  await ledger.append(author.more(90));
  const { size } = await ledger.checkpoint();
  putBack();
  const again: readonly Placed[] = await ledger.append(first);
  assert.equal(await answerTo(again, { ledger, startSize: size }), 'ledger.tampered');
});

test('an ack of what was just committed asks the database for no tree head', async () => {
  const heads = new (class extends FakeLedgerStore {
    asked = 0;
    override head() {
      this.asked += 1;
      return super.head();
    }
  })();
  const ledger = await startLedger(heads);
  const placed: readonly Placed[] = await ledger.append(testAuthor('node1').more(3));
  const before = heads.asked;
  assert.equal(await answerTo(placed, { ledger, startSize: 1 }), 'ack');
  assert.equal(heads.asked, before);
});

test('an agent that passed an offer over is asked again, one that answered is not', async () => {
  const ledger = await startLedger(new FakeLedgerStore());
  await ledger.append(testAuthor('node1').more(3));
  const { size, note } = await ledger.checkpoint();
  const offer = { size, note, text: parseNote(note).text };
  const sent: string[] = [];
  let missed = 0;
  const stream = createCheckpointStream({
    ...{ ledger, startSize: size },
    rounds: { forming: undefined, missed: () => missed++ },
    send: async (message) => {
      if (message.type === 'checkpoint') sent.push(`checkpoint ${message.checkpoint.consistency.length}`);
      else sent.push(message.type);
    },
    acknowledged: () => {},
    fail: (thrown) => sent.push(toAppError(thrown).message),
  });
  const offered = async (times: number) => {
    stream.offer(offer);
    await until('offered', () => sent.length === times);
  };
  await offered(1);
  // The first came too soon for it; it is the second that it answers, or both.
  for (let i = 2; i <= limits.maxOffersUnanswered + 2; i++) await offered(i);
  assert.equal(stream.answered(size), offer);
  assert.equal(stream.answered(size), offer);
  const before = [...sent];
  stream.offer(offer);
  await setImmediate();
  assert.deepEqual(sent, before);
  assert.deepEqual(new Set(sent), new Set(['checkpoint 0']));
  assert.throws(() => stream.answered(size - 1), { code: 'validation.protocol' });
  assert.equal(missed, 0);
});

test('an agent answers no more often than it was asked', async () => {
  const ledger = await startLedger(new FakeLedgerStore());
  const { size, note } = await ledger.checkpoint();
  const sent: string[] = [];
  const stream = createCheckpointStream({
    ...{ ledger, startSize: size },
    rounds: { forming: undefined, missed: () => {} },
    send: async ({ type }) => void sent.push(type),
    acknowledged: () => {},
    fail: (thrown) => sent.push(toAppError(thrown).message),
  });
  stream.offer({ size, note, text: parseNote(note).text });
  await until('offered', () => sent.length === 1);
  stream.answered(size);
  assert.throws(() => stream.answered(size), { code: 'validation.protocol' });
});

/** What comes of acknowledging: the type of the message that was sent, or the code of the failure. */
function answerTo(placed: readonly Placed[], from: { ledger: Ledger; startSize: number }): Promise<string> {
  return new Promise((resolve) => {
    const stream = createCheckpointStream({
      ...from,
      rounds: { forming: undefined, missed: () => {} },
      send: async ({ type }) => resolve(type),
      acknowledged: () => {},
      fail: (thrown) => resolve(toAppError(thrown).code),
    });
    stream.acknowledge({ places: placed, receivedMs: 0 });
  });
}
