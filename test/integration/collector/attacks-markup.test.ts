import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isMedia } from '../../../collector/api/contract.ts';
import { contracts } from '../../../collector/api/contracts.ts';
import type { Statement } from '../../../common/kinds.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { askAsOperator } from './attack-world.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

/** What would run, break out of an attribute or a text, or be a link that runs. */
const markup = `"><script>alert(1)</script><img src=x onerror='alert(1)'><a href="javascript:alert(1)">x</a></textarea><!--`;
const counts = { tables: 1, blocks: 2, bytes: 3, records: 4, sigils: 5 };

let postgres: TestPostgres;
let under: TestCollector;
let reportIndex: number;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  const keys = await enrolDirectly(under.ledger, 'lyra');
  const place = { key: markup, keyRange: null, file: markup, offset: null, expected: markup, actual: markup };
  const finding = { id: '1'.repeat(32), check: 'checksum', ...place, detail: markup } as const;
  const said: Statement[] = [
    driftOpened(markup, 'UNAUTHORIZED_CONTAINER'),
    { kind: 'sigil.finding', body: { store: markup, finding } },
    {
      kind: 'integrity.report',
      body: {
        ...{ report: '20260101T020000000Z-00000000', status: 'findings', sha256: 'ab'.repeat(32) },
        ...{ startedAt: '2026-01-01T02:00:00.000Z', finishedAt: '2026-01-01T02:01:00.000Z' },
        stores: [{ store: markup, status: 'findings', counts, findings: 1 }],
      },
    },
  ];
  await say(under.ledger, 'lyra', keys, said);
  reportIndex = (await under.ledger.checkpoint()).size - 1;
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const ask = (target: string, asked: Parameters<typeof askAsOperator>[2] = {}) => askAsOperator(under, target, asked);
const post = (target: string, body: unknown) =>
  ask(target, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** What runs or loads, as a tag; in a text, `<` is escaped. */
const active = /<(script|img|a\s[^>]*javascript|iframe|object|embed|form|meta[^>]*refresh|svg|[^>]*\son[a-z]+\s*=)/i;

test('what a node says comes out of every page as text, under a policy that lets nothing run', async () => {
  const pages = contracts.filter(({ answers }) =>
    Object.values(answers).some((answer) => isMedia(answer) && answer.media.includes('text/html')),
  );
  assert.ok(pages.length >= 2);
  for (const { path, operation } of pages) {
    const target = path.replace(/:[a-z_]+/, String(reportIndex));
    const { status, headers, body } = await ask(target, { headers: { Accept: 'text/html' } });
    assert.equal(status, 200, operation);
    assert.match(String(headers['content-type']), /^text\/html; charset=utf-8/i, operation);
    const policy = String(headers['content-security-policy']);
    for (const directive of ["default-src 'none'", "frame-ancestors 'none'", 'sandbox']) {
      assert.ok(policy.includes(directive), `${operation}: ${policy}`);
    }
    assert.doesNotMatch(policy, /script-src|unsafe-eval|\*|allow-scripts/, operation);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(body.includes(markup), false, operation);
    assert.doesNotMatch(body, active, operation);
  }
});

test('the page of a report shows the text of it all the same', async () => {
  const { body } = await ask(`/api/v1/integrity-reports/${reportIndex}.html`);
  assert.match(body, /&#60;script&#62;alert\(1\)&#60;\/script&#62;/);
});

test('a file name in a header is one word, whatever the report is called', async () => {
  for (const id of [`${reportIndex}`, `${reportIndex}.html`, `${reportIndex}.json`]) {
    const { status, headers } = await ask(`/api/v1/integrity-reports/${id}?download=true`);
    assert.equal(status, 200);
    assert.match(String(headers['content-disposition']), /^attachment; filename="[a-z0-9.-]+"$/);
  }
  for (const id of [
    `${reportIndex}%0d%0aX-Injected:1`,
    `${reportIndex}";x="`,
    '../../etc/passwd',
    encodeURIComponent(markup),
  ]) {
    const { status, headers } = await ask(`/api/v1/integrity-reports/${id}?download=true`);
    assert.ok(status === 400 || status === 404, `${id}: ${status}`);
    assert.equal(headers['content-disposition'], undefined);
    assert.equal(headers['x-injected'], undefined);
  }
});

test('what people and nodes write comes out of the API as JSON, which no browser takes for a page', async () => {
  const made = await post('/api/v1/alert-silences', { pattern: markup, for_seconds: 60, reason: markup });
  assert.equal(made.status, 201, made.body);
  const lists = [
    '/api/v1/drifts',
    '/api/v1/findings',
    '/api/v1/alert-silences',
    '/api/v1/entries',
    '/api/v1/integrity-reports',
  ];
  for (const list of lists) {
    const { status, headers, body } = await ask(list, { headers: { Accept: 'text/html' } });
    assert.equal(status, 200);
    assert.match(String(headers['content-type']), /^application\/json/, list);
    assert.equal(headers['x-content-type-options'], 'nosniff', list);
    if (list !== '/api/v1/integrity-reports') assert.ok(JSON.stringify(JSON.parse(body)).includes('<script>'), list);
  }
});

test('a refusal repeats what was asked as JSON only', async () => {
  const text = encodeURIComponent(markup);
  for (const target of [
    `/${text}`,
    `/api/v1/drifts?${text}=1`,
    `/api/v1/orders/${text.slice(0, 150)}`,
    `/log/tile/${text}`,
  ]) {
    const { status, headers } = await ask(target, { headers: { Accept: 'text/html' } });
    assert.ok(status >= 400 && status < 500, target);
    assert.match(String(headers['content-type']), /^application\/json/, target);
    assert.equal(headers['x-content-type-options'], 'nosniff', target);
  }
});

test('nobody is called by markup', async () => {
  for (const name of [markup.slice(0, 60), '<b>', 'a b\r\nX: 1', 'a"b', "a'b", 'a\u202eb']) {
    const body = { name, role: 'observer', password: 'correct horse battery' };
    assert.equal((await post('/api/v1/users', body)).status, 422, name);
  }
});
