import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createMeasureFeed, type MeasureFeed } from '../../../collector/enforcement/measure-feed.ts';
import type { MeasureDispatch, MeasureStore } from '../../../collector/enforcement/measure-ports.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { listen } from '../../../collector/postgres/listen.ts';
import { measuresChannel, postgresMeasureStore } from '../../../collector/postgres/measure-store.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import type { KeyPair } from '../../../common/keys.ts';
import type { Body, Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { startLedger } from '../../ledgers.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { enrolDirectly, say } from './collectors.ts';

const nowMs = firstEntryMs + 86_400_000;
const hourMs = 3_600_000;
const commit = 'c'.repeat(40);
const at = (ms: number) => new Date(nowMs + ms).toISOString();
const [actor, reason] = ['operator', 'a test'];

let postgres: TestPostgres;
let url: string;
let ledger: Ledger;
let store: MeasureStore;
let keys: Record<'lyra' | 'node1', KeyPair>;
let nonces = 0;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});
beforeEach(async () => {
  url = await postgres.migratedDatabase();
  const db = postgres.pool(url);
  ledger = await startLedger(postgresLedgerStore(db));
  store = postgresMeasureStore(db);
  keys = { lyra: await enrolDirectly(ledger, 'lyra'), node1: await enrolDirectly(ledger, 'node1') };
  await adopt('lyra', commit);
});

const record = async (statement: Statement): Promise<number> => (await ledger.record(statement)).index;
const adopt = (node: 'lyra' | 'node1', of: string) =>
  say(ledger, node, keys[node], [
    { kind: 'desired.adopted', body: { commit: of, digest: 'd'.repeat(64), containers: 0 } },
  ]);
const freeze = (of: string) =>
  record({ kind: 'enforcement.frozen', body: { commit: of, drift: 'IMAGE_DRIFT', nodes: ['lyra'], reason } });
const release = (of: string) => record({ kind: 'enforcement.released', body: { commit: of, actor, reason } });
const silence = (name: string, ms: number, scope: Partial<Body<'drift.silenced'>['scope']> = {}) =>
  record({
    kind: 'drift.silenced',
    body: {
      ...{ id: Buffer.from(name).toString('hex').padEnd(64, '0'), until: at(ms), actor, reason },
      scope: { node: null, container: null, kind: 'IMAGE_DRIFT', ...scope },
    },
  });
const unsilence = (name: string) =>
  record({
    kind: 'drift.unsilenced',
    body: { id: Buffer.from(name).toString('hex').padEnd(64, '0'), actor, reason },
  });
const announce = (node: string | null, ms: number) => {
  const text = announcementText({ node, container: 'web', image: 'web:2', until: at(ms) });
  return record({ kind: 'change.announced', body: { text, approval: { approver: 'ada', signature: 's' } } });
};

async function reject(different: Partial<Order>): Promise<number> {
  nonces += 1;
  const drift = { id: 'd1', kind: 'IMAGE_DRIFT', digest: 'e'.repeat(64) } as const;
  const order = orderOf({ issuedMs: nowMs, drift, commit, nonce: `${nonces}`.padStart(32, '0'), ...different });
  await record({ kind: 'order.issued', body: { order } });
  return record({ kind: 'order.rejected', body: { order: orderHash(order), actor, reason } });
}

const opened = (node: 'lyra' | 'node1', id: string) => {
  const drift = { id, kind: 'IMAGE_DRIFT', container: 'web', containerId: 'a'.repeat(64), differences: [] } as const;
  return say(ledger, node, keys[node], [
    { kind: 'drift.opened', body: { drift: { ...drift, differences: [] }, commit } },
  ]);
};

/** What a node is told when its session begins, by index. */
async function toldTo(node: string): Promise<readonly number[]> {
  const { feed, sent } = collectorWith([node]);
  feed.came(node);
  await until('all was told', () => sent.some((word) => 'all' in word));
  await feed.stop();
  return sent.flatMap((word) => ('index' in word ? [word.index] : []));
}

type Sent = (MeasureDispatch | { readonly all: boolean }) & { readonly node: string };

function collectorWith(
  nodes: readonly string[],
  room: () => boolean = () => true,
): { feed: MeasureFeed; sent: Sent[] } {
  const sent: Sent[] = [];
  const feed = createMeasureFeed({
    ...{ store, logger: quietLogger, clock: { now: () => nowMs } },
    carrier: {
      nodes: () => nodes,
      tell: (node, dispatch) => {
        if (room()) sent.push({ ...dispatch, node });
        return room();
      },
      measured: (node, all) => sent.push({ node, all }) > 0,
    },
  });
  return { feed, sent };
}

describe('when its session begins a node is told', () => {
  test('of frozen commits, and of the release of the one that it follows', async () => {
    const [first, other] = [await freeze(commit), await freeze('b'.repeat(40))];
    assert.deepEqual(await toldTo('lyra'), [first, other]);
    const over = await release(commit);
    await release('b'.repeat(40));
    assert.deepEqual(await toldTo('lyra'), [over]);
    assert.deepEqual(await toldTo('node1'), [], 'which follows another one');
  });

  test('of silences that concern it, and of those that were ended before their time', async () => {
    const all = await silence('all', hourMs);
    const its = await silence('its', hourMs, { node: 'lyra' });
    const others = await silence('others', hourMs, { node: 'node1' });
    await silence('past', -hourMs);
    assert.deepEqual(await toldTo('lyra'), [all, its]);
    assert.deepEqual(await toldTo('node1'), [all, others]);
    const ended = await unsilence('all');
    assert.deepEqual(await toldTo('lyra'), [its, ended]);
  });

  test('of announced changes that are not over, on it or everywhere', async () => {
    const [every, its] = [await announce(null, hourMs), await announce('lyra', hourMs)];
    await announce('node1', hourMs);
    await announce(null, -1);
    await record({ kind: 'change.announced', body: { text: 'none', approval: { approver: 'ada', signature: 's' } } });
    assert.deepEqual(await toldTo('lyra'), [every, its]);
  });

  test('of rejections of orders for drifts that stand there, by the commit that it follows', async () => {
    await opened('lyra', 'd1');
    await opened('node1', 'd1');
    const its = await reject({});
    await reject({ node: 'node1' });
    await reject({ commit: 'b'.repeat(40) });
    await reject({ drift: null, origin: 'operator' });
    await reject({ drift: { id: 'gone', kind: 'IMAGE_DRIFT', digest: 'e'.repeat(64) } });
    assert.deepEqual(await toldTo('lyra'), [its]);
    await say(ledger, 'lyra', keys.lyra, [{ kind: 'drift.resolved', body: { id: 'd1', commit } }]);
    await opened('lyra', 'd1');
    assert.deepEqual(await toldTo('lyra'), [], 'of a drift that has come back nobody has said anything');
  });

  test('that it was not everything when there is too much, or it does not read', async () => {
    for (let nth = 0; nth <= limits.maxMeasuresTold; nth += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, i) => silence(`s${nth + i}`, hourMs)));
    }
    const { feed, sent } = collectorWith(['lyra']);
    feed.came('lyra');
    await until('told', () => sent.some((word) => 'all' in word));
    assert.deepEqual(sent.at(-1), { node: 'lyra', all: false });
    assert.equal(sent.length, limits.maxMeasuresTold + 1);
    const full = collectorWith(['node1'], () => false);
    full.feed.came('node1');
    await until('told', () => full.sent.length > 0);
    assert.deepEqual(full.sent, [{ node: 'node1', all: false }]);
  });
});

describe('what is put on record while it is connected', () => {
  test('is told at once to whom it concerns, whoever has recorded it, and once', async () => {
    const { feed, sent } = collectorWith(['lyra', 'node1']);
    for (const node of ['lyra', 'node1']) feed.came(node);
    await until('both were told', () => sent.length === 2);
    sent.splice(0);
    const listener = await listen({
      ...{ database: { url, applicationName: 'test' }, channel: measuresChannel, logger: quietLogger },
      onNotify: () => feed.look(),
      onListening: () => {},
    });
    const frozen = await freeze(commit);
    await until('both know', () => sent.length === 2);
    const its = await silence('its', hourMs, { node: 'lyra' });
    await opened('node1', 'd1');
    const rejected = await reject({ node: 'node1' });
    await until('each knows', () => sent.length === 4);
    feed.look();
    await feed.stop();
    await listener.stop();
    assert.deepEqual(
      sent.map((word) => [word.node, 'index' in word ? word.index : undefined]),
      [
        ...[
          ['lyra', frozen],
          ['node1', frozen],
        ],
        ...[
          ['lyra', its],
          ['node1', rejected],
        ],
      ],
    );
    const order = sent.flatMap((word) => ('order' in word && word.order !== null ? [word.order] : []));
    assert.deepEqual(
      order.map(({ node }) => node),
      ['node1'],
    );
  });

  test('is told although the database was away when the node came', async () => {
    let isAway = true;
    const patient: MeasureStore = {
      ...store,
      measuresFor: async (node, ms) => {
        if (!isAway) return store.measuresFor(node, ms);
        isAway = false;
        throw new Error('away');
      },
    };
    const sent: Sent[] = [];
    const feed = createMeasureFeed({
      ...{ store: patient, logger: quietLogger, clock: { now: () => nowMs } },
      carrier: {
        nodes: () => ['lyra'],
        tell: (node, dispatch) => sent.push({ ...dispatch, node }) > 0,
        measured: (node, all) => sent.push({ node, all }) > 0,
      },
    });
    const frozen = await freeze(commit);
    feed.came('lyra');
    await until('it was told', () => {
      feed.look();
      return sent.length > 0;
    });
    await feed.stop();
    assert.deepEqual(
      sent.map((word) => ('index' in word ? word.index : word.all)),
      [frozen, true],
    );
  });
});
