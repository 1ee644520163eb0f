import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCollector } from '../../../collector/app.ts';
import { collectorKeyPath } from '../../../collector/data/keys.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { settingsFor, startTestCollector, type TestCollector } from './collectors.ts';

const strict = { SIGILWATCH_BUDGETS: '{"wipes":{"limit":1,"per":"day"}}' };
const loose = { SIGILWATCH_BUDGETS: '{"wipes":{"limit":9,"per":"day"}}' };

let postgres: TestPostgres;
let databaseUrl: string;
let first: TestCollector;

before(async () => {
  postgres = await startPostgres();
  databaseUrl = await postgres.emptyDatabase();
  first = await startTestCollector(databaseUrl, strict);
});
after(async () => {
  await first.stop();
  await postgres.stop();
});

/** Another collector of the same database and ledger. */
async function startAnother(more: Readonly<Record<string, string>>) {
  const dataDir = join(first.settings.dataDir, 'another');
  const key = collectorKeyPath(dataDir);
  await mkdir(dirname(key), { recursive: true, mode: 0o700 });
  await copyFile(collectorKeyPath(first.settings.dataDir), key);
  return startCollector(settingsFor(dataDir, databaseUrl, more), { logger: quietLogger });
}

const budgetsReady = async () => {
  const { status, json } = await first.get('/ready');
  return [status, json.budgets];
};

test('a collector with other budgets puts them in force, and the others say so and give nothing away until they have the same', async () => {
  assert.deepEqual(await budgetsReady(), [200, 'ok']);
  const same = await startAnother(strict);
  assert.deepEqual(await budgetsReady(), [200, 'ok']);
  await same.stop();
  const other = await startAnother(loose);
  assert.deepEqual(await budgetsReady(), [200, 'state.conflict']);
  const { status, json } = await first.get('/api/v1/budgets');
  assert.deepEqual([status, json.error_code], [409, 'state.conflict']);
  assert.match(String(json.message), /other budgets are in force/);
  await other.stop();
});

test('a start that comes to nothing changes nothing', async () => {
  const again = await startAnother(strict);
  await again.stop();
  const taken = new URL(first.collector.url).port;
  await assert.rejects(startAnother({ ...loose, SIGILWATCH_HTTP_PORT: taken }), { code: 'state.conflict' });
  assert.deepEqual(await budgetsReady(), [200, 'ok']);
});
