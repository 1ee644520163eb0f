import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collectorKeyPath, loadCollectorKey } from '../../../collector/data/keys.ts';
import { checkpointPath } from '../../../collector/ledger/fs-checkpoint-file.ts';
import type { KeyPair } from '../../../common/keys.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { driftOpened, driftResolved, enrolDirectly, say } from './collectors.ts';
import { extentOf, withLedgerOn } from './opened-ledger.ts';

let postgres: TestPostgres;
let root: string;
/** The collector's data directory, its database, and that as a backup remembers it. */
let dataDir: string;
let main: string;
let backup: string;
/** Tree sizes of the backup and of what was published. */
let early: number;
let late: number;
let lyra: KeyPair;
/** Everything, exported from the database as it was before it was put back. */
let all: string;

before(async () => {
  postgres = await startPostgres();
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-recover-'));
  dataDir = join(root, 'data');
  main = await postgres.migratedDatabase();
  await loadCollectorKey(collectorKeyPath(dataDir));
  const many = (count: number, name: string) =>
    Array.from({ length: count }, (_, i) => driftOpened(`${name}${i}`, 'MISSING_CONTAINER'));
  early = await withLedgerOn(dataDir, main, async (ledger) => {
    lyra = await enrolDirectly(ledger, 'lyra');
    await say(ledger, 'lyra', lyra, many(300, 'a'));
    return (await ledger.checkpoint()).size;
  });
  backup = await postgres.copyOf(main);
  late = await withLedgerOn(dataDir, main, async (ledger) => {
    await say(ledger, 'lyra', lyra, [...many(400, 'b'), driftResolved('a7', 'MISSING_CONTAINER')]);
    await say(ledger, 'node1', await enrolDirectly(ledger, 'node1'), many(20, 'c'));
    return (await ledger.checkpoint()).size;
  });
  all = await exported('all.jsonl');
});
after(async () => {
  await postgres.stop();
  await rm(root, { recursive: true, force: true });
});

/** A command line of the collector on a database. */
async function collector(url: string, ...args: readonly string[]) {
  const env = { DATABASE_URL: url, SIGILWATCH_HTTP_PORT: '0' };
  const { code, stdout, stderr } = await collectorCli(['--data-dir', dataDir, '--json', ...args], env);
  return { code, stderr, json: () => JSON.parse(stdout) };
}

/** An export of the database as it was before it was put back. */
async function exported(name: string, ...args: readonly string[]): Promise<string> {
  const file = join(root, name);
  const { code, stderr } = await collector(main, 'ledger', 'export', '-o', file, ...args);
  assert.equal(code, 0, stderr);
  return file;
}

async function rewritten(file: string, name: string, change: (lines: string[]) => readonly string[]): Promise<string> {
  const path = join(root, name);
  const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1);
  await writeFile(path, `${change(lines).join('\n')}\n`);
  return path;
}

/** Nodes, containers, drifts ... as they stand, by the tables that entries are turned into. */
async function projections(url: string): Promise<unknown> {
  return withLedgerOn(dataDir, url, async (_ledger, db) => {
    const drifts = await db.query('select * from drifts order by opened_index');
    const nodes = await db.query('select node, public_key, revoked_at from nodes order by node');
    return [drifts.rows, nodes.rows];
  });
}

test('a database put back to an old backup is filled up again from an export, and goes on', async () => {
  const restored = await postgres.copyOf(backup);
  const refused = await collector(restored, 'nodes', 'revoke', 'lyra', '--reason', 'test');
  assert.equal(refused.code, 4);
  assert.match(refused.stderr, /^CONTRADICTED: /);
  assert.equal(JSON.parse(refused.stderr.trim().split('\n').at(-1) ?? '').error_code, 'ledger.tampered');
  const { code, json, stderr } = await collector(restored, 'ledger', 'recover', all);
  assert.equal(code, 0, stderr);
  const { root: _root, ...report } = json();
  assert.deepEqual(report, {
    recovered: late - early,
    from: early,
    to: late,
    checkpoint_size: late,
    missing: null,
    files: 1,
  });
  const verified = await collector(restored, 'ledger', 'verify', '--checkpoint', checkpointPath(dataDir));
  assert.equal(verified.code, 0, verified.stderr);
  assert.deepEqual(await projections(restored), await projections(main));
  const again = await collector(restored, 'ledger', 'recover', all);
  assert.deepEqual([again.code, again.json().recovered], [0, 0]);
  await withLedgerOn(dataDir, await postgres.copyOf(restored), async (ledger) => {
    await say(ledger, 'lyra', lyra, [driftOpened('z', 'MISSING_CONTAINER')]);
    assert.equal((await ledger.checkpoint()).size, late + 1);
  }).finally(() => keptAt(late));
});

/** Puts the checkpoint file back to the one of `main`, which a test has let grow beyond it. */
async function keptAt(size: number): Promise<void> {
  await rm(checkpointPath(dataDir));
  await withLedgerOn(dataDir, main, async (ledger) => assert.equal((await ledger.checkpoint()).size, size));
}

test('a database that was lost altogether is filled again from the beginning', async () => {
  const empty = await postgres.migratedDatabase();
  const { code, json, stderr } = await collector(empty, 'ledger', 'recover', all);
  assert.equal(code, 0, stderr);
  assert.deepEqual([json().from, json().to], [0, late]);
  assert.equal((await collector(empty, 'ledger', 'verify')).code, 0);
  assert.deepEqual(await projections(empty), await projections(main));
});

test('what the files do not reach is named as missing, and the rest can be put back later', async () => {
  const middle = early + 200;
  const restored = await postgres.copyOf(backup);
  const folder = join(root, 'parts');
  await mkdir(folder);
  await exported('parts/second.jsonl', '--from', String(middle - 10), '--to', String(late));
  const part = await exported('part.jsonl', '--from', String(early - 5), '--to', String(middle));
  const first = await collector(restored, 'ledger', 'recover', part);
  assert.equal(first.code, 1, first.stderr);
  assert.deepEqual([first.json().to, first.json().missing], [middle, { from: middle, to: late }]);
  const refused = await collector(restored, 'nodes', 'revoke', 'lyra', '--reason', 'test');
  assert.equal(refused.code, 4, 'still refused');
  const second = await collector(restored, 'ledger', 'recover', folder);
  assert.deepEqual([second.code, second.json().to, second.json().missing], [0, late, null]);
  const whole = await postgres.copyOf(backup);
  const both = await collector(whole, 'ledger', 'recover', folder, part);
  assert.deepEqual([both.code, both.json().to, both.json().files], [0, late, 2]);
});

test('commands that only show say aloud that the database was put back', async () => {
  const restored = await postgres.copyOf(backup);
  const shown = [
    ['witnesses', 'list'],
    ['nodes', 'list'],
    ['fleet', 'show'],
    ['fleet', 'show', '--at', 'now'],
    ['ledger', 'replay', '--check'],
  ];
  for (const args of shown) {
    const { code, stderr, json } = await collector(restored, ...args);
    const what = args.join(' ');
    assert.equal(code, 1, `${what}: ${stderr}`);
    const remembered = `${checkpointPath(dataDir)} has a checkpoint of ${late} entries, but in the database it ends at ${early}`;
    assert.match(stderr, /^CONTRADICTED: /, what);
    assert.ok(stderr.includes(remembered) && stderr.includes('ledger recover FILE'), stderr);
    const { contradicted } = json();
    assert.deepEqual([contradicted.published.size, contradicted.found.size], [late, early], what);
    assert.match(contradicted.reason, new RegExp(`${late - early} are missing`));
  }
  const inOrder = await collector(main, 'witnesses', 'list');
  assert.deepEqual([inOrder.code, inOrder.stderr, inOrder.json().contradicted], [0, '', undefined]);
  const verified = await collector(restored, 'ledger', 'verify');
  assert.deepEqual([verified.code, verified.json().fault.index], [1, early]);
  assert.match(verified.json().fault.message, new RegExp(`entries ${early} to ${late - 1} were removed`));
  const without = await collector(main, 'ledger', 'verify', '--checkpoint', join(root, 'nope.txt'));
  assert.equal(without.code, 2);
  assert.match(without.stderr, /nope\.txt: ENOENT/);
  assert.equal((await extentOf(restored))[0]?.size, early);
});

test('files that begin after the end of the database, or that nothing vouches for, put nothing back', async () => {
  const restored = await postgres.copyOf(backup);
  const before = await extentOf(restored);
  const later = await exported('later.jsonl', '--from', String(early + 1));
  const gap = await collector(restored, 'ledger', 'recover', later);
  assert.equal(gap.code, 2);
  assert.match(gap.stderr, new RegExp(`entries ${early} to ${early} are missing`));
  const unsigned = await rewritten(all, 'unsigned.jsonl', (lines) => lines.slice(0, -10));
  const unvouched = await collector(restored, 'ledger', 'recover', unsigned);
  assert.equal(unvouched.code, 2, unvouched.stderr);
  assert.match(unvouched.stderr, /no checkpoint that vouches/);
  const nothing = await collector(restored, 'ledger', 'recover', join(root, 'nothing'));
  assert.equal(nothing.code, 2);
  assert.deepEqual(await extentOf(restored), before);
});

test('a changed line puts nothing back; one left out or misplaced ends what is put back before it', async () => {
  const at = early + 150;
  const named = new RegExp(`jsonl:${at + 1}: entry ${at} cannot be put back: .* the line was changed`);
  const changes: Record<string, { to: number; change: (lines: string[]) => readonly string[]; says?: RegExp }> = {
    'another kind': {
      to: early,
      change: (lines) => lines.with(at, (lines[at] ?? '').replaceAll('MISSING_', 'MIXXING_')),
    },
    'another container': {
      to: early,
      says: named,
      change: (lines) => lines.with(at, (lines[at] ?? '').replaceAll(/b(\d+)/g, 'x$1')),
    },
    'a spelling of its own': {
      to: early,
      says: named,
      change: (lines) => lines.with(at, (lines[at] ?? '').replace(/\\"prev\\":\\"./, '\\"prev\\":\\"x')),
    },
    'another signature': {
      to: early,
      says: named,
      change: (lines) => lines.with(at, (lines[at] ?? '').replace(/"signature":"..../, '"signature":"AAAA')),
    },
    'another checkpoint': {
      to: early,
      change: (lines) => lines.with(-1, (lines.at(-1) ?? '').replace(`\\n${late}\\n`, `\\n${late - 1}\\n`)),
    },
    'cut in the middle of a line': {
      to: early,
      change: (lines) => [...lines.slice(0, at), (lines[at] ?? '').slice(0, 50)],
    },
    'left out': { to: at, change: (lines) => lines.toSpliced(at, 1) },
    'another index': {
      to: at,
      change: (lines) => lines.with(at, (lines[at] ?? '').replace(`"index":${at}`, `"index":${at + 1}`)),
    },
    'told twice': { to: late, change: (lines) => lines.toSpliced(at, 0, lines[at] ?? '') },
  };
  for (const [name, { to, change, says = /./ }] of Object.entries(changes)) {
    const restored = await postgres.copyOf(backup);
    const file = await rewritten(all, `${name}.jsonl`, change);
    const { code, stderr } = await collector(restored, 'ledger', 'recover', file);
    assert.equal(code === 0, to === late, `${name}: ${stderr}`);
    if (to === early) assert.match(stderr, says, name);
    assert.equal((await extentOf(restored))[0]?.size, to, name);
    if (to === late) assert.equal((await collector(restored, 'ledger', 'verify')).code, 0, name);
  }
});

test('a database that has gone its own way since the backup is not mixed with what was lost', async () => {
  const forked = await postgres.copyOf(backup);
  const elsewhere = join(root, 'elsewhere');
  await mkdir(elsewhere, { mode: 0o700 });
  await copyFile(collectorKeyPath(dataDir), collectorKeyPath(elsewhere));
  await withLedgerOn(elsewhere, forked, (ledger) => enrolDirectly(ledger, 'node7'));
  const before = await extentOf(forked);
  const { code, stderr } = await collector(forked, 'ledger', 'recover', all);
  assert.equal(code, 4);
  assert.match(stderr, /gone its own way/);
  assert.deepEqual(await extentOf(forked), before);
});
