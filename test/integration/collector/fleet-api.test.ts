import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { withTransaction } from '../../../collector/postgres/pool.ts';
import type { KeyPair } from '../../../common/keys.ts';
import type { Statement } from '../../../common/kinds.ts';
import { appendLeaves, emptyRange, rootOf, splitHashes } from '../../../common/merkle.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import {
  driftOpened,
  driftResolved,
  enrolDirectly,
  say,
  startTestCollector,
  type TestCollector,
} from './collectors.ts';

let postgres: TestPostgres;
let url: string;
let under: TestCollector;
let lyra: KeyPair;
/** Their order is not that of a dictionary. */
const others = ['a-b', 'a1', 'ab'];
/** Sizes of the ledger: nothing observed yet, and a stranger beside the wanted container. */
let quiet: number;
let busy: number;

before(async () => {
  postgres = await startPostgres();
  url = await postgres.emptyDatabase();
  under = await startTestCollector(url);
  lyra = await enrolDirectly(under.ledger, 'lyra');
  quiet = await ledgerSize();
  await say(under.ledger, 'lyra', lyra, [
    { kind: 'agent.started', body: { version: '0.1.0', runtime: 'node', hostname: 'host\u001b[31m' } },
    observed([container('web', 'running'), container('rogue', 'running')]),
    driftOpened('rogue', 'UNAUTHORIZED_CONTAINER'),
    finding('bad\u202ekey'),
  ]);
  busy = await ledgerSize();
  await say(under.ledger, 'lyra', lyra, [
    { kind: 'observed', body: { baseline: false, upserted: [], removed: [container('rogue', 'running').id] } },
    driftResolved('rogue', 'UNAUTHORIZED_CONTAINER'),
  ]);
  for (const name of others) await enrolDirectly(under.ledger, name);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

async function ledgerSize(): Promise<number> {
  return (await under.ledger.checkpoint()).size;
}

function container(name: string, state: ObservedContainer['state']): ObservedContainer {
  const at = '2026-01-01T00:00:00Z';
  const image = { image: `registry.local/${name}:1`, imageId: `sha256:${name}` };
  const counts = { health: 'none', exitCode: 0, restartCount: 0 } as const;
  const id = Buffer.from(name.padEnd(32)).toString('hex');
  return { id, name, state, ...image, ...counts, createdAt: at, startedAt: at, finishedAt: null };
}

function observed(upserted: ObservedContainer[]): Statement {
  return { kind: 'observed', body: { baseline: true, upserted, removed: [] } };
}

function finding(key: string): Statement {
  const nothing = { keyRange: null, file: null, offset: null, expected: null, actual: null };
  const body = {
    id: 'f'.repeat(32),
    check: 'checksum',
    key,
    detail: 'the checksum is another one',
    ...nothing,
  } as const;
  return { kind: 'sigil.finding', body: { store: 'main', finding: body } };
}

type Json = Record<string, unknown>;

interface Answer {
  readonly as_of: {
    readonly size: number;
    readonly received_at: string;
    readonly root: string;
    readonly source: string;
  };
  readonly items: readonly (Json & { readonly node: string; readonly containers: Json[]; readonly drifts: Json[] })[];
  readonly next_cursor: string | null;
}

function isAnswer(json: unknown): json is Answer {
  return typeof json === 'object' && json !== null && 'as_of' in json && 'items' in json;
}

async function ask(query = ''): Promise<Answer> {
  const { status, json } = await under.get(`/api/v1/fleet${query}`);
  assert.equal(status, 200, JSON.stringify(json));
  const answer: unknown = json;
  assert.ok(isAnswer(answer));
  return answer;
}

async function refused(query: string, status: number, code: string, message: RegExp): Promise<void> {
  const answer = await under.get(`/api/v1/fleet${query}`);
  assert.equal(answer.status, status, `${query}: ${JSON.stringify(answer.json)}`);
  assert.equal(answer.json.error_code, code);
  assert.match(String(answer.json.message), message);
}

describe('GET /api/v1/fleet', () => {
  test('wants a token', async () => {
    assert.equal((await fetch(`${under.collector.url}/api/v1/fleet`)).status, 401);
  });

  test('without a moment tells the present, and the same when its size is asked for', async () => {
    const present = await ask();
    const size = await ledgerSize();
    assert.deepEqual([present.as_of.size, present.as_of.source], [size, 'projections']);
    assert.deepEqual(
      present.items.map(({ node }) => node),
      ['a-b', 'a1', 'ab', 'lyra'],
    );
    const same = await ask(`?size=${size}`);
    assert.equal(same.as_of.source, 'entries');
    assert.deepEqual(same.items, present.items);
    assert.equal(same.as_of.root, present.as_of.root);
  });

  test('tells what stood then and what did not', async () => {
    const [node] = (await ask(`?size=${busy}`)).items;
    assert.deepEqual(
      node?.containers.map(({ name, state }) => [name, state]),
      [
        ['rogue', 'running'],
        ['web', 'running'],
      ],
    );
    assert.deepEqual(
      node?.drifts.map(({ container }) => container),
      ['rogue'],
    );
    const [before] = (await ask(`?size=${quiet}`)).items;
    assert.deepEqual([before?.containers, before?.drifts, before?.last], [[], [], null]);
    const [now] = (await ask('?node=lyra')).items;
    assert.deepEqual([now?.containers.length, now?.drifts.length], [1, 0]);
  });

  test('a time leads to the size that was reached by then, and its root is that of the log', async () => {
    const { as_of } = await ask(`?size=${busy}`);
    const answer = await ask(`?at=${as_of.received_at}`);
    assert.deepEqual(answer.as_of, as_of);
    const tile = await fetch(`${under.collector.url}/log/tile/0/000.p/${busy}`, {
      headers: { Authorization: `Bearer ${under.token}` },
    });
    const leaves = splitHashes(Buffer.from(await tile.arrayBuffer()));
    assert.equal(as_of.root, rootOf(appendLeaves(emptyRange, leaves)).toString('base64'));
  });

  for (const moment of ['', '&at=now']) {
    test(`its pages tell of one moment while the ledger grows${moment}`, async () => {
      const query = `?limit=1${moment.replace('now', new Date().toISOString())}`;
      const whole = await ask(query.replace('limit=1', 'limit=100'));
      const seen: Answer['items'][number][] = [];
      let answer = await ask(query);
      for (let round = 0; ; round++) {
        assert.deepEqual([answer.as_of.size, answer.as_of.root], [whole.as_of.size, whole.as_of.root]);
        seen.push(...answer.items);
        if (answer.next_cursor === null) break;
        await say(under.ledger, 'lyra', lyra, [observed([container(`new${round}`, 'running')])]);
        answer = await ask(`${query}&cursor=${answer.next_cursor}`);
      }
      assert.deepEqual(seen, whole.items);
    });
  }

  test('a node that was not there yet is not there', async () => {
    assert.deepEqual((await ask(`?size=${busy}&node=ab`)).items, []);
    assert.equal((await ask('?node=ab')).items.length, 1);
  });

  test('what cannot be told is refused, and why', async () => {
    const { next_cursor: ours } = await ask(`?size=${await ledgerSize()}&limit=1`);
    const { json: nodes } = await under.get('/api/v1/nodes?limit=1');
    await refused('?at=yesterday', 400, 'validation.request', /"at".*RFC 3339/);
    await refused('?at=2999-01-01T00:00:00Z', 400, 'validation.request', /has not come yet/);
    await refused(`?size=${busy}&at=2026-01-01T00:00:00Z`, 400, 'validation.request', /both name a moment/);
    await refused('?size=-1', 400, 'validation.request', /"size"/);
    await refused('?when=now', 400, 'validation.request', /unknown parameter "when"/);
    await refused(`?cursor=${nodes.next_cursor}`, 400, 'validation.request', /"cursor"/);
    await refused(`?size=${busy}&cursor=${ours}`, 400, 'validation.request', /not that of the cursor/);
    await refused('?at=2001-01-01T00:00:00Z', 404, 'resource.not_found', /before the ledger's first entry/);
    await refused('?size=0', 404, 'resource.not_found', /before the ledger's first entry/);
    await refused('?size=999999', 404, 'resource.not_found', /only [0-9]+ entries/);
  });

  test('a node revoked since was active then', async () => {
    const before = await ledgerSize();
    const body = { node: 'a1', fingerprint: '', reason: 'stolen' };
    await under.ledger.record({ kind: 'node.revoked', body });
    assert.equal((await ask('?node=a1')).items[0]?.state, 'revoked');
    assert.equal((await ask(`?node=a1&size=${before + 1}`)).items[0]?.state, 'revoked');
    assert.equal((await ask(`?node=a1&size=${before}`)).items[0]?.state, 'active');
  });
});

function cli(...args: readonly string[]) {
  return collectorCli(['fleet', 'show', ...args, '--data-dir', under.settings.dataDir], { DATABASE_URL: url });
}

describe('fleet show', () => {
  test('prints what the API answers', async () => {
    for (const [args, query] of [
      [[], ''],
      [['--size', String(busy)], `?size=${busy}`],
      [['--node', 'lyra', '--at', 'now'], `?node=lyra&size=${await ledgerSize()}`],
    ] as const) {
      const { code, stdout, stderr } = await cli(...args, '--json');
      assert.equal(code, 0, stderr);
      const { next_cursor: _, ...answer } = await ask(query);
      assert.deepEqual(JSON.parse(stdout), answer);
    }
  });

  test('shows people each node with containers, drifts and findings, and lets nothing move their cursor', async () => {
    const { code, stdout } = await cli('--size', String(busy));
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^${busy} entries, the last received at 20.*told by the entries themselves`));
    assert.match(stdout, /\nlyra {2}active, last entry \d+ at /);
    assert.match(stdout, /agent 0\.1\.0 on host\ufffd\[31m, started/);
    assert.match(stdout, /rogue +running +none +registry\.local\/rogue:1/);
    assert.match(stdout, /UNAUTHORIZED_CONTAINER +rogue +20/);
    assert.match(stdout, /checksum +main +20\S+ +bad\ufffdkey: the checksum is another one/);
    assert.doesNotMatch(stdout.replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
    assert.match((await cli('--size', '1')).stdout, /no node was enrolled by then/);
  });

  test('takes times as people write them', async () => {
    const now = JSON.parse((await cli('--at', 'now', '--json')).stdout).as_of;
    for (const at of ['-0m', '0 seconds ago', now.received_at, now.received_at.replace('T', ' ').replace('Z', '')]) {
      const { code, stdout, stderr } = await cli('--at', at, '--json');
      assert.equal(code, 0, stderr);
      assert.deepEqual(JSON.parse(stdout).as_of, now, at);
    }
    for (const at of ['-2w', '1 hour ago', '2026-01-01', '2026-01-01 10:00', '2026-01-01T10:00+02:00']) {
      const { code, stderr } = await cli('--at', at);
      assert.equal(code, 2, at);
      assert.match(stderr, /resource\.not_found: that is before the ledger's first entry, of 20/, at);
    }
  });

  test('says what is wrong with a moment or a node', async () => {
    const wrong: readonly (readonly [args: readonly string[], message: RegExp])[] = [
      [['--at', 'tomorrow'], /"tomorrow" is not a time: give one such as/],
      [['--at', '2026-02-30'], /is not a time/],
      [['--at', '15 parsecs ago'], /is not a time/],
      [['--at', '2999-01-01'], /has not come yet: here it is/],
      [['--size', 'ten'], /--size ten: a number of entries/],
      [['--size', '999999'], /only \d+ entries/],
      [['--size', '1', '--at', 'now'], /both name a moment/],
      [['--node', 'NO'], /cannot be a node name/],
      [['--node', 'nobody'], /no node nobody was enrolled by the first \d+ entries/],
    ];
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await cli(...args);
      assert.deepEqual([code, stdout], [2, ''], args.join(' '));
      assert.match(stderr, message);
    }
  });
});

test('what was erased is gone for API and command', async () => {
  await withTransaction(under.db, async (tx) => {
    await tx.query('set local session_replication_role = replica');
    await tx.query(`insert into projection_bases values (${busy}, 0, 'nodes', '{}')`);
  });
  await refused(`?size=${quiet}`, 410, 'resource.gone', /was erased; the ledger tells how the fleet was from size/);
  const { code, stderr } = await cli('--size', String(quiet));
  assert.equal(code, 2);
  assert.match(stderr, /resource\.gone/);
  // No entry vouches for what was put there.
  await refused(`?size=${busy}`, 500, 'ledger.tampered', /no signed entry says/);
  assert.equal((await ask()).as_of.source, 'projections');
});
