import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { genesis, headAfter, type SignedEntry, sealEntry } from '../../../common/entry.ts';
import { cleared } from '../../authors.ts';
import { collectorCli } from '../../collector-cli.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { enrolDirectly, startTestCollector, type TestCollector } from './collectors.ts';
import { layPartitions } from './erasable.ts';

/*
 * A ledger whose bodies before `boundary` were erased, and in which the owner of the database, for whom no trigger stands in the way,
 * then takes away or changes others.
 */

const boundary = 600;

let postgres: TestPostgres;
let root: string;
let under: TestCollector;
let database: { url: string; ownerUrl: string };

before(async () => {
  postgres = await startPostgres();
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-taken-'));
  database = await postgres.writerDatabase();
  await layPartitions(database.ownerUrl, [boundary]);
  const owner = await connectClient({ url: database.ownerUrl, applicationName: 'test' });
  await changeOneByOne(owner);
  await owner.end();
  under = await startTestCollector(database.url, { DATABASE_OWNER_URL: database.ownerUrl });
  const { privateKey } = await enrolDirectly(under.ledger, 'lyra');
  const told: SignedEntry[] = [];
  for (let head = genesis; told.length < 1_100; ) {
    const entry = sealEntry(cleared(`c${told.length}`), { author: 'lyra', head, now: Date.now(), privateKey });
    head = headAfter(entry);
    told.push(entry);
  }
  await under.ledger.append(told);
  const erased = await cli(['ledger', 'erase', '--to', String(boundary), '--no-export', '--yes']);
  assert.equal(erased.code, 0, erased.stderr);
});
after(async () => {
  await under?.stop();
  await postgres.stop();
  await rm(root, { recursive: true, force: true });
});

function cli(argv: readonly string[]) {
  return collectorCli(argv, {
    SIGILWATCH_DATA_DIR: under.settings.dataDir,
    DATABASE_URL: database.url,
    DATABASE_OWNER_URL: database.ownerUrl,
  });
}

async function asOwner(sql: string): Promise<void> {
  const client = await connectClient({ url: database.ownerUrl, applicationName: 'test' });
  try {
    await client.query('set session_replication_role = replica');
    assert.equal((await client.query(sql)).rowCount, 1, sql);
  } finally {
    await client.end();
  }
}

/** Exit code 4, the entry named, and no file. */
async function assertRefused(args: readonly string[], index: number): Promise<void> {
  const { code, stderr } = await cli(['ledger', ...args, '-o', join(root, 'refused')]);
  assert.equal(code, 4, args.join(' '));
  assert.match(stderr, new RegExp(`entry ${index}: `));
  assert.deepEqual(await readdir(root), []);
}

async function bundle(path: string): Promise<readonly [status: number, code: unknown]> {
  const { status, headers, json } = await under.get(`/log/tile/entries/${path}`);
  assert.equal(headers.get('Cache-Control'), 'no-store');
  return [status, json.error_code];
}

test('what was erased is proved without its entry, and its bundle is gone', async () => {
  const file = join(root, 'erased');
  const { code, stderr } = await cli(['ledger', 'proof', '300', '-o', file]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /was erased/);
  await rm(file);
  assert.deepEqual(await bundle('001'), [410, 'resource.gone']);
});

test('an export that ends before the entry which says what was erased says how far it has to go', async () => {
  const file = join(root, 'short');
  const short = await cli(['ledger', 'export', '--from', '10', '--to', '650', '-o', file]);
  assert.equal(short.code, 0, short.stderr);
  const [, end = ''] = /590 entries .*--to (\d+)/.exec(short.stderr) ?? [];
  await rm(file);
  const long = await cli(['ledger', 'export', '--from', '10', '--to', end, '-o', file]);
  assert.equal(long.code, 0, long.stderr);
  assert.doesNotMatch(long.stderr, /--to/);
  await rm(file);
});

test('a body that was taken away is not told as erased by exports, proofs and bundles; the list of entries goes on', async () => {
  await asOwner('delete from entry_bodies where index = 800');
  await assertRefused(['export'], 800);
  await assertRefused(['export', '--from', '790', '--to', '810'], 800);
  await assertRefused(['proof', '800'], 800);
  assert.deepEqual(await bundle('003'), [500, 'ledger.tampered']);
  const { json } = await under.get('/api/v1/entries?author=lyra&limit=1000');
  const items = json.items as { index: number; entry: unknown }[];
  const without = items.filter(({ index, entry }) => entry === null && index >= boundary);
  assert.deepEqual(
    without.map(({ index }) => index),
    [800],
  );
});

test('an entry that was changed is not proved or served', async () => {
  await asOwner(`update entry_bodies set bytes = bytes || '\\x20'::bytea where index = 1030`);
  await assertRefused(['export', '--from', '1025', '--to', '1031'], 1030);
  await assertRefused(['proof', '1030'], 1030);
  assert.deepEqual(await bundle('004.p/20'), [500, 'ledger.tampered']);
});

test('an entry whose hash was changed with it is not proved or served', async () => {
  await asOwner(`update entry_bodies set signature = decode(repeat('00', 64), 'hex') where index = 900`);
  await asOwner(`update entries set leaf_hash = (select sha256('\\x00'::bytea || bytes || signature)
                   from entry_bodies where index = 900) where index = 900`);
  await assertRefused(['proof', '900'], 900);
  assert.deepEqual((await bundle('003.p/140'))[0], 500);
});

test('a body of a kind that is kept is never told as erased', async () => {
  const { json } = await under.get('/api/v1/entries?kind=node.enrolled');
  const [{ index } = assert.fail('nobody was enrolled')] = json.items as { index: number }[];
  assert.ok(index < boundary);
  await asOwner(`delete from entry_bodies where index = ${index}`);
  await assertRefused(['proof', String(index)], index);
  await assertRefused(['export'], index);
  await assertRefused(['export', '--from', '900', '--to', '910'], index);
});
