import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { programs } from '../../system/program.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

const skip = process.platform === 'linux' && process.geteuid?.() === 0 ? false : 'becoming another user takes root';

/** Of the program's user; nobody has it here. */
const owner = 4711;

describe('files that root names while the data belong to another user', { skip }, () => {
  let postgres: TestPostgres;
  let under: TestCollector;
  let folder: string;

  before(async () => {
    postgres = await startPostgres();
    under = await startTestCollector(await postgres.emptyDatabase());
    const { dataDir } = under.settings;
    for (const name of await readdir(dataDir, { recursive: true })) await chown(join(dataDir, name), owner, owner);
    await chown(dataDir, owner, owner);
    folder = await mkdtemp(join(tmpdir(), 'sigilwatch-named-'));
    await mkdir(join(folder, 'elsewhere'), { mode: 0o755 });
  });
  after(async () => {
    await under.stop();
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function cli(cwd: string, ...args: string[]) {
    const { dataDir, database } = under.settings;
    const env = { PATH: process.env.PATH, SIGILWATCH_DATA_DIR: dataDir, DATABASE_URL: database.url ?? '' };
    const child = spawn(programs.collector, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const closed = once(child, 'close');
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [code] = await closed;
    return { code: Number(code), stdout, stderr };
  }

  test("come to lie in root's own folder, whole, and are root's", async () => {
    const written = [
      ['export.jsonl', 'ledger', 'export', '--output', 'export.jsonl'],
      ['entry-0.tlog-proof', 'ledger', 'proof', '0'],
      ['policy', 'ledger', 'policy', '-o', join(folder, 'policy')],
      ['run.html', 'integrity', 'run', '--html', 'run.html', '--report', './run.json'],
    ];
    for (const [file = '', ...args] of written) {
      const { code, stderr } = await cli(folder, ...args);
      assert.deepEqual([code, stderr.replace(/^note: .*\n/, '')], [0, ''], args.join(' '));
      assert.equal((await stat(join(folder, file))).uid, 0, file);
    }
    const lines = (await readFile(join(folder, 'export.jsonl'), 'utf8')).trimEnd().split('\n');
    assert.match(String(JSON.parse(lines.at(-1) ?? '').checkpoint), /^sigilwatch/);
    assert.equal(JSON.parse(await readFile(join(folder, 'run.json'), 'utf8')).ledger.status, 'ok');
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes('partial')),
      [],
    );
  });

  test('are not written over one that exists, and nothing is left of one that could not be written', async () => {
    const policy = join(folder, 'policy');
    const before = await readFile(policy, 'utf8');
    const again = await cli(folder, 'ledger', 'policy', '-o', policy);
    assert.deepEqual(
      [again.code, again.stderr],
      [4, `state.conflict: ${policy} exists already and is not overwritten\n`],
    );
    assert.equal(await readFile(policy, 'utf8'), before);
    const wrong = await cli(folder, 'ledger', 'export', '--from', '7', '--to', '3', '-o', 'wrong.jsonl');
    assert.equal(wrong.code, 2);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('wrong')),
      [],
    );
  });

  test("are not written by root where the program's user could have led it", async () => {
    const elsewhere = join(folder, 'elsewhere');
    const led = join(under.settings.dataDir, 'led');
    await symlink(elsewhere, led);
    const { code, stderr } = await cli(folder, 'ledger', 'policy', '-o', join(led, 'policy'));
    assert.equal(code, 2);
    assert.match(
      stderr,
      /cannot write .*led\/policy: EACCES; this acts as user 4711, who has to be allowed to write there/,
    );
    assert.deepEqual(await readdir(elsewhere), []);
    const own = join(under.settings.dataDir, 'policy');
    assert.equal((await cli(folder, 'ledger', 'policy', '-o', own)).code, 0);
    assert.equal((await lstat(own)).uid, owner);
    await chmod(elsewhere, 0o777);
    assert.equal((await cli(elsewhere, 'ledger', 'policy', '-o', 'policy')).code, 0);
    assert.equal((await lstat(join(elsewhere, 'policy'))).uid, owner);
  });
});
