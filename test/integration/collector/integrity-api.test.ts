import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { collectedReport } from '../../../common/collected-report.ts';
import type { Statement } from '../../../common/kinds.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { missed, nightlyOn } from './checked.ts';
import { enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

/** What would run, break out of an attribute, hide text, or break a database that parses it. */
const nasty = `"><script>alert(1)</script><img src=x onerror='x'>\u202e\u0000&amp;`;
/** How another status would look in the bytes of an entry, if quotes within strings were not escaped. */
const posing = ',"status":"findings","stores":[';
const counts = { tables: 1, blocks: 2, bytes: 3, records: 4, sigils: 5 };
const sha256 = 'ab'.repeat(32);

let postgres: TestPostgres;
let under: TestCollector;
/** Name of the collector's own report, which a node then gives to one of its own. */
let ownName: string;
/** By what was said. */
const indexes: Record<string, number> = {};

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  await missed(under.db, 1);
  await (await nightlyOn(under)).look(new AbortController().signal);
  ownName = String((await items('?node=collector'))[0]?.report);
  const [lyra, node1] = [await enrolDirectly(under.ledger, 'lyra'), await enrolDirectly(under.ledger, 'node1')];
  const tell = async (node: string, keys: typeof lyra, name: string, statements: readonly Statement[]) => {
    await say(under.ledger, node, keys, statements);
    indexes[name] = (await under.ledger.checkpoint()).size - 1;
  };
  await tell('lyra', lyra, 'ok', [report(ownName, 'ok', [{ store: posing, findings: 0 }])]);
  await tell('lyra', lyra, 'found', [
    finding('main', '1'.repeat(32), nasty),
    finding('main', '2'.repeat(32), 'gone before the report'),
    { kind: 'sigil.cleared', body: { store: 'main', id: '2'.repeat(32) } },
    finding(nasty, '3'.repeat(32), 'in a store with such a name'),
    finding('elsewhere', '4'.repeat(32), 'in a store that the report does not name'),
    report('20260101T020000000Z-00000001', 'findings', [
      { store: 'main', findings: 3 },
      { store: nasty, findings: 1 },
    ]),
  ]);
  // What happens later does not change what the report says.
  await tell('lyra', lyra, 'later', [
    { kind: 'sigil.cleared', body: { store: 'main', id: '1'.repeat(32) } },
    finding('main', '5'.repeat(32), 'found later'),
  ]);
  await tell('node1', node1, 'node1', [report('20260101T020000000Z-00000002', 'ok', [])]);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

function finding(store: string, id: string, key: string): Statement {
  const place = { keyRange: null, file: null, offset: null, expected: nasty, actual: null };
  const found: SigilFinding = { id, check: 'checksum', key, ...place, detail: 'the checksum differs' };
  return { kind: 'sigil.finding', body: { store, finding: found } };
}

function report(
  id: string,
  status: 'ok' | 'findings',
  named: readonly { store: string; findings: number }[],
): Statement {
  const when = { startedAt: '2026-01-01T02:00:00.000Z', finishedAt: '2026-01-01T02:01:00.000Z' };
  const stores = named.map(({ store, findings }) => {
    return { store, status: findings > 0 ? ('findings' as const) : ('ok' as const), counts, findings };
  });
  return { kind: 'integrity.report', body: { report: id, status, ...when, sha256, stores } };
}

async function items(query: string): Promise<Record<string, unknown>[]> {
  const { status, json } = await under.get(`/api/v1/integrity-reports${query}`);
  assert.equal(status, 200, JSON.stringify(json));
  assert.ok(Array.isArray(json.items));
  return json.items;
}

function ask(path: string, headers: Record<string, string> = {}): Promise<Response> {
  const url = `${under.collector.url}/api/v1/integrity-reports/${path}`;
  return fetch(url, { headers: { Authorization: `Bearer ${under.token}`, ...headers } });
}

const authors = (rows: readonly Record<string, unknown>[]) => rows.map(({ author }) => author);

test('all reports are listed, newest first, by author and by status, page by page', async () => {
  assert.deepEqual(authors(await items('')), ['node1', 'lyra', 'lyra', 'collector']);
  assert.deepEqual(authors(await items('?node=lyra')), ['lyra', 'lyra']);
  assert.deepEqual(authors(await items('?status=ok')), ['node1', 'lyra', 'collector']);
  assert.deepEqual(authors(await items('?status=findings')), ['lyra']);
  const { json } = await under.get('/api/v1/integrity-reports?limit=3');
  const rest = await items(`?limit=3&cursor=${json.next_cursor}`);
  assert.deepEqual(authors(rest), ['collector']);
  const [found] = await items('?status=findings');
  assert.deepEqual(
    [found?.index, found?.report, found?.findings, found?.stores, found?.sha256],
    [indexes.found, '20260101T020000000Z-00000001', 4, 2, sha256],
  );
});

test('what is asked for wrongly is refused', async () => {
  for (const query of ['?status=bad', '?node=Lyra', '?author=lyra', '?cursor=x']) {
    assert.equal((await under.get(`/api/v1/integrity-reports${query}`)).status, 400, query);
  }
  for (const [path, status] of [
    ['99999999', 404],
    ['0', 404],
    [String(indexes.later), 404],
    ['20260101T020000000Z-00000001', 404],
    ['..%2f..%2fetc%2fpasswd', 404],
    [`${indexes.found}?download=yes`, 400],
  ] as const) {
    assert.equal((await ask(path)).status, status, path);
  }
  const url = `${under.collector.url}/api/v1/integrity-reports/${indexes.found}`;
  assert.equal((await fetch(url)).status, 401);
});

test('the report of a node has the findings that stood at its entry, and says what it was composed of', async () => {
  const made = collectedReport.parse(JSON.parse(await (await ask(`${indexes.found}`)).text()));
  assert.deepEqual(made.composed, { index: indexes.found, sha256 });
  assert.deepEqual(
    made.stores.map(({ findings, moreFindings }) => [findings.map(({ id }) => id[0]), moreFindings]),
    [
      [['1'], 2],
      [['3'], 0],
    ],
  );
  assert.equal(made.ledger, null);
});

test('what a node puts into names and keys does nothing in a page, and nothing may run or load there', async () => {
  for (const answer of [
    await ask(`${indexes.found}.html?download=true`),
    await ask(`${indexes.found}?download=true`, { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }),
  ]) {
    const page = await answer.text();
    assert.match(answer.headers.get('Content-Type') ?? '', /^text\/html/);
    const policy = answer.headers.get('Content-Security-Policy') ?? '';
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /sandbox/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(answer.headers.get('X-Content-Type-Options'), 'nosniff');
    assert.equal(
      answer.headers.get('Content-Disposition'),
      `attachment; filename="integrity-lyra-${indexes.found}.html"`,
    );
    assert.doesNotMatch(page, /<script|<img|\u202e|\0/);
    assert.match(page, /&#34;&#62;&#60;script&#62;alert\(1\)/);
    assert.match(page, /Composed of the entry/);
  }
  const json = await ask(`${indexes.found}.json`, { Accept: 'text/html' });
  assert.match(json.headers.get('Content-Type') ?? '', /^application\/json/);
  assert.equal(json.headers.get('Content-Disposition'), null);
});

test('a node that names its report as the collector named its own does not stand in its way', async () => {
  const made = collectedReport.parse(JSON.parse(await (await ask(ownName)).text()));
  assert.deepEqual([made.author, made.ledger?.status], ['collector', 'ok']);
});

test('once retention has dropped a body, the report is gone, and listed as that', async () => {
  const of = indexes.node1 ?? -1;
  await changeOneByOne(under.db);
  await under.db.query(`set session_replication_role = replica; delete from entry_bodies where index = ${of}`);
  await under.db.query('set session_replication_role = default');
  assert.equal((await ask(String(of))).status, 410);
  const [newest] = await items('?limit=1');
  assert.deepEqual([newest?.index, newest?.status, newest?.report], [of, null, null]);
});
