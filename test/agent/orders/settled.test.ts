import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Origin } from '../../../agent/desired/standing.ts';
import { Settling } from '../../../agent/orders/settled.ts';
import { commit, policyOf } from '../../common/enforcement/ground.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';

const policy = policyOf('governance: {settling_time: 15}\n');
const other = 'd'.repeat(40);

/** One run of the program, whose clock and connection go on as they are told to. */
function ground(journal = fakeJournal()) {
  const spans = { ms: 0, connectedMs: 0 };
  const settling = new Settling({
    ...{ journal, logger: quietLogger },
    monotonicMs: () => spans.ms,
    connectedMs: () => spans.connectedMs,
  });
  const pass = (seconds: number, isConnected: boolean): void => {
    spans.ms += seconds * 1_000;
    if (isConnected) spans.connectedMs += seconds * 1_000;
  };
  const has = (of: string, origin: Origin) => settling.hasSettled({ commit: of, origin, policy });
  return { journal, settling, pass, has };
}

describe('a commit has settled on a node', () => {
  test('that the collector has brought, once it was connected for long enough to hear of a freeze', () => {
    const { has, pass } = ground();
    pass(3_600, true);
    assert.equal(has(commit, 'collector'), false, 'what was before does not count');
    pass(14, true);
    pass(3_600, false);
    assert.equal(has(commit, 'collector'), false);
    pass(1, true);
    assert.equal(has(commit, 'collector'), true);
  });

  test('that was imported by hand, or comes from a repository, once it was held for long enough', () => {
    for (const origin of ['stick', 'repository'] as const) {
      const { has, pass } = ground();
      assert.equal(has(commit, origin), false);
      pass(14.999, false);
      assert.equal(has(commit, origin), false);
      pass(0.001, false);
      assert.equal(has(commit, origin), true);
    }
  });

  test('and stays so over restarts; one that has not begins anew', async () => {
    const first = ground();
    first.has(commit, 'collector');
    first.pass(14, true);
    first.has(commit, 'collector');
    await first.settling.flush();
    const second = ground(first.journal);
    await second.settling.restore();
    second.has(commit, 'collector');
    second.pass(14, true);
    assert.equal(second.has(commit, 'collector'), false);
    second.pass(1, true);
    assert.equal(second.has(commit, 'collector'), true);
    await second.settling.flush();
    const third = ground(second.journal);
    await third.settling.restore();
    assert.equal(third.has(commit, 'collector'), true);
  });

  test('and has to do so anew when the node goes back to it', async () => {
    const { journal, has, pass, settling } = ground();
    has(commit, 'stick');
    pass(15, false);
    assert.equal(has(commit, 'stick'), true);
    has(other, 'stick');
    assert.equal(has(commit, 'stick'), false);
    await settling.flush();
    assert.equal((await journal.state('settled')).size, 0);
  });

  test('and is written down once the disk takes it, also into a journal that knows nothing of it', async () => {
    const { journal, has, pass, settling } = ground();
    has(commit, 'stick');
    pass(15, false);
    journal.mood = 'write_failed';
    assert.equal(has(commit, 'stick'), true);
    await settling.flush();
    journal.mood = 'well';
    assert.equal(has(commit, 'stick'), true);
    await settling.flush();
    assert.equal((await journal.state('settled')).size, 1);
    journal.loseState();
    await settling.retell();
    assert.equal((await journal.state('settled')).size, 1);
  });
});
