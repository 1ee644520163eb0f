import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { createCheckpointStream } from '../../../collector/ws/checkpoint-stream.ts';
import type { Placed } from '../../../collector/ws/ports.ts';
import { toAppError } from '../../../common/errors.ts';
import { testAuthor } from '../../authors.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';

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
    stream.acknowledge(placed);
  });
}
