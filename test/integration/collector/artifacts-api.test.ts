import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { limits } from '../../../common/limits.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { containerOf, hashOf, observed } from './artifact-world.ts';
import { enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase(), {
    // What it does by itself must not come between.
    SIGILWATCH_ARTIFACTS_SCORING_INTERVAL_MS: '86400000',
  });
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  await say(under.ledger, 'lyra', lyra, [observed(containerOf('web', { id: hashOf('web') }))]);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const answered = z.looseObject({
  error_code: z.string().default(''),
  message: z.string().default(''),
  artifact_id: z.string().default(''),
  drift_score: z.number().nullable().default(null),
  registered_index: z.int().default(-1),
  items: z.array(z.looseObject({ artifact_id: z.string() })).default([]),
  next_cursor: z.string().nullable().default(null),
  registrations: z.array(z.looseObject({ actor: z.string() })).default([]),
  trend: z.looseObject({ weeks: z.array(z.unknown()) }).optional(),
  steps: z.array(z.looseObject({ kind: z.string() })).default([]),
  scored: z.int().default(-1),
});

async function ask(method: string, path: string, body?: string | object) {
  const headers = { Authorization: `Bearer ${under.token}`, 'Content-Type': 'application/json' };
  const text = typeof body === 'object' ? JSON.stringify(body) : body;
  const answer = await fetch(`${under.collector.url}${path}`, {
    method,
    headers,
    ...(text !== undefined && { body: text }),
  });
  return { status: answer.status, json: answered.parse(await answer.json()) };
}

const post = (body: string | object, path = '/api/v1/artifacts') => ask('POST', path, body);
const get = (path: string) => ask('GET', path);
const web = { hash: hashOf('web'), lineage: { image: 'web:1', commit: 'c1' }, drift_score: 0.25, scorecard_score: 0.5 };

describe('an artifact over HTTP', () => {
  test('is registered, answered with what is there when said again, and told with its score, by the paths of both APIs', async () => {
    const first = await post(web, '/artifacts');
    assert.deepEqual([first.status, first.json.artifact_id], [201, hashOf('web')]);
    const again = await post({ ...web, hash: `sha256:${hashOf('web').toUpperCase()}` });
    assert.deepEqual([again.status, again.json.registered_index], [200, first.json.registered_index]);
    assert.equal((await ask('POST', '/api/v1/artifacts/sweep')).json.scored, 1);
    for (const path of ['/artifacts', '/api/v1/artifacts']) {
      const { json } = await get(`${path}/${hashOf('web')}`);
      assert.equal(json.drift_score, 0.25);
      assert.deepEqual(
        json.registrations.map(({ actor }) => actor.replace(/-[0-9a-f]{8}$/, '')),
        ['token:test'],
      );
      assert.equal(json.trend?.weeks.length, 4);
      assert.deepEqual(
        (await get(`${path}?commit=c1`)).json.items.map((item) => item.artifact_id),
        [hashOf('web')],
      );
    }
    assert.equal((await get('/api/v1/artifacts?score_below=0.01')).json.items.length, 0);
    assert.equal((await get('/api/v1/artifact-scores?score_at_least=0.01')).json.items.length, 1);
  });

  test('is listed in pages', async () => {
    for (const name of ['p1', 'p2', 'p3']) await post({ hash: hashOf(name), lineage: {}, name: 'paged' });
    const first = await get('/api/v1/artifacts?name=paged&limit=2');
    const second = await get(`/api/v1/artifacts?name=paged&limit=2&cursor=${first.json.next_cursor}`);
    const all = [...first.json.items, ...second.json.items].map((item) => item.artifact_id);
    assert.deepEqual(all, ['p3', 'p2', 'p1'].map(hashOf));
    assert.equal(second.json.next_cursor, null);
  });

  test('is explained with the container that runs it', async () => {
    const byName = await get('/api/v1/explain?container=web');
    assert.deepEqual(
      byName.json.steps.slice(0, 1).map(({ kind }) => kind),
      ['observed'],
    );
    assert.ok(byName.json.steps.some(({ kind }) => kind === 'artifact.registered'));
    assert.deepEqual((await get(`/api/v1/explain?artifact=${hashOf('web')}`)).json.steps, byName.json.steps);
    assert.equal((await get('/api/v1/explain?container=nothing')).status, 404);
    assert.equal((await get('/api/v1/explain')).json.error_code, 'validation.request');
    assert.equal((await get('/api/v1/explain?artifact=x')).json.error_code, 'validation.request');
  });

  test('that nobody registered is not found, and a name that is no hash is refused', async () => {
    assert.equal((await get(`/artifacts/${hashOf('never')}`)).status, 404);
    assert.equal((await get('/artifacts/latest')).status, 400);
  });
});

describe('a hostile registration', () => {
  const lineage = (json: string) => `{"hash":"${hashOf('hostile')}","lineage":${json}}`;
  const refused: Readonly<Record<string, string>> = {
    'a lineage that is no object': lineage('[1]'),
    'no lineage': `{"hash":"${hashOf('hostile')}"}`,
    'a lineage that is too deep': lineage(`${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`),
    'a lineage that is too large': lineage(JSON.stringify({ a: 'x'.repeat(limits.maxLineageBytes) })),
    'a lineage with __proto__': lineage('{"__proto__":{"a":1}}'),
    'a lineage with an escape sequence': lineage('{"image":"\\u001b[31m"}'),
    'a lineage with U+0000': lineage('{"image":"\\u0000"}'),
    'a lineage with half of a character': lineage('{"image":"\\udfff"}'),
    'a score above 1': `{"hash":"${hashOf('hostile')}","lineage":{},"drift_score":1.5}`,
    'a score that is a text': `{"hash":"${hashOf('hostile')}","lineage":{},"scorecard_score":"1"}`,
    'a name with U+0000': `{"hash":"${hashOf('hostile')}","lineage":{},"name":"\\u0000"}`,
    'a hash that is none': '{"hash":"latest","lineage":{}}',
    'another member': `{"hash":"${hashOf('hostile')}","lineage":{},"actor":"root"}`,
    '__proto__ in place of members': '{"__proto__":{"hash":"x"}}',
  };
  for (const [what, body] of Object.entries(refused)) {
    test(`with ${what} is refused, and leaves nothing`, async () => {
      const { status, json } = await post(body);
      assert.deepEqual([status, json.error_code], [422, 'validation.body'], json.message);
      assert.equal((await get(`/artifacts/${hashOf('hostile')}`)).status, 404);
    });
  }
});
