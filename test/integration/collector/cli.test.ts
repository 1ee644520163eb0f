import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { runningPostmaster } from '../../../collector/postgres/postmaster.ts';
import { leafHash } from '../../../common/merkle.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { parseTlogProof, verifyTlogProof } from '../../../common/tlog-proof.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { programs } from '../../system/program.ts';
import { until } from '../../until.ts';

let root: string;
let dataDir: string;
/** Programs under way: a failing test must not leave them behind. */
const running = new Set<Started>();

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-cli-'));
  await chmod(root, 0o755);
  dataDir = join(root, 'data');
});
after(async () => {
  for (const { child, ended } of running) {
    child.kill('SIGTERM');
    await ended;
  }
  await rm(root, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<number>;
}

function start(args: readonly string[], env: Record<string, string> = {}): Started {
  const child = spawn(programs.collector, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const ended = once(child, 'close').then(([code]) => {
    running.delete(started);
    return Number(code);
  });
  const started = { child, output, ended };
  running.add(started);
  return started;
}

async function cli(args: readonly string[], env: Record<string, string> = {}) {
  const { output, ended } = start(args, env);
  return { code: await ended, ...output };
}

async function runCollector() {
  const collector = start(['run', '--data-dir', dataDir], { SIGILWATCH_HTTP_PORT: '0' });
  const { child, output } = collector;
  const isUp = () => output.stdout.includes('collector.started');
  await until('the collector has started', () => isUp() || child.exitCode !== null, 60_000);
  assert.ok(isUp(), output.stderr);
  return collector;
}

/** Commands that find a server running need not start one each. */
async function besideCollector(work: () => Promise<void>): Promise<void> {
  const collector = await runCollector();
  await work();
  collector.child.kill('SIGTERM');
  assert.equal(await collector.ended, 0);
}

test('commands on a data directory without a collector say so and make nothing', async () => {
  const { code, stderr } = await cli(['nodes', 'list', '--data-dir', join(root, 'nothing')]);
  assert.equal(code, 2);
  assert.match(stderr, /resource\.not_found: there is no collector in the data directory/);
  assert.equal((await readdir(root)).includes('nothing'), false);
});

test('a collector starts, shows a setup code for as long as there is no user, serves commands beside it, and stops without leaving a server', async () => {
  const first = await runCollector();
  await until('the code is shown', () => /sws_[A-Za-z0-9_-]{43}/.test(first.output.stdout));
  const made = await cli(['nodes', 'token', 'lyra', '--data-dir', dataDir, '--json']);
  assert.equal(made.code, 0, made.stderr);
  const { token, log_fingerprint } = JSON.parse(made.stdout);
  assert.match(token, /^swj_[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{22}$/);
  assert.match(log_fingerprint, /^SHA256:/);
  first.child.kill('SIGTERM');
  assert.equal(await first.ended, 0);
  assert.equal(first.output.stdout.match(/sws_/g)?.length, 1);
  const password = join(root, 'password');
  await writeFile(password, 'a long enough password\n');
  const user = ['users', 'add', 'ada', '--role', 'admin', '--password-file', password];
  assert.equal((await cli([...user, '--data-dir', dataDir])).code, 0);
  assert.equal(await runningPostmaster(join(dataDir, 'postgres', 'data')), undefined);
  const second = await runCollector();
  assert.doesNotMatch(second.output.stdout, /sws_/);
  second.child.kill('SIGTERM');
  assert.equal(await second.ended, 0);
});

test('a killed collector leaves nothing that stops the next one, and the ledger is in order', async () => {
  const killed = await runCollector();
  killed.child.kill('SIGKILL');
  await killed.ended;
  const next = await runCollector();
  next.child.kill('SIGTERM');
  assert.equal(await next.ended, 0);
  const { code, stdout } = await cli(['ledger', 'verify', '--data-dir', dataDir, '--json']);
  assert.equal(code, 0);
  assert.equal(JSON.parse(stdout).verified, true);
  assert.equal(await runningPostmaster(join(dataDir, 'postgres', 'data')), undefined);
});

test('an export is complete and its proof files can be checked with nothing but the verifier key', () =>
  besideCollector(async () => {
    const exported = await cli(['ledger', 'export', '--data-dir', dataDir]);
    assert.equal(exported.code, 0);
    const lines = exported.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const { checkpoint } = lines.pop();
    assert.equal(Number(checkpoint.split('\n')[1]), lines.length);
    for (const { entry, signature, leaf_hash } of lines) {
      assert.equal(leafHash(Buffer.from(entry), Buffer.from(signature, 'base64')).toString('base64'), leaf_hash);
    }
    const file = join(root, 'one.tlog-proof');
    const proof = await cli(['ledger', 'proof', '1', '-o', file, '--data-dir', dataDir, '--json']);
    assert.equal(proof.code, 0, proof.stderr);
    const vkey = parseVerifierKey(JSON.parse(proof.stdout).vkey);
    const parsed = parseTlogProof(await readFile(file, 'utf8'));
    verifyTlogProof(parsed, leafHash(parsed.extra ?? assert.fail('the entry is missing')), vkey);
    const again = await cli(['ledger', 'proof', '1', '-o', file, '--data-dir', dataDir]);
    assert.equal(again.code, 4);
    assert.match(again.stderr, /exists already/);
    const beyond = await cli(['ledger', 'proof', '99999', '--data-dir', dataDir]);
    assert.equal(beyond.code, 2);
  }));

test('what the collector gives away is verified elsewhere, where there is no collector', () =>
  besideCollector(async () => {
    const [policy, exported, proof] = ['policy.txt', 'ledger.jsonl', 'two.tlog-proof'].map((name) => join(root, name));
    assert.ok(policy && exported && proof);
    for (const args of [
      ['policy', '-o', policy],
      ['export', '-o', exported],
      ['proof', '0', '-o', proof],
    ]) {
      const { code, stderr } = await cli(['ledger', ...args, '--data-dir', dataDir]);
      assert.equal(code, 0, stderr);
    }
    // A database that nobody can reach, and settings that nobody could start with.
    const nowhere = { DATABASE_URL: 'postgres://u:p@127.0.0.1:1/x', SIGILWATCH_HTTP_PORT: 'many' };
    for (const file of [exported, proof]) {
      const { code, stdout, stderr } = await cli(['verify', file, '--policy', policy, '--json'], nowhere);
      assert.equal(code, 0, stdout + stderr);
      assert.equal(JSON.parse(stdout).verified, true);
    }
    const mirror = { SIGILWATCH_LEDGER_MIRROR_REPOSITORY: join(root, 'mirror') };
    for (const known of [1, 0]) {
      const { code, stdout, stderr } = await cli(
        ['ledger', 'mirror', '--once', '--json', '--data-dir', dataDir],
        mirror,
      );
      assert.equal(code, 0, stderr);
      assert.equal(JSON.parse(stdout).commits.length, known);
    }
    const mirrored = await readdir(join(root, 'mirror', 'ledger'), { recursive: true });
    const [batch = ''] = mirrored.filter((name) => name.endsWith('.jsonl'));
    const checked = await cli(['verify', join(root, 'mirror', 'ledger', batch), '--policy', policy]);
    assert.equal(checked.code, 0, checked.stdout);
    const again = await cli(['ledger', 'export', '-o', exported, '--data-dir', dataDir]);
    assert.equal(again.code, 4);
    assert.deepEqual(
      (await readdir(root)).filter((name) => name.includes('partial')),
      [],
    );
  }));

test('a result that cannot be written never passes for success', () =>
  besideCollector(async () => {
    const commands = ['ledger verify', 'ledger export', 'ledger policy', 'fleet show', 'witnesses list'];
    for (const command of commands) {
      const words = [programs.collector, ...command.split(' '), '--data-dir', dataDir];
      const { status, stderr } = spawnSync('bash', ['-c', '"$@" > /dev/full', 'bash', ...words], { encoding: 'utf8' });
      assert.equal(status, 4, `${command}: ${stderr}`);
      assert.match(stderr, /^standard output cannot be written: no space is left.*\n$/m);
    }
  }));

test('exit codes tell usage, refusal, missing keys, findings and an absent database apart', () =>
  besideCollector(async () => {
    const on = (...args: string[]) => cli([...args, '--data-dir', dataDir]);
    assert.equal((await on('nodes', 'list')).code, 0);
    assert.equal((await on('no-such-command')).code, 2);
    assert.equal((await on('nodes', 'token', 'Not A Name')).code, 2);
    assert.equal((await on('nodes', 'revoke', 'unknown', '--reason', 'x')).code, 2);
    assert.equal((await cli(['nodes', 'list'], { SIGILWATCH_HTTP_PORT: 'many' })).code, 2);
    const url = 'postgres://u:hunter2@127.0.0.1:1/x';
    const absent = await cli(['nodes', 'list', '--json'], { DATABASE_URL: url });
    assert.equal(absent.code, 5);
    assert.equal(JSON.parse(absent.stderr).error_code, 'database.unreachable');
    assert.doesNotMatch(absent.stderr, /hunter2/);
    const note = JSON.parse((await on('ledger', 'export', '--from', '0', '--to', '0')).stdout).checkpoint;
    const forged = join(root, 'forged');
    await writeFile(forged, note.replace('ledger\n', 'other\n'));
    assert.equal((await on('ledger', 'verify', '--checkpoint', forged)).code, 3);
    const saved = join(root, 'checkpoint');
    await writeFile(saved, note);
    assert.equal((await on('ledger', 'verify', '--checkpoint', saved)).code, 0);
    const key = join(dataDir, 'collector.key');
    await chmod(key, 0o644);
    const open = await on('ledger', 'verify');
    assert.equal(open.code, 3);
    assert.match(open.stderr, /chmod 600/);
    await chmod(key, 0o600);
  }));

test('ledger verify exits with 1 and names the entry that was changed', async () => {
  const collector = await runCollector();
  const port = await readFile(join(dataDir, 'postgres', 'port'), 'utf8');
  const password = await readFile(join(dataDir, 'postgres', 'password'), 'utf8');
  const url = `postgres://sigilwatch:${password.trim()}@127.0.0.1:${port.trim()}/sigilwatch`;
  const client = await connectClient({ url, applicationName: 'test' });
  await changeOneByOne(client);
  await client.query(`set session_replication_role = replica; update entries set kind = 'report' where index = 1`);
  await client.end();
  const { code, stdout } = await cli(['ledger', 'verify', '--data-dir', dataDir]);
  assert.equal(code, 1);
  assert.match(stdout, /NOT IN ORDER \(columns\): entry 1: column kind says report/);
  collector.child.kill('SIGTERM');
  assert.equal(await collector.ended, 0);
});

test('--print-config shows where each setting comes from and hides the password', async () => {
  const { code, stdout } = await cli(['--print-config', '--data-dir', '/somewhere'], {
    DATABASE_URL: 'postgres://u:hunter2@h/x',
  });
  assert.equal(code, 0);
  assert.match(stdout, /dataDir: "\/somewhere"/);
  assert.match(stdout, /env DATABASE_URL/);
  assert.doesNotMatch(stdout, /hunter2/);
});
