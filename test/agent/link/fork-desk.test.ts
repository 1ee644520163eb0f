import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { type ForkDesk, openForkDesk, releaseFork, unreleasedForks } from '../../../agent/link/fork-desk.ts';
import { createLinkAccount } from '../../../agent/link/status.ts';
import { createWitness } from '../../../agent/link/witness.ts';
import { type Outbox, openOutbox } from '../../../agent/outbox/outbox.ts';
import type { Journal } from '../../../agent/ports.ts';
import { genesis } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { memoryLedger } from '../../fakes/ledger.ts';
import { memoryOutbox } from '../../fakes/outbox.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { startAgent, startCollector, statement, systemClock } from '../../wire.ts';

const welcome = { clockOffsetMs: 0, collector: { protocol: 'sigilwatch.v1', version: '0.1.0' } };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sigilwatch-forks-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const keys = generateKeyPair();

async function outboxIn(dataDir: string): Promise<Outbox> {
  const outbox = await openOutbox({
    dir: join(dataDir, 'outbox'),
    author: 'node1',
    privateKey: keys.privateKey,
    clock: systemClock,
    maxBytes: 1024 * 1024,
    reservedShare: 0.2,
    reserveFileBytes: 64 * 1024,
  });
  cleanups.push(() => outbox.close());
  return outbox;
}

const deskOf = (dataDir: string, journal: Journal): Promise<ForkDesk> =>
  openForkDesk({ dataDir, journal, clock: systemClock, logger: quietLogger });

async function someFork() {
  const ledger = memoryLedger();
  const author = memoryOutbox('node2', generateKeyPair().privateKey);
  await ledger.append([1, 2, 3].map((i) => author.append(statement(i))));
  const witness = createWitness(parseVerifierKey(ledger.vkey), (await ledger.checkpoint()).note);
  const { note } = await ledger.fork(1).checkpoint();
  assert.throws(() => witness.accept({ note, consistency: [] }));
  assert.ok(witness.fork);
  return witness.fork;
}

async function kindsIn(outbox: Outbox): Promise<string[]> {
  await outbox.anchor(genesis);
  const entries = await outbox.read(0, { maxEntries: 100, maxBytes: 1e6 });
  return entries.map(({ entry }) => entry.kind);
}

test('a fork survives restarts until it is released, and each is one entry', async () => {
  const dataDir = await folder();
  const fork = await someFork();
  let outbox = await outboxIn(dataDir);
  let desk = await deskOf(dataDir, outbox);
  assert.equal(await desk.settle(3), true);
  await desk.keep(fork);
  await desk.keep(fork);
  const [standing] = await unreleasedForks(dataDir);
  assert.ok(standing);
  assert.deepEqual(desk.standing, standing);
  assert.deepEqual([standing.held, standing.offered], [fork.body.held, fork.body.offered]);
  for (let restart = 0; restart < 2; restart++) {
    await outbox.close();
    outbox = await outboxIn(dataDir);
    desk = await deskOf(dataDir, outbox);
    assert.equal(desk.standing?.id, standing.id);
    assert.equal(await desk.settle(3), false);
  }
  await releaseFork(dataDir, { id: standing.id, at: new Date().toISOString(), reason: 'a restored backup' });
  assert.deepEqual(await unreleasedForks(dataDir), []);
  // As after a crash between the two: the agent has yet to put it on record.
  await outbox.close();
  outbox = await outboxIn(dataDir);
  desk = await deskOf(dataDir, outbox);
  assert.equal(desk.standing?.id, standing.id);
  assert.equal(await desk.settle(3), true);
  assert.equal(desk.standing, undefined);
  assert.deepEqual(await kindsIn(outbox), ['witness.fork', 'witness.released']);
  await outbox.close();
  outbox = await outboxIn(dataDir);
  assert.equal((await deskOf(dataDir, outbox)).standing, undefined);
  assert.deepEqual(await kindsIn(outbox), ['witness.fork', 'witness.released']);
});

test('a fork stands when only its file or only its entry could be written, and the rest follows', async () => {
  const fork = await someFork();
  for (const lost of ['file', 'entry'] as const) {
    const dataDir = await folder();
    const outbox = await outboxIn(dataDir);
    const full: Journal = {
      append: () => Promise.reject(new AppError('outbox.full', 'no room', { retryable: true })),
      state: (prefix) => outbox.state(prefix),
    };
    if (lost === 'file') await writeFile(join(dataDir, 'evidence'), 'in the way');
    const desk = await deskOf(dataDir, lost === 'entry' ? full : outbox).catch(async () => undefined);
    if (lost === 'file') {
      // The folder cannot even be read: refused rather than trusted.
      assert.equal(desk, undefined);
      await rm(join(dataDir, 'evidence'));
      continue;
    }
    await assert.rejects(desk?.keep(fork) ?? Promise.resolve());
    assert.ok(desk?.standing);
    const again = await deskOf(dataDir, outbox);
    assert.equal(again.standing?.id, desk.standing.id);
    assert.equal(await again.settle(3), false);
    assert.deepEqual(await kindsIn(outbox), ['witness.fork']);
  }
});

test('a fork stands and is told from the moment it is found, whatever hangs', async () => {
  const dataDir = await folder();
  const outbox = await outboxIn(dataDir);
  const hanging: Journal = { append: () => new Promise(() => {}), state: (prefix) => outbox.state(prefix) };
  const desk = await deskOf(dataDir, hanging);
  const account = createLinkAccount({ clock: systemClock, logger: quietLogger, collectorUrl: 'http://collector' });
  account.welcomed(welcome, 0);
  const books = { acked: genesis, checkpoint: () => undefined };
  assert.equal(account.status(books, desk.standing).state, 'connected');
  void desk.keep(await someFork());
  assert.ok(desk.standing);
  const { state, witness } = account.status(books, desk.standing);
  assert.deepEqual([state, witness.fork?.id], ['forked', desk.standing.id]);
  await until('the file', async () => (await unreleasedForks(dataDir)).length === 1);
});

test('evidence that disappears or is damaged does not make the agent trust again', async () => {
  const fork = await someFork();
  const dataDir = await folder();
  const outbox = await outboxIn(dataDir);
  const desk = await deskOf(dataDir, outbox);
  await desk.keep(fork);
  const dir = join(dataDir, 'evidence');
  await rm(dir, { recursive: true });
  const again = await deskOf(dataDir, outbox);
  assert.equal(again.standing?.reason, fork.body.reason);
  assert.equal(await again.settle(3), false);
  const [name = ''] = await readdir(dir);
  const restored: unknown = JSON.parse(await readFile(join(dir, name), 'utf8'));
  assert.deepEqual({ ...Object(restored), at: '' }, { ...fork.body, at: '' });

  const other = await folder();
  const bare = await outboxIn(other);
  await (await deskOf(other, bare)).keep(fork);
  await bare.append([], [{ key: 'witness.fork', value: undefined }]);
  const [file = ''] = await readdir(join(other, 'evidence'));
  await writeFile(join(other, 'evidence', file), 'x');
  assert.match((await deskOf(other, bare)).standing?.reason ?? '', /cannot be read as evidence/);
});

test('an agent that stands by a fork sends nothing until it is released, then goes on from what it held', async () => {
  const dataDir = await folder();
  const honest = await startCollector();
  const port = honest.port();
  const outbox = memoryOutbox('node1', keys.privateKey);
  honest.nodes.enrol('node1', keys);
  const journal = await outboxIn(dataDir);
  const open = async () => startAgent(honest, { keys, outbox, port, desk: await deskOf(dataDir, journal) });
  let agent = await open();
  outbox.append(statement(1));
  outbox.append(statement(2));
  await until('acknowledged', () => outbox.depth === 0);
  await honest.close();
  const rolledBack = await startCollector({ ledger: honest.ledger.fork(1), nodes: honest.nodes, port });
  await until('forked', () => agent.link.status().state === 'forked');
  assert.equal(agent.link.trusted, false);
  await agent.link.stop();
  await rolledBack.close();

  // Back with the true ledger, and restarted: still nothing.
  const restored = await startCollector({ ledger: honest.ledger, nodes: honest.nodes, port });
  cleanups.push(() => restored.close());
  agent = await open();
  cleanups.push(() => agent.link.stop());
  outbox.append(statement(3));
  await until('stands', () => agent.link.status().state === 'forked');
  assert.deepEqual([outbox.depth, restored.counts.opened, agent.link.trusted], [1, 0, false]);

  const [fork] = await unreleasedForks(dataDir);
  await releaseFork(dataDir, { id: fork?.id ?? '', at: new Date().toISOString(), reason: 'repaired' });
  await until('goes on', () => outbox.depth === 0);
  assert.equal(agent.link.trusted, true);
  assert.equal(agent.link.status().witness.fork, null);
});
