import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import { systemClock } from '../../../agent/clock.ts';
import { DesiredSource } from '../../../agent/desired/desired-source.ts';
import { gitRepository } from '../../../agent/desired/git.ts';
import { type FakeJournal, fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { manifestRepository, tempFolder } from '../watching.ts';

const temp = tempFolder();
let journal: FakeJournal;
let dataDir: string;
let repository: ReturnType<typeof manifestRepository>;

beforeEach(() => {
  journal = fakeJournal();
  dataDir = mkdtempSync(join(temp, 'data-'));
  repository = manifestRepository(mkdtempSync(join(temp, 'repo-')));
});

const good = (name: string) => `containers:\n  - {name: ${name}, image: x}\n`;
const source = (path = repository.dir) =>
  new DesiredSource({
    ...{ node: 'node1', repository: gitRepository(path), dataDir, journal },
    ...{ clock: systemClock, logger: quietLogger },
  });
const wanted = (from: DesiredSource) => from.adopted?.desired.containers.map(({ name }) => name);
const told = () => journal.said.map(({ kind }) => kind);
const reasons = () => journal.saidOf('desired.rejected').map(({ body }) => body.reason);

test('a commit is adopted once, and what is only in the work tree never', async () => {
  const commit = repository.commit(good('a'));
  const desired = source();
  await desired.refresh();
  await desired.refresh();
  assert.deepEqual(told(), ['desired.adopted']);
  assert.deepEqual([desired.adopted?.commit, wanted(desired)], [commit, ['a']]);
});

test('a bad manifest changes nothing and is told once, also across restarts', async () => {
  repository.commit(good('a'));
  const first = source();
  await first.refresh();
  repository.commit('containers:\n  - {nam: a}\n');
  await first.refresh();
  await first.refresh();
  const second = source();
  await second.restore();
  await second.refresh();
  assert.deepEqual(told(), ['desired.adopted', 'desired.rejected']);
  assert.deepEqual(wanted(second), ['a']);
  const { file, line, column } = journal.saidOf('desired.rejected')[0]?.body ?? {};
  assert.deepEqual([file, line, column], ['bloodline_manifest.yaml', 2, 6]);
  repository.commit(good('b'));
  await second.refresh();
  assert.deepEqual(wanted(second), ['b']);
});

test('a repository that vanishes and returns: the last good manifest stays, both are told', async () => {
  repository.commit(good('a'));
  const desired = source();
  await desired.refresh();
  renameSync(repository.dir, `${repository.dir}-away`);
  await desired.refresh();
  await desired.refresh();
  assert.deepEqual([wanted(desired), reasons()], [['a'], ['not a git repository']]);
  renameSync(`${repository.dir}-away`, repository.dir);
  await desired.refresh();
  await desired.refresh();
  assert.deepEqual(told(), ['desired.adopted', 'desired.rejected', 'desired.adopted']);
});

test('compose files of the commit count, and one with a mistake changes nothing', async () => {
  mkdirSync(join(repository.dir, 'manifests/docker/lyra'), { recursive: true });
  repository.commit('WEB=1\n', 'manifests/docker/lyra/web.env');
  repository.commit(good('a'));
  repository.commit(
    'services:\n  web: {image: x, container_name: web, env_file: web.env}\n',
    'manifests/docker/lyra/web.yaml',
  );
  const desired = source();
  await desired.refresh();
  assert.deepEqual(wanted(desired), ['a', 'web']);
  assert.deepEqual(desired.adopted?.desired.containers[1]?.config, { environment: { WEB: '1' } });
  repository.commit('services:\n  web: {imag: x}\n', 'manifests/docker/lyra/web.yaml');
  await desired.refresh();
  const restarted = source();
  await restarted.restore();
  assert.deepEqual(
    [wanted(desired), wanted(restarted)],
    [
      ['a', 'web'],
      ['a', 'web'],
    ],
  );
  const { file, line } = journal.saidOf('desired.rejected')[0]?.body ?? {};
  assert.deepEqual([file, line], ['manifests/docker/lyra/web.yaml', 2]);
});

test('what looks like a file and is none, or is no text, changes nothing', async () => {
  repository.commit(good('a'));
  const desired = source();
  await desired.refresh();
  const folder = join(repository.dir, 'manifests/docker');
  mkdirSync(folder, { recursive: true });
  symlinkSync('/etc/passwd', join(folder, 'x.yaml'));
  repository.commit(good('b'));
  await desired.refresh();
  rmSync(join(folder, 'x.yaml'));
  writeFileSync(join(folder, 'x.yaml'), Buffer.from([0x78, 0xff]));
  repository.commit(good('b'));
  await desired.refresh();
  rmSync(folder, { recursive: true });
  symlinkSync('/tmp', folder);
  repository.commit(good('b'));
  await desired.refresh();
  assert.deepEqual(wanted(desired), ['a']);
  assert.deepEqual(
    reasons().map((reason) => reason.slice(0, 18)),
    ['is no regular file', 'not UTF-8', 'is no regular file'],
  );
});

test('what is not a repository, has no commit or no manifest is told as that', async () => {
  await source(temp).refresh();
  await source('/dev/null').refresh();
  await source().refresh();
  repository.commit('x', 'else.txt');
  await source().refresh();
  assert.deepEqual(reasons().slice(0, 3), ['not a git repository', 'not a git repository', 'it has no commit yet']);
  assert.match(reasons()[3] ?? '', /has no such file/);
});

test('a manifest too large to be one is refused, before it is read', async () => {
  repository.commit(`# ${'x'.repeat(600 * 1024)}\n${good('a')}`);
  await source().refresh();
  assert.deepEqual(reasons(), ['larger than 491520 bytes']);
});

test('a bare repository serves as well', async () => {
  repository.commit(good('a'));
  const bare = mkdtempSync(join(temp, 'bare-'));
  repository.git('clone', '-q', '--bare', repository.dir, bare);
  const desired = source(bare);
  await desired.refresh();
  assert.deepEqual(wanted(desired), ['a']);
});

test('what the journal did not take is not in force, and adopted once it does', async () => {
  repository.commit(good('a'));
  const desired = source();
  journal.mood = 'write_failed';
  await assert.rejects(desired.refresh(), { code: 'outbox.write_failed' });
  assert.equal(desired.adopted, undefined);
  journal.mood = 'well';
  await desired.refresh();
  assert.deepEqual([wanted(desired), told()], [['a'], ['desired.adopted']]);
});

test('a replaced journal learns again what is in force, even when HEAD is bad by then', async () => {
  repository.commit(good('a'));
  const desired = source();
  await desired.refresh();
  repository.commit('nonsense');
  await desired.refresh();
  journal.loseState();
  desired.forget();
  await desired.refresh();
  assert.deepEqual(wanted(desired), ['a']);
  const next = source();
  await next.restore();
  assert.deepEqual(wanted(next), ['a']);
});

test('an adopted manifest that this version refuses does not stop the agent', async () => {
  const commit = repository.commit(good('b'));
  const adopted = { commit, text: 'containers: [{name: a, image: x}, {name: a, image: y}]' };
  await journal.append([], [{ key: 'desired', value: { adopted, rejected: null } }]);
  const desired = source();
  await desired.restore();
  assert.equal(desired.adopted, undefined);
  await desired.refresh();
  assert.deepEqual(wanted(desired), ['b']);
});
