import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { type Collector, startCollector } from '../../../collector/app.ts';
import { collectorKeyPath } from '../../../collector/data/keys.ts';
import { cleared } from '../../authors.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import {
  adminToken,
  driftOpened,
  enrolDirectly,
  say,
  settingsFor,
  startTestCollector,
  type TestCollector,
} from './collectors.ts';

let postgres: TestPostgres;
let one: TestCollector;
let two: Collector;
let otherDir: string;
const sockets: WebSocket[] = [];

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.migratedDatabase();
  one = await startTestCollector(url);
  otherDir = await mkdtemp(join(tmpdir(), 'sigilwatch-collector-'));
  await copyFile(collectorKeyPath(one.settings.dataDir), collectorKeyPath(otherDir));
  two = await startCollector(settingsFor(otherDir, url), { logger: quietLogger });
});
after(async () => {
  for (const socket of sockets) socket.terminate();
  await two.stop();
  await one.stop();
  await rm(otherDir, { recursive: true, force: true });
  await postgres.stop();
});

interface Followed {
  readonly socket: WebSocket;
  readonly messages: Record<string, unknown>[];
  indexes(): unknown[];
}

async function follow(url: string, query = ''): Promise<Followed> {
  const headers = { Authorization: `Bearer ${one.token}` };
  const address = `${url.replace('http', 'ws')}/api/v1/events${query}`;
  const socket = new WebSocket(address, 'sigilwatch.events.v1', { headers });
  sockets.push(socket);
  const messages: Record<string, unknown>[] = [];
  socket.on('message', (data) => messages.push(JSON.parse(data.toString())));
  await once(socket, 'open');
  await until('the beginning', () => messages.length > 0);
  const indexes = () => messages.filter(({ type }) => type === 'event').map(({ index }) => index);
  return { socket, messages, indexes };
}

const sizeOf = async (): Promise<number> => (await one.ledger.checkpoint()).size;
const span = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('live events of two collectors on one database', () => {
  test('whoever appends, both tell of everything, in the order of the ledger', async () => {
    const from = await sizeOf();
    const [here, there] = [await follow(one.collector.url), await follow(two.url)];
    const keys = await enrolDirectly(one.ledger, 'node1');
    for (let round = 0; round < 10; round++) {
      await say(one.ledger, 'node1', keys, [driftOpened(`c${round}`, 'MISSING_CONTAINER'), cleared(`${round}`)]);
    }
    const to = await sizeOf();
    await until('both have heard', () => here.indexes().length >= to - from && there.indexes().length >= to - from);
    assert.deepEqual(here.indexes(), span(from, to));
    assert.deepEqual(there.indexes(), span(from, to));
  });

  test('whoever goes from one to the other with the cursor misses nothing and hears nothing twice', async () => {
    const from = await sizeOf();
    const keys = await enrolDirectly(one.ledger, 'node2');
    let cursor = from - 1;
    const heard: unknown[] = [];
    for (let round = 0; round < 6; round++) {
      const at = await follow(round % 2 === 0 ? one.collector.url : two.url, `?after=${cursor}`);
      await say(one.ledger, 'node2', keys, [cleared(`a${round}`), cleared(`b${round}`)]);
      await until('something new', () => at.indexes().length > 0);
      at.socket.terminate();
      heard.push(...at.indexes());
      cursor = Number(heard.at(-1));
    }
    const last = await follow(two.url, `?after=${cursor}`);
    const to = await sizeOf();
    await until('the rest', () => heard.length + last.indexes().length === to - from);
    assert.deepEqual([...heard, ...last.indexes()], span(from, to));
  });

  test('they come as server-sent events too, with filters, and not without a token', async () => {
    const refused = await fetch(`${two.url}/api/v1/events`);
    assert.equal(refused.status, 401);
    await refused.text();
    const stop = new AbortController();
    const answer = await fetch(`${two.url}/api/v1/events?node=node3&severity=warning`, {
      headers: { Authorization: `Bearer ${one.token}` },
      signal: stop.signal,
    });
    let text = '';
    const reading = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
    })().catch(() => {});
    const [keys, others] = [await enrolDirectly(one.ledger, 'node3'), await enrolDirectly(one.ledger, 'node4')];
    await say(one.ledger, 'node4', others, [driftOpened('web', 'MISSING_CONTAINER')]);
    await say(one.ledger, 'node3', keys, [cleared('x'), driftOpened('web', 'MISSING_CONTAINER')]);
    await until('the drift', () => text.includes('drift.opened'));
    const told = [...text.matchAll(/^data: (.*)$/gm)].map(([, json = '']) => JSON.parse(json));
    assert.deepEqual(
      told.map(({ node, kind, severity }) => [node, kind, severity]),
      [['node3', 'drift.opened', 'warning']],
    );
    assert.match(told[0].received_at, /^\d{4}-/);
    stop.abort();
    await reading;
  });

  test('a scrape tells how many listen', async () => {
    const answer = await fetch(`${one.collector.url}/metrics`, { headers: { Authorization: `Bearer ${one.token}` } });
    assert.match(await answer.text(), /sigilwatch_collector_event_subscribers [1-9]/);
  });
});

test('a token that is revoked opens no stream any more', async () => {
  const headers = { Authorization: `Bearer ${await adminToken(one)}` };
  const { token } = JSON.parse(await (await fetch(`${one.collector.url}/api/v1/whoami`, { headers })).text());
  const revoked = await fetch(`${one.collector.url}/api/v1/tokens/${token}`, { method: 'DELETE', headers });
  assert.equal(revoked.status, 200);
  assert.equal((await fetch(`${one.collector.url}/api/v1/events`, { headers })).status, 401);
});
