import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { clearStalePidFile, runningPostmaster } from '../../../collector/postgres/postmaster.ts';
import { makeTemporaryFolder } from '../../system/leftovers.ts';

const folder = makeTemporaryFolder('sigilwatch-postmaster-');
after(() => folder.remove());
const [uid, gid, otherGid] = [4711, 4711, 4712];
const skip =
  process.platform === 'linux' && process.geteuid?.() === 0 ? false : 'acting as other users takes Linux and root';

/** A program that lives in a cluster's folder, as a server does, under a user and group of its own. */
async function liveIn(dir: string, owner = uid) {
  const child = spawn('sh', ['-c', 'echo here; exec sleep 300'], { cwd: dir, uid: owner, gid });
  await once(child.stdout, 'data');
  writeFileSync(join(dir, 'postmaster.pid'), `${child.pid}\n${dir}\n1\n54321\n`);
  return child;
}

async function actingAs<T>(group: number, work: () => Promise<T>): Promise<T> {
  process.setegid?.(group);
  process.seteuid?.(uid);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

test('a server that cannot be looked at, since it has another group, is not taken for dead', { skip }, async () => {
  const dir = join(folder.path, 'data');
  mkdirSync(dir);
  for (const path of [folder.path, dir]) chmodSync(path, 0o755);
  chownSync(dir, uid, gid);
  const server = await liveIn(dir);
  try {
    for (const group of [gid, otherGid]) {
      await actingAs(group, async () => {
        assert.deepEqual(await runningPostmaster(dir), { pid: server.pid, port: 54_321 });
        await clearStalePidFile(dir);
      });
      assert.ok(existsSync(join(dir, 'postmaster.pid')));
    }
  } finally {
    server.kill('SIGKILL');
    await once(server, 'close');
  }
  await actingAs(otherGid, async () => assert.equal(await runningPostmaster(dir), undefined));
});

test('a process of another user is no server of ours', { skip }, async () => {
  const dir = join(folder.path, 'stale');
  mkdirSync(dir);
  chmodSync(dir, 0o755);
  const stranger = await liveIn(dir, uid + 1);
  try {
    await actingAs(gid, async () => assert.equal(await runningPostmaster(dir), undefined));
  } finally {
    stranger.kill('SIGKILL');
    await once(stranger, 'close');
  }
});
