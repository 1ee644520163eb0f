import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openLedger } from '../../collector/app.ts';
import { systemClock } from '../../collector/clock.ts';
import { collectorKeyPath, readCollectorKey } from '../../collector/data/keys.ts';
import { openDatabase } from '../../collector/database.ts';
import type { Ledger } from '../../collector/ledger/ledger.ts';
import { createTeardown } from '../../common/teardown.ts';
import { type AlertReceivers, receiverPaths, startAlertReceivers } from '../fakes/alert-receivers.ts';
import { settingsFor } from '../integration/collector/collectors.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { quietLogger } from '../quiet-logger.ts';
import { makeTemporaryFolder, type RunningCollector, startCollector } from '../system.ts';
import { until } from '../until.ts';
import { keyAlone } from './enforce-attacker.ts';

/** Two collector programs on one database, and a third hand that puts alerts on record. */
const folder = makeTemporaryFolder('sgw-al-');
const teardown = createTeardown(quietLogger);
const leaseDeadlineMs = 90_000;

let postgres: TestPostgres;
let receivers: AlertReceivers;
let collectors: readonly RunningCollector[];
let ledger: Ledger;

before(async () => {
  postgres = await startPostgres();
  teardown.add('postgres', postgres.stop);
  receivers = await startAlertReceivers();
  teardown.add('receivers', receivers.close);
  const DATABASE_URL = await postgres.migratedDatabase();
  const env = {
    DATABASE_URL,
    SIGILWATCH_ALERTS_GROUP_MS: '0',
    SIGILWATCH_ALERTS_SLACK_WEBHOOK_URL: `${receivers.url}${receiverPaths.slack}`,
    SIGILWATCH_ALERTS_PAGERDUTY_ROUTING_KEY: receivers.routingKey,
    SIGILWATCH_ALERTS_PAGERDUTY_URL: `${receivers.url}${receiverPaths.pagerduty}`,
  };
  const first = await startCollector({ dir: join(folder.path, 'first'), env });
  teardown.add('first', first.stop);
  const { token } = first;
  const second = await startCollector({ dir: keyAlone(first.dir, join(folder.path, 'second')), env, token });
  teardown.add('second', second.stop);
  collectors = [first, second];
  const settings = settingsFor(keyAlone(first.dir, join(folder.path, 'third')), DATABASE_URL);
  const database = await openDatabase({ settings, logger: quietLogger, teardown });
  const keys = await readCollectorKey(collectorKeyPath(settings.dataDir));
  ledger = await openLedger(settings, { database, keys, clock: systemClock, teardown, logger: quietLogger });
});
after(() => teardown.run());

const raise = (key: string) =>
  ledger.record({ kind: 'alert.raised', body: { key, severity: 'error', summary: key, node: null } });

/** Keys of the events that PagerDuty took, in order. */
const paged = (): string[] =>
  receivers.taken(receiverPaths.pagerduty).map((event) => String(Object(event).dedup_key).replace(/^.*\/(?=page)/, ''));

test('while both run, every alert goes out once', async () => {
  const keys = Array.from({ length: 30 }, (_, i) => `page ${i}`);
  for (const key of keys) await raise(key);
  await until('all are told', () => paged().length >= keys.length, leaseDeadlineMs);
  assert.deepEqual([...paged()].sort(), [...keys].sort());
  const slack = () => JSON.stringify(receivers.taken(receiverPaths.slack));
  await until('Slack is, too', () =>
    keys.every((key) => slack().includes(`"${key}"`) || slack().includes(`. ${key}"`)),
  );
});

test('no alert is lost when collectors are killed while they send, and while nobody runs', async () => {
  const before = paged().length;
  const lost: 'hang'[] = ['hang', 'hang'];
  receivers.misbehaviours.push(...lost);
  const unanswered = () => receivers.received.filter(({ status }) => status === 0).length;
  await raise('page in flight');
  await until('both channels are being told', () => unanswered() === lost.length);
  for (const collector of collectors) await collector.kill9();
  await raise('page while nobody runs');
  await ledger.record({ kind: 'alert.resolved', body: { key: 'page in flight', reason: 'over' } });
  for (const collector of collectors) await collector.restart();
  await until('all is told', () => paged().length >= before + 3, leaseDeadlineMs);
  const events = receivers.taken(receiverPaths.pagerduty).slice(before);
  const told = events.map(
    (event) => `${Object(event).event_action} ${String(Object(event).dedup_key).split('/').at(-1)}`,
  );
  assert.deepEqual([...told].sort(), [
    'resolve page in flight',
    'trigger page in flight',
    'trigger page while nobody runs',
  ]);
  assert.ok(told.indexOf('trigger page in flight') < told.indexOf('resolve page in flight'));
});
