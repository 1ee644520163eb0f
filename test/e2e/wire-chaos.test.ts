import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import fc from 'fast-check';
import { startLink } from '../../agent/link/link.ts';
import { openOutbox } from '../../agent/outbox/outbox.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { type ConnectionFate, chaosProxy } from '../fakes/chaos-proxy.ts';
import { until } from '../until.ts';
import {
  memoryForkDesk,
  quickBounds,
  recordingLogger,
  startAgent,
  startCollector,
  statement,
  systemClock,
  type TestCollector,
} from '../wire.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(cleanUp);

async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

const bounds = { ...quickBounds, ackTimeoutMs: 150, handshakeTimeoutMs: 300, pingIntervalMs: 100, pongTimeoutMs: 100 };
const patience = { incumbentProbeMs: 20, handshakeTimeoutMs: 300, pingIntervalMs: 100, pongTimeoutMs: 100 };
const seqs = ({ ledger }: TestCollector) => ledger.entries.map(({ entry }) => entry.seq);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

const fate: fc.Arbitrary<ConnectionFate> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ cutAfterBytes: fc.integer({ min: 0, max: 60_000 }) }) },
  { weight: 1, arbitrary: fc.record({ muteAfterBytes: fc.integer({ min: 0, max: 60_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      maxChunkBytes: fc.integer({ min: 100, max: 5_000 }),
      delayMs: fc.constantFrom(0, 1),
      cutAfterBytes: fc.integer({ min: 1_000, max: 60_000 }),
    }),
  },
);

const everyEntryOnce = fc.asyncProperty(
  fc.array(fate, { minLength: 3, maxLength: 6 }),
  fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 4 }),
  async (fates, bursts) => {
    try {
      const collector = await startCollector({ bounds: patience });
      cleanups.push(collector.close);
      const proxy = await chaosProxy(collector.port, (connection) => fates[connection] ?? {});
      cleanups.push(proxy.close);
      const keys = generateKeyPair();
      collector.nodes.enrol('node1', keys);
      const { outbox, link } = startAgent(collector, { keys, port: proxy.port, bounds });
      cleanups.push(link.stop);
      let said = 0;
      for (const burst of bursts) {
        for (let i = 0; i < burst; i++) outbox.append(statement(++said));
        await until('something moved', () => outbox.depth < burst || proxy.connections > fates.length);
      }
      await until('the outbox is empty', () => outbox.depth === 0);
      assert.deepEqual(seqs(collector), upTo(said));
      assert.equal(outbox.acked.seq, said);
      assert.deepEqual(
        outbox.trims,
        [...outbox.trims].sort((a, b) => a - b),
      );
    } finally {
      await cleanUp();
    }
  },
);

test('whatever the network does, every entry is in the ledger exactly once and the outbox ends empty', async () => {
  await fc.assert(everyEntryOnce, { numRuns: 12 });
});

test('an entry whose ack was lost is sent again and acknowledged again, and is in the ledger once', async () => {
  const collector = await startCollector({ bounds: patience });
  cleanups.push(collector.close);
  const proxy = await chaosProxy(collector.port, () => ({}));
  cleanups.push(proxy.close);
  const keys = generateKeyPair();
  collector.nodes.enrol('node1', keys);
  collector.ledger.onCommitted(() => {
    if (collector.ledger.appends === 1) proxy.cutAll();
  });
  const from = startAgent(collector, { keys, port: proxy.port, bounds });
  cleanups.push(from.link.stop);
  for (let i = 1; i <= 10; i++) from.outbox.append(statement(i));
  await until('acknowledged', () => from.outbox.depth === 0);
  assert.ok(collector.ledger.appends >= 2, 'the batch was sent again');
  assert.deepEqual(seqs(collector), upTo(10));
});

test('the real outbox is emptied through cuts, and a restarted agent goes on where it stood', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'sigilwatch-wire-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const collector = await startCollector({ bounds: patience });
  cleanups.push(collector.close);
  const proxy = await chaosProxy(collector.port, (connection) =>
    connection < 4 ? { cutAfterBytes: 9_000 * (connection + 1) } : {},
  );
  cleanups.push(proxy.close);
  const keys = generateKeyPair();
  collector.nodes.enrol('node1', keys);
  const { origin, vkey } = collector.ledger;
  let said = 0;
  for (let run = 1; run <= 2; run++) {
    const outbox = await openOutbox({
      dir: join(dir, 'outbox'),
      author: 'node1',
      privateKey: keys.privateKey,
      clock: systemClock,
      maxBytes: 4 * 1024 * 1024,
      reservedShare: 0.2,
      reserveFileBytes: 64 * 1024,
    });
    const link = startLink({
      node: 'node1',
      version: '0.1.0',
      keys,
      collector: { url: `http://127.0.0.1:${proxy.port}`, origin, vkey },
      outbox,
      forks: memoryForkDesk([]),
      clock: systemClock,
      random: Math.random,
      logger: recordingLogger([]),
      bounds,
    });
    for (let batch = 0; batch < 10; batch++) {
      await outbox.append(Array.from({ length: 30 }, () => statement(++said)));
    }
    await until(`run ${run}: the outbox is empty`, () => outbox.depth === 0);
    await link.stop();
    await outbox.close();
  }
  assert.deepEqual(seqs(collector), upTo(said));
});
