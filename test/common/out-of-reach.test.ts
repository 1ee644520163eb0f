import assert from 'node:assert/strict';
import { test } from 'node:test';
import { folderOutOfReach, type Named, placeOutOfReach } from '../../common/out-of-reach.ts';

const [root, program, alice] = [0, 991, 1000];

const folder = (uid = root, mode = 0o755): Named => ({ kind: 'folder', uid, mode });
const link = (target: string, uid = root): Named => ({ kind: 'link', uid, mode: 0o777, target });

const files: Readonly<Record<string, Named>> = {
  '/': folder(),
  '/root': folder(root, 0o700),
  '/root/out': folder(),
  '/root/list': { kind: 'other', uid: root, mode: 0o644 },
  '/root/there': link('../home/alice'),
  '/root/astray': link('/var/lib/program/exports'),
  '/root/around': link('around'),
  '/home': folder(),
  '/home/alice': folder(alice, 0o750),
  '/home/all': folder(root, 0o775),
  '/home/all/out': folder(),
  '/var': folder(),
  '/var/lib': folder(),
  '/var/lib/program': folder(program, 0o700),
  '/var/lib/program/of-root': folder(),
  '/var/lib/program/exports': link('/etc/cron.d', program),
  '/etc': folder(),
  '/etc/cron.d': folder(),
  '/tmp': folder(root, 0o1777),
  '/tmp/of-root': folder(root, 0o700),
  '/tmp/of-program': folder(program, 0o755),
  '/tmp/link': link('/etc/cron.d'),
};

const reached = (path: string) => folderOutOfReach(program, path, async (one) => files[one]);

test("root's own folders are out of everybody's reach, by whatever name they are called", async () => {
  assert.equal(await reached('/'), '/');
  assert.equal(await reached('/root'), '/root');
  assert.equal(await reached('//root/./out/'), '/root/out');
  assert.equal(await reached('/root/out/../../var/lib'), '/var/lib');
  assert.equal(await reached('/root/there'), '/home/alice');
  assert.equal(await reached('/root/there/..'), '/home');
});

test("somebody else's folder is out of this user's reach, and one that is not there is where it would be", async () => {
  assert.equal(await reached('/home/alice'), '/home/alice');
  assert.equal(await reached('/root/missing/deep'), '/root/missing/deep');
});

test('nothing that the user owns, or could have put there, is gone through', async () => {
  assert.equal(await reached('/var/lib/program'), undefined);
  assert.equal(await reached('/var/lib/program/of-root'), undefined);
  assert.equal(await reached('/var/lib/program/exports'), undefined);
  assert.equal(await reached('/root/astray'), undefined);
  assert.equal(await reached('/home/all'), undefined);
  assert.equal(await reached('/home/all/out'), undefined);
});

test('in a folder that everybody writes to, only folders of others count: links and what is missing may be anybody’s', async () => {
  assert.equal(await reached('/tmp/of-root'), '/tmp/of-root');
  assert.equal(await reached('/tmp'), undefined);
  assert.equal(await reached('/tmp/of-program'), undefined);
  assert.equal(await reached('/tmp/link'), undefined);
  assert.equal(await reached('/tmp/missing'), undefined);
});

test('what is no folder, and links that lead in circles, end the search', async () => {
  assert.equal(await reached('/root/list'), undefined);
  assert.equal(await reached('/root/list/deep'), undefined);
  assert.equal(await reached('/root/around'), undefined);
});

test('a file is where its folder really is', async () => {
  const place = (path: string) => placeOutOfReach(program, path, async (one) => files[one]);
  assert.equal(await place('/list'), '/list');
  assert.equal(await place('/root/there/list'), '/home/alice/list');
  assert.equal(await place('/root/astray/list'), undefined);
  for (const folder of ['/root/', '/root/.', '/root/out/..']) assert.equal(await place(folder), undefined);
});
