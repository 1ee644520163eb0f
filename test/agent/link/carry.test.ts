import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createErrands } from '../../../agent/link/errands.ts';
import { createWitness } from '../../../agent/link/witness.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { until } from '../../until.ts';
import { memoryForkDesk, startAgent, startCollector, statement } from '../../wire.ts';

async function connected() {
  const collector = await startCollector();
  const keys = generateKeyPair();
  collector.nodes.enrol('node1', keys);
  return { collector, agent: startAgent(collector, { keys }) };
}

test('what is carried has its turn between two connections, with what they know, and the link goes on', async () => {
  const { collector, agent } = await connected();
  agent.outbox.append(statement(1));
  await until('acknowledged', () => agent.outbox.depth === 0);
  const opened = collector.counts.opened;
  const held = await agent.link.carry(async (witness) => {
    await until('nobody is connected', () => collector.counts.closed === opened);
    return witness.held?.size;
  });
  assert.equal(held, 1);
  agent.outbox.append(statement(2));
  await until('acknowledged again', () => agent.outbox.depth === 0);
  assert.equal(collector.ledger.entries.length, 2);
  await agent.link.stop();
  await collector.close();
});

test('what is carried while the link is about to connect has its turn, and the link goes on', async () => {
  for (let turns = 0; turns < 8; turns += 1) {
    const { collector, agent } = await connected();
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await agent.link.carry(async () => {});
    agent.outbox.append(statement(1));
    await until('acknowledged', () => agent.outbox.depth === 0);
    await agent.link.stop();
    await collector.close();
  }
});

test('what is carried fails for itself', async () => {
  const { collector, agent } = await connected();
  await assert.rejects(
    agent.link.carry(async () => Promise.reject(new Error('torn'))),
    /torn/,
  );
  agent.outbox.append(statement(1));
  await until('acknowledged', () => agent.outbox.depth === 0);
  await agent.link.stop();
  await assert.rejects(
    agent.link.carry(async () => {}),
    { code: 'state.conflict' },
  );
  await collector.close();
});

test('nothing is carried in while a fork stands', async () => {
  const collector = await startCollector();
  const desk = memoryForkDesk([]);
  await desk.keep({ kind: 'witness.fork', body: { held: 'a', offered: 'b', reason: 'two trees' } });
  const agent = startAgent(collector, { desk });
  await assert.rejects(
    agent.link.carry(async () => {}),
    { code: 'ledger.forked' },
  );
  await agent.link.stop();
  await collector.close();
});

test('an errand that comes while another runs has its turn before a connection', async () => {
  const witness = createWitness(parseVerifierKey(memoryLedger().vkey), undefined);
  const errands = createErrands(new AbortController().signal);
  const order: string[] = [];
  const first = errands.add(async () => {
    void errands.add(async () => void order.push('second'));
    order.push('first');
  });
  const undisturbed = errands.undisturbed();
  assert.ok(!undisturbed.aborted);
  await errands.run(witness);
  await first;
  assert.deepEqual(order, ['first', 'second']);
  assert.ok(undisturbed.aborted);
  assert.ok(!errands.undisturbed().aborted);
});
