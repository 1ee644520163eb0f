import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AlertReceivers, receiverPaths } from '../../fakes/alert-receivers.ts';
import { until } from '../../until.ts';
import { type AlertingCollector, startAlertingCollector } from './alerting-collector.ts';
import type { TestCollector } from './collectors.ts';

let collector: AlertingCollector;
let receivers: AlertReceivers;
let world: TestCollector;

before(async () => {
  collector = await startAlertingCollector(({ url, routingKey }) => ({
    SIGILWATCH_ALERTS_RUNBOOK_URL: runbookUrl,
    SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: `${url}${receiverPaths.slack}`,
    SIGILWATCH_ALERTS_PAGERDUTY_ROUTING_KEY: routingKey,
    SIGILWATCH_ALERTS_PAGERDUTY_URL: `${url}${receiverPaths.pagerduty}`,
    SIGILWATCH_ALERTS_PAGERDUTY_LEVEL: 'critical',
  }));
  ({ world, receivers } = collector);
});
after(() => collector.stop());

const runbookUrl = 'https://wiki.example.org/runbook';
const page = `${runbookUrl}/enforcement.daily_limit.md`;
const body = { key: 'enforcement.daily_limit/node1', severity: 'error', summary: 'used up', node: 'node1' } as const;

async function metric(line: RegExp): Promise<boolean> {
  const headers = { Authorization: `Bearer ${world.token}` };
  const answer = await fetch(`${world.collector.url}/metrics`, { headers });
  return line.test(await answer.text());
}

test('an alert on record reaches the channels it is bad enough for, by a collector with no more rights than it needs', async () => {
  await world.ledger.record({ kind: 'alert.raised', body });
  await until('Slack is told', () => receivers.taken(receiverPaths.slack).length === 1);
  await world.ledger.record({ kind: 'alert.resolved', body: { key: body.key, reason: 'a new day' } });
  await until('Slack is told of the end', () => receivers.taken(receiverPaths.slack).length === 2);
  const texts = receivers.taken(receiverPaths.slack).map((message) => String(Object(message).text));
  assert.deepEqual(texts, ['ERROR: enforcement.daily_limit on node1', 'RESOLVED: enforcement.daily_limit on node1']);
  for (const message of receivers.taken(receiverPaths.slack)) assert.ok(JSON.stringify(message).includes(`<${page}|`));
  assert.deepEqual(receivers.taken(receiverPaths.pagerduty), []);
});

test('metrics tell what stands, what was sent and what failed', async () => {
  receivers.misbehaviours.push({ status: 400, body: 'invalid_payload' });
  await world.ledger.record({ kind: 'alert.raised', body });
  await until('it is given up', () => metric(/^sigilwatch_collector_notification_dead_letters\{channel="slack"\} 1$/m));
  assert.ok(await metric(/^sigilwatch_collector_notifications_sent_total\{channel="slack"\} 2$/m));
  assert.ok(await metric(/^sigilwatch_collector_notification_failures_total\{channel="slack"\} 1$/m));
  assert.ok(await metric(/^sigilwatch_collector_notifications_given_up_total\{channel="slack"\} 1$/m));
  assert.ok(await metric(/^sigilwatch_collector_alerts_standing\{severity="error"\} 1$/m));
  assert.ok(await metric(/^sigilwatch_collector_breaker_state\{service="channel:slack",state="closed"\} 1$/m));
  assert.ok(await metric(/^sigilwatch_collector_notifications_waiting\{channel="pagerduty"\} 0$/m));
});

test('what stands, and who was told of it, is shown by command and API alike', async () => {
  const [listed, { json }] = [await collector.alerts('list'), await world.get('/api/v1/alerts')];
  assert.deepEqual(listed.said.items, json.items);
  const [alert] = listed.said.items;
  assert.deepEqual([alert.key, alert.severity, alert.resolved_at], [body.key, 'error', null]);
  assert.equal(alert.runbook, page);
  const [told] = alert.notifications;
  assert.deepEqual([told.channel, told.change, told.state, told.attempts], ['slack', 'raised', 'dead', 1]);
  assert.match(told.settled_at, /^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  const channels = await world.get('/api/v1/alert-channels');
  const { said } = await collector.alerts('channels');
  assert.deepEqual(said.items, channels.json.items);
  assert.deepEqual(
    said.items.map(({ channel, level, dead }: Record<string, unknown>) => [channel, level, dead]),
    [
      ['pagerduty', 'critical', 0],
      ['slack', 'info', 1],
    ],
  );
  const { code, stdout } = await collector.cli('alerts', 'list');
  assert.deepEqual([code, /slack \(raised: given up\)/.test(stdout)], [0, true]);
  assert.ok(stdout.includes(`\t${page}\t`));
});

test('the API takes no other parameters than it knows', async () => {
  assert.equal((await world.get('/api/v1/alerts?state=some')).status, 400);
  assert.equal((await world.get('/api/v1/alerts?kind=x')).status, 400);
  assert.equal((await world.get('/api/v1/alerts?state=all')).status, 200);
});

test('a dead letter is listed with the reason, and goes out once it is tried again', async () => {
  const before = receivers.taken(receiverPaths.slack).length;
  const { said } = await collector.alerts('dead');
  const [letter] = said.items;
  assert.deepEqual([letter.channel, letter.key, letter.change], ['slack', body.key, 'raised']);
  assert.match(letter.last_error, /HTTP 400: invalid_payload/);
  assert.deepEqual(said.items, (await world.get('/api/v1/alert-dead-letters')).json.items);
  const { code, said: retried } = await collector.alerts('retry', String(letter.id));
  assert.deepEqual([code, retried], [0, { retried: [letter.id] }]);
  await until('it is sent', () => receivers.taken(receiverPaths.slack).length === before + 1);
  await until('it is gone', async () => (await collector.alerts('dead')).said.items.length === 0);
  for (const id of [String(letter.id), '0', 'x', '-1', '9'.repeat(30)])
    assert.equal((await collector.alerts('retry', '--', id)).code, 2);
  const { stdout } = await collector.cli('entries', 'list', '--kind', 'auth.event', '--json');
  const acts: { entry: { body: Record<string, string> } }[] = JSON.parse(stdout).items;
  const path = `/api/v1/alert-dead-letters/${letter.id}/retry`;
  assert.ok(acts.some(({ entry: { body: act } }) => act.actor === 'local' && act.detail === path));
});

test('the queue is no projection: replay finds nothing wrong with it', async () => {
  const { code, stdout } = await collector.cli('ledger', 'replay', '--check', '--json');
  assert.equal(code, 0, stdout);
});
