import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AlertReceivers, receiverPaths, startAlertReceivers } from '../../fakes/alert-receivers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let receivers: AlertReceivers;
let world: TestCollector;

before(async () => {
  postgres = await startPostgres();
  receivers = await startAlertReceivers();
  const { url, ownerUrl } = await postgres.writerDatabase();
  world = await startTestCollector(url, {
    DATABASE_OWNER_URL: ownerUrl,
    SIGILWATCH_ALERTS_GROUP_MS: '0',
    SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: `${receivers.url}${receiverPaths.slack}`,
    SIGILWATCH_ALERTS_PAGERDUTY_ROUTING_KEY: receivers.routingKey,
    SIGILWATCH_ALERTS_PAGERDUTY_URL: `${receivers.url}${receiverPaths.pagerduty}`,
    SIGILWATCH_ALERTS_PAGERDUTY_LEVEL: 'critical',
  });
});
after(async () => {
  await world.stop();
  await receivers.close();
  await postgres.stop();
});

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
  assert.ok(await metric(/^sigilwatch_collector_notification_breaker_open\{channel="slack"\} 0$/m));
  assert.ok(await metric(/^sigilwatch_collector_notifications_waiting\{channel="pagerduty"\} 0$/m));
});
