import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let proxied: TestCollector;
const limit = 40;

before(async () => {
  postgres = await startPostgres();
  const rates = { SIGILWATCH_HTTP_RATES_READS_PER_MINUTE: String(limit) };
  under = await startTestCollector(await postgres.emptyDatabase(), rates);
  const trusted = { ...rates, SIGILWATCH_HTTP_TRUSTED_PROXIES: '127.0.0.0/8' };
  proxied = await startTestCollector(await postgres.emptyDatabase(), trusted);
});
after(async () => {
  await proxied.stop();
  await under.stop();
  await postgres.stop();
});

const ask = (to: TestCollector, path: string, headers: Record<string, string> = {}) =>
  fetch(`${to.collector.url}${path}`, { headers });

const addresses = Array.from({ length: 200 }, (_, i) => `198.51.${Math.floor(i / 100)}.${i % 100}`);

/** Two hundred requests without a token that works, each as if from elsewhere. @returns how many were told so. */
async function rotate(to: TestCollector): Promise<number> {
  const answers = await Promise.all(
    addresses.map((address) =>
      ask(to, '/api/v1/nodes', { 'X-Forwarded-For': address, Authorization: `Bearer swk_${address}` }),
    ),
  );
  const refused = answers.filter(({ status }) => status === 429);
  assert.ok(answers.every(({ status }) => status === 401 || status === 429));
  for (const answer of refused) {
    const seconds = Number(answer.headers.get('Retry-After'));
    assert.ok(seconds >= 1 && seconds <= 65, String(seconds));
    assert.equal(answer.headers.get('RateLimit-Reset'), String(seconds));
    assert.equal(answer.headers.get('RateLimit-Remaining'), '0');
  }
  return answers.length - refused.length;
}

test('addresses that somebody made up count as the one they come from', async () => {
  assert.equal(await rotate(under), limit);
});

test('addresses that a trusted proxy tells count each for itself', async () => {
  assert.equal(await rotate(proxied), addresses.length);
});

test('who is signed in is counted alone, whatever others do from the same address, and told what is left', async () => {
  await rotate(under);
  const first = await ask(under, '/api/v1/nodes', { Authorization: `Bearer ${under.token}` });
  assert.equal(first.status, 200);
  assert.equal(first.headers.get('RateLimit-Limit'), String(limit));
  assert.equal(first.headers.get('RateLimit-Remaining'), String(limit - 1));
  const all = await Promise.all(Array.from({ length: limit + 10 }, () => under.get('/api/v1/stats')));
  assert.equal(all.filter(({ status }) => status === 200).length, limit - 1);
  const refused = all.find(({ status }) => status === 429);
  assert.equal(refused?.json.error_code, 'rate_limit.exceeded');
});

test('health and the log have no such limit', async () => {
  const health = await Promise.all(Array.from({ length: limit + 10 }, () => ask(under, '/health')));
  assert.ok(health.every(({ status, headers }) => status === 200 && headers.get('RateLimit-Limit') === null));
  const headers = { Authorization: `Bearer ${under.token}` };
  const log = await Promise.all(Array.from({ length: limit + 10 }, () => ask(under, '/log/checkpoint', headers)));
  assert.ok(log.every(({ status }) => status === 200));
});
