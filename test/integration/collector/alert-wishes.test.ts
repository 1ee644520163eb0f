import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertPromisedBy } from '../../answers.ts';
import { type AlertReceivers, receiverPaths } from '../../fakes/alert-receivers.ts';
import { until } from '../../until.ts';
import { type AlertingCollector, startAlertingCollector } from './alerting-collector.ts';
import type { TestCollector } from './collectors.ts';

/** What operators wish about alerts, by command and API, with a collector that has no more rights than it needs. */
let collector: AlertingCollector;
let receivers: AlertReceivers;
let world: TestCollector;

before(async () => {
  collector = await startAlertingCollector(({ url, routingKey }) => ({
    SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: `${url}${receiverPaths.slack}`,
    SIGILWATCH_ALERTS_CHANNELS: JSON.stringify([
      { name: 'oncall', kind: 'pagerduty', routingKey, url: `${url}${receiverPaths.pagerduty}` },
      { name: 'team-b', kind: 'discord', webhookUrl: `${url}${receiverPaths.discord}`, escalateAfterMs: 3_600_000 },
    ]),
  }));
  ({ world, receivers } = collector);
});
after(() => collector.stop());

async function api(method: string, path: string, body?: object) {
  const answer = await fetch(`${world.collector.url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${world.token}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  await assertPromisedBy(method, path, answer);
  return { status: answer.status, json: JSON.parse(await answer.text()) };
}

const key = 'enforcement.daily_limit/node1';
const raise = (of: string) =>
  world.ledger.record({
    kind: 'alert.raised',
    body: { key: of, severity: 'error', summary: `about ${of}`, node: 'node1' },
  });
const toldSlack = (of: string) => JSON.stringify(receivers.taken(receiverPaths.slack)).includes(`about ${of}`);
const shown = async (of: string) =>
  (await collector.alerts('list')).said.items.find((alert: { key: string }) => alert.key === of);

test('channels of the settings go by the names they were given', async () => {
  await until('all are known', async () => (await collector.alerts('channels')).said.items.length === 3);
  const { said } = await collector.alerts('channels');
  const rows = said.items.map((row: Record<string, unknown>) => [row.channel, row.escalate_after_ms]);
  assert.deepEqual(rows, [
    ['oncall', null],
    ['slack', null],
    ['team-b', 3_600_000],
  ]);
});

test('what is silenced stays on record and is shown with who and why; once it is lifted, it is told', async () => {
  const made = await collector.alerts('silence', 'enforcement.daily_limit/*', '--for', '2h', '--reason', 'we know');
  assert.equal(made.code, 0, made.stderr);
  const listed = await collector.alerts('silences');
  const { json } = await api('GET', '/api/v1/alert-silences');
  assert.deepEqual([listed.said.items, json.items], [[made.said], [made.said]]);
  await raise(key);
  await raise('other.thing/node1');
  await until('the other one is told', () => toldSlack('other.thing/node1'));
  const alert = await shown(key);
  assert.deepEqual([alert.silenced, alert.notifications, alert.follows_from], [made.said, [], null]);
  // Each channel is told in its own time.
  await until('nothing is on its way', async () => {
    const { said } = await collector.alerts('list');
    return said.items.every((one: { notifications: { state: string }[] }) =>
      one.notifications.every(({ state }) => state === 'delivered'),
    );
  });
  const page = await api('GET', '/api/v1/alerts');
  assert.deepEqual(page.json.items, (await collector.alerts('list')).said.items);
  const table = await collector.cli('alerts', 'list');
  assert.match(table.stdout, /nobody was told\tsilenced until 20\S+Z by local: we know/);
  assert.ok(!toldSlack(key));
  const ended = await collector.alerts('unsilence', made.said.id.slice(0, 12));
  assert.deepEqual([ended.code, ended.said.ended], [0, true]);
  assert.deepEqual((await collector.alerts('silences')).said.items, []);
  await until('it is told', () => toldSlack(key), 40_000);
  assert.equal((await shown(key)).silenced, null);
});

test('silences are made and ended by the API as well, until a moment or for a time', async () => {
  const untilText = new Date(Date.now() + 60_000).toISOString();
  const made = await api('POST', '/api/v1/alert-silences', { pattern: 'drift.*', until: untilText, reason: 'works' });
  assert.deepEqual([made.status, made.json.until], [201, untilText]);
  const other = await api('POST', '/api/v1/alert-silences', { pattern: 'a b', for_seconds: 60, reason: 'works' });
  assert.equal(other.status, 201);
  const ids = (await api('GET', '/api/v1/alert-silences')).json.items.map(({ id }: { id: string }) => id);
  assert.deepEqual(ids, [made.json.id, other.json.id]);
  for (const id of ids) assert.equal((await api('DELETE', `/api/v1/alert-silences/${id}`)).status, 200);
  assert.equal((await api('DELETE', `/api/v1/alert-silences/${ids[0]}`)).status, 404);
  assert.deepEqual((await api('GET', '/api/v1/alert-silences')).json.items, []);
});

test('nobody silences everything, for ever, in the past, or without a reason', async () => {
  const wishes = [
    ['*', '--for', '2h', '--reason', 'x'],
    ['node*', '--for', '2h', '--reason', 'x'],
    ['', '--for', '2h', '--reason', 'x'],
    ['drift.*', '--for', '31d', '--reason', 'x'],
    ['drift.*', '--for', '0s', '--reason', 'x'],
    ['drift.*', '--until', '2020-01-01T00:00:00Z', '--reason', 'x'],
    ['drift.*', '--until', 'tomorrow', '--reason', 'x'],
    ['drift.*', '--for', '2h', '--until', '2040-01-01T00:00:00Z', '--reason', 'x'],
    ['drift.*', '--reason', 'x'],
    ['drift.*', '--for', '2h', '--reason', ' '],
  ];
  for (const wish of wishes) assert.equal((await collector.alerts('silence', ...wish)).code, 2, wish.join(' '));
  const bodies = [
    { pattern: '*', for_seconds: 60, reason: 'x' },
    { pattern: 'drift.*', for_seconds: 31 * 86_400, reason: 'x' },
    { pattern: 'drift.*', until: '2020-01-01T00:00:00Z', reason: 'x' },
    { pattern: 'drift.*', until: '2040-01-01T00:00:00Z', for_seconds: 60, reason: 'x' },
    { pattern: 'drift.*', reason: 'x' },
    { pattern: 'drift.*', for_seconds: 60, reason: '' },
  ];
  for (const body of bodies) {
    const { status } = await api('POST', '/api/v1/alert-silences', body);
    assert.ok(status === 400 || status === 422, `${JSON.stringify(body)}: ${status}`);
  }
  assert.deepEqual((await collector.alerts('silences')).said.items, []);
});

test('an acknowledgement is on record with who and why, and is shown', async () => {
  const acked = await collector.alerts('ack', key, '--reason', 'on it');
  assert.deepEqual([acked.code, acked.said], [0, { key, acknowledged: true, actor: 'local', reason: 'on it' }]);
  await until('it is read', async () => (await shown(key)).acknowledged !== null);
  const { by, reason } = (await shown(key)).acknowledged;
  assert.deepEqual([by, reason], ['local', 'on it']);
  const again = await api('POST', '/api/v1/alerts/acknowledge', { key: 'other.thing/node1', reason: 'that one too' });
  assert.equal(again.status, 201);
  const { json } = await world.get('/api/v1/entries?kind=alert.acknowledged');
  assert.equal(Array.isArray(json.items) && json.items.length, 2);
});

test('what does not stand cannot be acknowledged', async () => {
  assert.equal((await collector.alerts('ack', 'nothing/here', '--reason', 'x')).code, 2);
  assert.equal((await api('POST', '/api/v1/alerts/acknowledge', { key: 'nothing/here', reason: 'x' })).status, 404);
  assert.equal((await api('POST', '/api/v1/alerts/acknowledge', { key, reason: ' ' })).status, 400);
});

test('replay finds nothing wrong with silences and acknowledgements', async () => {
  const { code, stdout } = await collector.cli('ledger', 'replay', '--check', '--json');
  assert.equal(code, 0, stdout);
});
