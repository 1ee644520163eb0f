import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { integrityReport } from '../../../common/integrity-report.ts';
import { restoreCommand } from '../../../common/restore-command.ts';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import { agentCommand } from '../program.ts';
import { digests, Keeping } from '../sigils/kept/keeping.ts';
import { nthRecord, putRecords, secret, withStore } from '../sigils/stores.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
/** What a shell, a terminal and a command line could take for something else. */
const oddKey = 'lyra!sigil!-it\'s "$HOME" \\ \u001b[2J\u202eé!';
const odd = makeSigilRecord({
  tenant: 'lyra',
  symbol: oddKey.slice('lyra!sigil!'.length, -1),
  secret,
  authHash: 'ab'.repeat(32),
});
const good = nthRecord(3);
const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
let folder: string;
let path: string;
let keeping: Keeping;
let config: string;

beforeEach(async () => {
  folder = mkdtempSync(join(temp, 'world-'));
  path = join(folder, 'db');
  config = join(folder, 'agent.yaml');
  writeFileSync(config, `dataDir: ${folder}/data\nsigils: {stores: {main: ${path}}, secrets: [${secret}]}\n`);
  await withStore(path, (db) => putRecords(db, 0, 400), { writeBufferSize: 64 * 1024 });
  await withStore(path, (db) => db.put(odd.key, odd.value));
  keeping = new Keeping(path, join(folder, 'data'));
  await keeping.night();
});

const integrity = (...args: string[]) => agentCommand(['--config', config, 'integrity', ...args]);
const restore = (...args: string[]) => integrity('restore', '--store', 'main', ...args);
const spoil = (key: string) => withStore(path, (db) => db.put(key, { ...good.value, checksum: '0'.repeat(64) }));

/** A process of its own: whoever reads a LOCK file gives up the locks that his process has on it. */
async function holdOpen(store: string): Promise<ChildProcess> {
  const script = `const { Level } = await import('level'); const db = new Level(process.argv[1]); await db.open();
    await db.compactRange('\\u0000', '\\uffff'); console.log('open'); setInterval(() => {}, 1000);`;
  const args = ['--input-type=module', '-e', script, store];
  const owner = spawn(process.execPath, args, {
    cwd: join(import.meta.dirname, '../../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(owner.stdout, 'data');
  return owner;
}

async function stored(key: string): Promise<unknown> {
  let found: unknown;
  await withStore(path, async (db) => {
    found = await db.get(key);
  });
  return found;
}

async function reported() {
  const { stdout } = await integrity('run', '--node', 'lyra', '--json');
  const report = integrityReport.parse(JSON.parse(stdout));
  return { report, store: report.stores[0] ?? assert.fail('the report has no store') };
}

describe('integrity restore', () => {
  test('a report names the last good copy of a spoilt record, and a command that writes just that out', async () => {
    await spoil(good.key);
    await spoil(odd.key);
    const [id] = await keeping.ids();
    const { report, store } = await reported();
    const keys = new Set<string | null>();
    for (const finding of store.findings) {
      assert.equal(finding.lastGood?.snapshot, id);
      if (keys.has(finding.key)) continue;
      keys.add(finding.key);
      const command = restoreCommand('main', finding) ?? assert.fail('there is no command');
      const words = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], { encoding: 'utf8' });
      const [program, ...args] = words.split('\0').slice(0, -1);
      const to = join(folder, `${finding.id}.json`);
      const done = await agentCommand([
        '--config',
        config,
        ...args.map((arg) => (arg.startsWith('--to=') ? `--to=${to}` : arg)),
      ]);
      assert.deepEqual([program, done.code, done.stderr], ['sigilwatch-agent', 0, '']);
      assert.deepEqual(readFileSync(to), bytesOf((finding.key === good.key ? good : odd).value));
      assert.equal(statSync(to).mode & 0o777, 0o600);
    }
    assert.equal(keys.size, 2);
    const page = join(folder, 'page.html');
    const shown = await integrity('show', report.id, '--html', page);
    assert.match(shown.stdout, /restore it: sigilwatch-agent integrity restore --store=main --key='lyra!sigil!S3/);
    assert.match(readFileSync(page, 'utf8'), /<dt>restore it<\/dt><dd><code>sigilwatch-agent integrity restore/);
  });

  test('asks for the store only where there are several', async () => {
    await withStore(path, (db) => db.del(good.key));
    const only = await integrity('restore', '--key', good.key, '--to', '-');
    assert.deepEqual([only.code, only.stdout], [0, JSON.stringify(good.value)]);
    const stores = `{main: ${path}, side: ${path}}`;
    writeFileSync(config, `dataDir: ${folder}/data\nsigils: {stores: ${stores}, secrets: [${secret}]}\n`);
    const several = await integrity('restore', '--key', good.key, '--to', '-');
    assert.equal(several.code, 2);
    assert.match(several.stderr, /give --store; there is main, side/);
  });

  test('brings a record back that is gone, and leaves the store alone while doing so', async () => {
    await withStore(path, (db) => db.del(good.key));
    const before = digests(path);
    const { code, stdout, stderr } = await restore('--key', good.key, '--to', '-');
    assert.deepEqual([code, stdout], [0, JSON.stringify(good.value)]);
    assert.match(stderr, /as of .* \(snapshot /);
    assert.deepEqual(digests(path), before);
  });

  test('writes over no file, and writes none for a record that is not good, or not there', async () => {
    const to = join(folder, 'out.json');
    writeFileSync(to, 'mine');
    const over = await restore('--key', good.key, '--to', to);
    assert.deepEqual([over.code, readFileSync(to, 'utf8')], [4, 'mine']);
    for (const args of [
      ['--key', 'lyra!sigil!S!nobody'],
      ['--key', good.key, '--from', '20200101T000000000Z'],
    ]) {
      const none = await restore(...args, '--to', join(folder, 'none'));
      assert.equal(none.code, 2);
      assert.match(none.stderr, /no snapshot/);
    }
    assert.ok(!readdirSync(folder).includes('none'));
  });

  test('refuses a record whose signature is of another secret', async () => {
    writeFileSync(config, `dataDir: ${folder}/data\nsigils: {stores: {main: ${path}}, secrets: [another]}\n`);
    const { code, stderr } = await restore('--key', good.key, '--to', join(folder, 'none'));
    assert.equal(code, 2);
    assert.match(stderr, /\(signature\)/);
    assert.ok(!readdirSync(folder).includes('none'));
  });
});

test('a disk that is full keeps no part of a record', async (t) => {
  const small = join(folder, 'small');
  mkdirSync(small);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', small], { encoding: 'utf8' });
  if (mounted.status !== 0) return t.skip(`no tmpfs can be mounted: ${mounted.stderr}`);
  t.after(() => execFileSync('umount', [small]));
  const large = makeSigilRecord({ tenant: 'lyra', symbol: 'LARGE', secret, data: { text: 'x'.repeat(10_000) } });
  await withStore(path, (db) => db.put(large.key, large.value));
  await keeping.night();
  const { code, stderr } = await restore('--key', large.key, '--to', join(small, 'out.json'));
  assert.equal(code, 4);
  assert.match(stderr, /ENOSPC/);
  assert.deepEqual(readdirSync(small), []);
});

describe('integrity restore --apply', () => {
  test('opens no store in which something that is no file stands for a log', async () => {
    await spoil(good.key);
    for (const make of [(at: string) => execFileSync('mkfifo', [at]), (at: string) => symlinkSync('/etc/passwd', at)]) {
      const planted = join(path, '900000.log');
      make(planted);
      const { code, stderr } = await restore('--key', good.key, '--apply', '--yes');
      assert.equal(code, 2);
      assert.match(stderr, /900000\.log is not a regular file/);
      assert.ok(!readdirSync(keeping.shelf.folder).some((name) => name.startsWith('before-')));
      unlinkSync(planted);
    }
  });

  test('puts the exact bytes back into a closed store, and leaves every snapshot as it was', async () => {
    await spoil(good.key);
    const snapshots = digests(join(keeping.shelf.folder, (await keeping.ids())[0] ?? ''));
    const { code, stdout } = await restore('--key', good.key, '--apply', '--yes');
    assert.equal(code, 0);
    assert.match(stdout, /put back into store main/);
    assert.deepEqual(await stored(good.key), good.value);
    for (let index = 0; index < 400; index++)
      assert.deepEqual(await stored(nthRecord(index).key), nthRecord(index).value);
    assert.deepEqual(digests(join(keeping.shelf.folder, (await keeping.ids())[0] ?? '')), snapshots);
    assert.equal((await reported()).report.status, 'ok');
    const [aside = ''] = readdirSync(keeping.shelf.folder).filter((name) => name.startsWith('before-'));
    assert.ok(readdirSync(join(keeping.shelf.folder, aside)).some((name) => name.endsWith('.log.kept')));
  });

  test('a store that is open is not touched, not even its LOG', async (t) => {
    await spoil(good.key);
    const owner = await holdOpen(path);
    t.after(() => owner.kill('SIGKILL'));
    const before = digests(path);
    const { code, stderr } = await restore('--key', good.key, '--apply', '--yes');
    assert.equal(code, 4);
    assert.match(stderr, /in use: stop the program/);
    assert.deepEqual(digests(path), before);
  });

  test('asks before it writes, and does nothing without an answer', async () => {
    await spoil(good.key);
    const before = digests(path);
    const { code, stderr } = await restore('--key', good.key, '--apply');
    assert.equal(code, 2);
    assert.match(stderr, /--yes/);
    assert.deepEqual(digests(path), before);
  });

  test('a good record is not replaced by an older one, nor by the same', async () => {
    const same = await restore('--key', good.key, '--apply', '--yes');
    assert.deepEqual([same.code, /byte for byte/.test(same.stdout)], [0, true]);
    const [, , symbol = '', authHash = ''] = good.key.split('!');
    const newer = makeSigilRecord({ tenant: 'lyra', symbol, authHash, secret, updatedAt: '2026-02-01T00:00:00.000Z' });
    await withStore(path, (db) => db.put(good.key, newer.value));
    const refused = await restore('--key', good.key, '--apply', '--yes');
    assert.equal(refused.code, 4);
    assert.deepEqual(await stored(good.key), newer.value);
  });
});

test('integrity snapshots lists what is kept, and what it takes', async () => {
  const [id] = await keeping.ids();
  const { stdout } = await integrity('snapshots', '--json');
  const { stores } = JSON.parse(stdout);
  assert.deepEqual([stores[0].store, stores[0].snapshots[0].id], ['main', id]);
  assert.ok(stores[0].snapshots[0].bytes > stores[0].heldBytes);
  const text = await integrity('snapshots', '--store', 'main');
  assert.match(text.stdout, /store main: 1 snapshot, which holds \d+ bytes\n {2}\d{8}T\d{9}Z /);
});
