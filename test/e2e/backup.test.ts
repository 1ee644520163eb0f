import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { serverAccount } from '../../collector/postgres/binaries.ts';
import type { FakeEngine } from '../fakes/engine.ts';
import { configure, folderFor, makeServer, mark, type Server, type ServerPrograms, serverIn } from '../servers.ts';
import {
  enrolNode,
  makeManifestRepository,
  makeTemporaryFolder,
  manifestText,
  type RunningCollector,
  type RunningNode,
  startCollector,
  startNode,
} from '../system.ts';
import { until } from '../until.ts';
import { keepEngine, running, tearDown, wantedImage, wantedOn } from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { caughtUp, statusWhere } from './waiting.ts';

const run = promisify(execFile);
const scanIntervalMs = 1_000;

/** Folder with a PostgreSQL server and the tools of the same version, as a distribution installs them. */
function installedPostgres(): string | undefined {
  const all = '/usr/lib/postgresql';
  const versions = existsSync(all) ? readdirSync(all) : [];
  return versions.map((version) => join(all, version, 'bin')).find((bin) => existsSync(join(bin, 'pg_basebackup')));
}

const bin = installedPostgres() ?? '';
const skip = bin === '' && 'no PostgreSQL server with pg_dump and pg_basebackup below /usr/lib/postgresql';

describe('the commands of docs/backup.md', { skip }, () => {
  const folder = makeTemporaryFolder('sgw-backup-');
  let programs: ServerPrograms;
  let archive: string;
  let server: Server;
  let collector: RunningCollector;
  let engine: FakeEngine;
  let agent: RunningNode;
  const node = () => ({ name: 'node1', agent });

  before(async () => {
    const binaries = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') };
    programs = { binaries, account: await serverAccount() };
    archive = await folderFor(programs, join(folder.path, 'archive'));
    const archiving = { archive_mode: 'on', archive_command: `cp %p ${archive}/%f` };
    server = await makeServer(programs, join(folder.path, 'main'), archiving);
    await server.start();
    await server.sql('create database ledger');
    const database = server.url.replace(/postgres$/, 'ledger');
    collector = await startCollector({ dir: join(folder.path, 'collector'), env: { DATABASE_URL: database } });
    const socketPath = join(folder.path, 'engine.sock');
    engine = await keepEngine(socketPath);
    engine.state.importImage(wantedImage);
    const manifest = makeManifestRepository(join(folder.path, 'manifest'), manifestText([wantedOn('node1', 'web')]));
    const dir = join(folder.path, 'node1');
    await enrolNode(collector, 'node1', dir);
    agent = await startNode({ node: 'node1', dir, socketPath, manifest: manifest.path, scanIntervalMs });
    await says('before');
  });
  after(tearDown);

  /** A PostgreSQL tool, on the server. */
  async function tool(name: string, ...args: readonly string[]): Promise<void> {
    const env = { PGHOST: '127.0.0.1', PGPORT: `${server.port}`, PGUSER: 'sigilwatch', PATH: '/usr/bin:/bin' };
    await run(join(bin, name), args, { env, cwd: folder.path, ...programs.account });
  }

  /** Something happens on the node, and is acknowledged. */
  async function says(name: string): Promise<void> {
    const { outbox } = await agent.status();
    await engine.run(running(name));
    await statusWhere(node(), 'has said so', (status) => status.outbox.headSeq > outbox.headSeq);
    await caughtUp(node());
  }

  /** Something happens while no collector is there. */
  async function saysToNobody(name: string): Promise<number> {
    const { outbox } = await agent.status();
    await engine.run(running(name));
    const { outbox: now } = await statusWhere(node(), 'keeps it', (status) => status.outbox.headSeq > outbox.headSeq);
    return now.headSeq;
  }

  /** The collector does not start on what was put back, and has signed nothing. */
  async function refused(): Promise<void> {
    await assert.rejects(collector.restart(), /ledger\.tampered|docs\/recovery\.md/);
    assert.ok(collector.logs().some((line) => line.includes('was put back to an older state')));
  }

  /** Everything the node ever said is there once, up to this number at least. */
  async function complete(upTo: number): Promise<void> {
    await caughtUp(node());
    const chain = chainsOf(await readLedger(collector, folder.path)).get('node1') ?? [];
    assert.ok(chain.length >= upTo, `${chain.length} of ${upTo}`);
    assertSaidOnce(chain, scanIntervalMs);
    await assertVerified(collector);
  }

  test('a dump that is restored is refused, led on by an export, and what agents kept follows', async () => {
    const dumps = await folderFor(programs, join(folder.path, 'dumps'));
    await tool('pg_dump', '--format=custom', `--file=${dumps}/ledger.dump`, 'ledger');
    await says('after-the-dump');
    const exported = join(folder.path, 'all.jsonl');
    await collector.stop();
    // Only now nothing is said any more that it would lack.
    assert.equal((await collector.cli('ledger', 'export', '--output', exported)).exitCode, 0);
    const kept = await saysToNobody('meanwhile');

    await tool('dropdb', '--force', 'ledger');
    await tool('createdb', 'ledger');
    await tool('pg_restore', '--exit-on-error', '--dbname=ledger', `${dumps}/ledger.dump`);
    await refused();
    const short = await collector.cli('--json', 'ledger', 'recover', exported);
    assert.equal(short.exitCode, 0, short.stdout + short.stderr);
    await collector.restart();
    await complete(kept);
  });

  test('a moment in the past that is restored is refused, and the archive to its end is not', async () => {
    const base = join(folder.path, 'base');
    await folderFor(programs, base);
    await tool('pg_basebackup', '--checkpoint=fast', `--pgdata=${base}`);
    await says('after-the-backup');
    const [moment] = await server.sql('select now()::text as at');
    await says('after-the-moment');
    await collector.stop();
    await server.sql('select pg_switch_wal()');
    await server.stop();
    const kept = await saysToNobody('while-it-is-restored');

    await rename(server.dir, join(folder.path, 'lost'));
    await restore(base, { recovery_target_time: String(moment?.at), recovery_target_action: 'promote' });
    await refused();
    await server.stop();
    await rm(server.dir, { recursive: true });
    await restore(base, { recovery_target_timeline: '1' });
    await collector.restart();
    await complete(kept);
  });

  /** The base backup becomes the server's data, and follows the archive. */
  async function restore(base: string, target: Readonly<Record<string, string>>): Promise<void> {
    await mkdir(server.dir, { mode: 0o700 });
    await run('cp', ['-a', `${base}/.`, server.dir]);
    await configure(server.dir, { restore_command: `cp ${archive}/%f %p`, ...target });
    await mark(programs, server.dir, 'recovery.signal');
    server = serverIn(programs, server.dir, server.port);
    await server.start();
    const following = async () => (await server.sql('select pg_is_in_recovery() as following'))[0]?.following;
    await until('the archive is read', async () => (await following()) === false, 30_000);
  }
});
