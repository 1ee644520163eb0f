import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { type AdoptedManifest, ManifestFollower, type ManifestStatement } from '../../../collector/desired/follower.ts';
import { fsManifestStore } from '../../../collector/desired/fs-manifest-store.ts';
import { gitRepository } from '../../../collector/desired/git.ts';
import { AppError } from '../../../common/errors.ts';
import { statementSchema } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import {
  type FleetRepository,
  fleetRepository,
  missing,
  sshSigner,
  TestNode,
  wanting,
} from '../../agent/desired-world.ts';
import { tempFolder } from '../../agent/watching.ts';
import { quietLogger } from '../../quiet-logger.ts';

const temp = tempFolder();
const skip = missing('git');
let dir: string;
let fleet: FleetRepository;
let said: ManifestStatement[];
let recordFails: boolean;
let nowMs: number;

beforeEach(() => {
  if (skip !== false) return;
  dir = mkdtempSync(join(temp, 'case-'));
  fleet = fleetRepository(join(dir, 'fleet'));
  [said, recordFails, nowMs] = [[], false, 1_000];
});

const record = async (statement: ManifestStatement) => {
  if (recordFails) throw new AppError('state.busy', 'busy', { retryable: true });
  statementSchema.parse(statement);
  said.push(statement);
};
/** One run of the collector. */
async function started(path = fleet.dir): Promise<ManifestFollower> {
  const follower = new ManifestFollower({
    ...{ repository: gitRepository(path), store: fsManifestStore(dir, quietLogger), record },
    ...{ clock: { now: () => nowMs, monotonicMs: () => nowMs }, logger: quietLogger },
  });
  await follower.restore();
  return follower;
}
const wanted = ({ adopted }: ManifestFollower) =>
  adopted && [...adopted.manifest.containers, ...adopted.manifest.services].map(({ name }) => name);
const told = () => said.map(({ kind }) => kind);

describe('the manifest in force at the collector', { skip }, () => {
  test('is a commit with its compose files, put on record once', async () => {
    mkdirSync(join(fleet.dir, 'manifests/docker'), { recursive: true });
    writeFileSync(join(fleet.dir, 'manifests/docker/web.yaml'), 'services:\n  web: {image: x, container_name: web}\n');
    const commit = fleet.commit(wanting('a', 'nodes: [{name: lyra}]\n'));
    const follower = await started();
    await follower.refresh();
    await follower.refresh();
    assert.deepEqual(wanted(follower)?.sort(), ['a', 'web']);
    assert.deepEqual(told(), ['desired.adopted']);
    assert.deepEqual(
      [said[0]?.body.commit, said[0]?.kind === 'desired.adopted' && said[0].body.containers],
      [commit, 2],
    );
    assert.equal(follower.adopted?.adoptedAtMs, 1_000);
  });

  test('has a digest that follows the files and not the commit', async () => {
    const digests = async () => {
      await (await started()).refresh();
      return said.map((statement) => statement.kind === 'desired.adopted' && statement.body.digest);
    };
    fleet.commit(wanting('a'));
    await digests();
    fleet.commit(wanting('b'));
    await digests();
    fleet.commit(wanting('a'));
    const [first, second, third] = await digests();
    assert.equal(first, third);
    assert.notEqual(first, second);
  });

  test('stays when a commit has a mistake, which is told once, also across restarts', async () => {
    fleet.commit(wanting('a'));
    const first = await started();
    await first.refresh();
    const bad = fleet.commit('containers:\n  - {nam: a}\n');
    await first.refresh();
    await first.refresh();
    nowMs = 9_000;
    const second = await started();
    assert.deepEqual([wanted(second), second.adopted?.adoptedAtMs], [['a'], 1_000]);
    await second.refresh();
    assert.deepEqual(told(), ['desired.adopted', 'desired.rejected']);
    const rejected = said[1]?.kind === 'desired.rejected' ? said[1].body : undefined;
    assert.deepEqual(
      [rejected?.commit, rejected?.file, rejected?.line, rejected?.column],
      [bad, 'bloodline_manifest.yaml', 2, 6],
    );
    fleet.commit(wanting('b'));
    await second.refresh();
    assert.deepEqual(wanted(second), ['b']);
  });

  test('stays when the repository is away, and is nothing new when it is back', async () => {
    fleet.commit(wanting('a'));
    const follower = await started();
    await follower.refresh();
    renameSync(fleet.dir, `${fleet.dir}-away`);
    await follower.refresh();
    await follower.refresh();
    assert.deepEqual([wanted(follower), told()], [['a'], ['desired.adopted', 'desired.rejected']]);
    renameSync(`${fleet.dir}-away`, fleet.dir);
    await follower.refresh();
    assert.equal(said.length, 2);
    renameSync(fleet.dir, `${fleet.dir}-away`);
    await follower.refresh();
    assert.equal(said.length, 3, 'being away again is told again');
  });

  test('has the same bounds as on a node: what is no file, no text or too much is refused', async () => {
    fleet.commit(wanting('a'));
    const follower = await started();
    await follower.refresh();
    mkdirSync(join(fleet.dir, 'manifests'));
    symlinkSync('/etc', join(fleet.dir, 'manifests/docker'));
    fleet.commit(wanting('b'));
    await follower.refresh();
    fleet.git(['rm', '-q', '-r', '--cached', 'manifests']);
    renameSync(join(fleet.dir, 'manifests'), join(dir, 'gone'));
    fleet.commit(`# ${'x'.repeat(limits.maxManifestBytes)}\n${wanting('b')}`);
    await follower.refresh();
    assert.deepEqual([wanted(follower), told().slice(1)], [['a'], ['desired.rejected', 'desired.rejected']]);
  });

  test('comes into force only once it is on record, and then without being asked twice', async () => {
    fleet.commit(wanting('a'));
    const follower = await started();
    recordFails = true;
    await assert.rejects(follower.refresh(), { code: 'state.busy' });
    assert.equal(follower.adopted, undefined);
    recordFails = false;
    await follower.refresh();
    assert.deepEqual([wanted(follower), told()], [['a'], ['desired.adopted']]);
  });

  test('is told to whoever listens: the kept one after a restart, each new one, and again after a failure', async () => {
    const first = fleet.commit(wanting('a'));
    await (await started()).refresh();
    const follower = await started();
    const heard: string[] = [];
    let fails = true;
    const end = follower.onChange(({ commit }: AdoptedManifest) => {
      if (fails) throw new AppError('database.unreachable', 'away');
      heard.push(commit);
    });
    await assert.rejects(follower.refresh(), { code: 'database.unreachable' });
    fails = false;
    await follower.refresh();
    await follower.refresh();
    const second = fleet.commit(wanting('b'));
    await follower.refresh();
    end();
    fleet.commit(wanting('c'));
    await follower.refresh();
    assert.deepEqual(heard, [first, second]);
  });

  test('that was kept and cannot be read is read from the repository', async () => {
    fleet.commit(wanting('a'));
    await (await started()).refresh();
    writeFileSync(join(dir, 'desired.json'), '{"adopted":');
    const follower = await started();
    assert.equal(follower.adopted, undefined);
    await follower.refresh();
    assert.deepEqual(wanted(follower), ['a']);
  });
});

describe('a bundle for a node', { skip: missing('git', 'ssh-keygen') }, () => {
  let node: TestNode;
  let follower: ManifestFollower;
  let commit: (name: string) => Promise<string>;
  beforeEach(async () => {
    node = new TestNode(dir);
    const alice = sshSigner(dir, 'alice');
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, `alice ${alice.publicKey}\n`);
    node.trust = { allowedSigners };
    follower = await started();
    commit = async (name) => {
      const id = fleet.commit(wanting(name), alice);
      await follower.refresh();
      return id;
    };
  });
  const offer = async (have: string | undefined) => {
    const bundle = await follower.bundleFor(have);
    assert.ok(bundle);
    return { outcome: (await node.source.offerBundle(bundle.commit, bundle.bytes)).outcome, bundle };
  };

  test('is whole at first, then only what is new, and nothing when there is nothing new', async () => {
    assert.equal(await follower.bundleFor(undefined), undefined);
    await commit('a');
    const { bundle: whole, outcome } = await offer(await node.source.have());
    assert.equal(outcome, 'adopted');
    writeFileSync(join(fleet.dir, 'other'), 'x'.repeat(1_000));
    const next = await commit('b');
    const { bundle: part } = await offer(await node.source.have());
    assert.deepEqual([node.wanted, part.bytes.length < whole.bytes.length + 1_000], [['b'], true]);
    assert.match(part.bytes.toString('latin1', 0, 60), new RegExp(`^# v2 git bundle\n-${whole.commit} \n`));
    assert.equal(await follower.bundleFor(next), undefined);
  });

  test('is whole for whoever has something else, whatever they say they have', async () => {
    await commit('a');
    const whole = await follower.bundleFor(undefined);
    for (const have of ['0'.repeat(40), 'f'.repeat(64), 'main', '--all', '', 'x\n^y']) {
      assert.deepEqual(await follower.bundleFor(have), whole, have);
    }
  });

  test('is of the commit in force, even while HEAD has a mistake', async () => {
    const good = await commit('a');
    fleet.commit('nonsense');
    await follower.refresh();
    const { outcome, bundle } = await offer(undefined);
    assert.deepEqual([outcome, bundle.commit], ['adopted', good]);
  });

  test('is made once for all who ask for the same', async () => {
    await commit('a');
    const [one, other] = await Promise.all([follower.bundleFor(undefined), follower.bundleFor(undefined)]);
    assert.ok(one !== undefined && one.bytes === other?.bytes);
  });

  test('that would be too large, or cannot be read, is none, and is made once it can be', async () => {
    await commit('a');
    renameSync(fleet.dir, `${fleet.dir}-away`);
    assert.equal(await follower.bundleFor(undefined), undefined);
    renameSync(`${fleet.dir}-away`, fleet.dir);
    assert.equal((await offer(undefined)).outcome, 'adopted');
    // Nothing that could be made smaller.
    const noise = randomBytes(limits.maxOfferedBundleBytes + 1_000);
    writeFileSync(join(fleet.dir, 'noise'), noise);
    await commit('b');
    assert.equal(await follower.bundleFor(undefined), undefined);
  });

  test('of a repository of SHA-256 is taken too', async () => {
    const other = fleetRepository(join(dir, 'fleet256'), 'sha256');
    follower = await started(other.dir);
    const alice = sshSigner(dir, 'carol');
    writeFileSync(join(dir, 'allowed_signers'), `carol ${alice.publicKey}\n`);
    for (const name of ['a', 'b']) {
      other.commit(wanting(name), alice);
      await follower.refresh();
      assert.equal((await offer(await node.source.have())).outcome, 'adopted');
      assert.deepEqual(node.wanted, [name]);
    }
  });
});
