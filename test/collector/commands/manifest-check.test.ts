import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { limits } from '../../../common/limits.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { collectorCli, type Said } from '../../collector-cli.ts';

const vectors = new URL('../../vectors/manifests/', import.meta.url);
let root: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-manifest-'));
});
after(() => rm(root, { recursive: true, force: true }));

/** Runs it where a database or a settings file, if anybody asked for one, would be nowhere. */
function check(...args: readonly string[]): Promise<Said> {
  const nowhere = { DATABASE_URL: 'no database at all', SIGILWATCH_HTTP_PORT: 'no port' };
  return collectorCli(['manifest', 'check', ...args], nowhere);
}

async function fileWith(name: string, content: string | Buffer): Promise<string> {
  const path = join(root, name);
  await writeFile(path, content);
  return path;
}

async function workTree(vector: string): Promise<string> {
  const folder = await mkdtemp(join(root, 'tree-'));
  await copyFile(new URL(vector, vectors), join(folder, manifestFile));
  return folder;
}

describe('a manifest in order', () => {
  test('is told in words, with its warnings, and is exit code 0', async () => {
    const folder = await workTree('four-nodes.yaml');
    const { code, stdout, stderr } = await check(folder);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^in order: \S+bloodline_manifest\.yaml wants 4 containers for 4 nodes; \d+ warnings\n/);
    assert.match(stdout, /^ {2}lyra {3}2 containers$/m);
    assert.match(stdout, /^ {2}node1 {2}0 containers$/m);
    assert.match(stdout, /^ {2}not looked for, since only Docker is watched: 1$/m);
    assert.match(stdout, /terminate, once it has stood for 1m, except dev-\*, test-\?$/m);
    assert.match(stdout, /^ {2}Weekly maintenance: sunday 02:00 to 04:00 Europe\/Berlin: /m);
    assert.match(stdout, /^ {2}nightly backup: daily 23:30 to 00:30 \(the next day\) UTC: /m);
    assert.match(stdout, /^ {2}\S+bloodline_manifest\.yaml:\d+: config\.ledger_format: the ledger has one format/m);
    assert.doesNotMatch(stdout, /not-a-real-one/);
  });

  test('counts the compose files of a work tree too, and shows their mistakes where they stand', async () => {
    const folder = await workTree('four-nodes.yaml');
    const compose = join(folder, 'manifests/docker/web.yaml');
    await mkdir(dirname(compose), { recursive: true });
    await writeFile(compose, 'x-node: node1\nservices:\n  web: {image: "web:2", ports: ["80:80"], build: .}\n');
    const { code, stdout } = await check(folder, '--node', 'node1');
    assert.equal(code, 0);
    assert.match(stdout, /^in order: .* wants 5 containers/);
    assert.match(stdout, /^ {2}docker-web-1 {2}web:2 {2}any image of that name {2}also: ports$/m);
    assert.match(stdout, /web\.yaml:3: services\.web\.build: /);
    await symlink('/etc/passwd', join(dirname(compose), 'link.yaml'));
    assert.match((await check(folder)).stdout, /link\.yaml:1:1: is no regular file/);
    await rm(join(dirname(compose), 'link.yaml'));
    const linked = await mkdtemp(join(root, 'linked-'));
    await symlink(join(folder, manifestFile), join(linked, manifestFile));
    assert.equal((await check(linked)).code, 2);
    await writeFile(compose, `# ${'x'.repeat(500_000)}\n`);
    assert.match((await check(folder)).stdout, /manifests\/docker:1:1: with the manifest more than 491520 bytes/);
    await writeFile(compose, Buffer.from([0x61, 0x0a, 0xff]));
    assert.match((await check(folder)).stdout, /web\.yaml:2:1: not UTF-8/);
    await writeFile(compose, 'services:\n  web: {image: x, port: ["80:80"]}\n');
    const bad = await check(folder);
    assert.equal(bad.code, 1);
    assert.equal(bad.stdout, `${compose}:2:19: services.web: unknown key "port"; is it "ports"?\n`);
  });

  test('shows what is wanted on one node', async () => {
    const file = await fileWith(
      'm.yaml',
      'containers:\n  - {name: a, image: x:1}\n  - {name: b, image: y, node: n2}\n',
    );
    const { code, stdout } = await check(file, '--node', 'n1');
    assert.equal(code, 0);
    assert.match(stdout, /^wanted on n1\n {2}a {2}x:1 {2}any image of that name\n$/m);
    assert.match(stdout, /^ {2}on every node: 1, counted at each$/m);
  });

  test('is the same as data', async () => {
    const folder = await workTree('four-nodes.yaml');
    const { code, stdout } = await check(folder, '--node', 'lyra', '--json');
    assert.equal(code, 0);
    const told = JSON.parse(stdout);
    assert.equal(told.in_order, true);
    assert.deepEqual(told.nodes[0], { node: 'lyra', containers: 2 });
    assert.deepEqual([told.everywhere, told.not_watched, told.enforcement_mode], [0, 1, 'active']);
    assert.deepEqual(
      told.on_node.containers.map(({ name }: { name: string }) => name),
      ['api', 'db'],
    );
    assert.equal(told.drift_rules.missing_containers.grace_period_ms, 120_000);
    assert.deepEqual(Object.keys(told.warnings[0]), ['file', 'line', 'key', 'reason']);
  });

  test('is what lies there, not what is committed: no repository is needed', async () => {
    const file = await fileWith('loose.yaml', 'containers: [{name: a, image: x}]\n');
    assert.equal((await check(file)).code, 0);
  });
});

describe('a manifest with mistakes', () => {
  const text = 'containers:\n  - {nam: a, image: x}\n  - {name: b, imge: x}\nflx: {}\n';

  test('has each on a line with its place, and is exit code 1', async () => {
    const file = await fileWith('bad.yaml', text);
    const { code, stdout, stderr } = await check(file);
    assert.deepEqual([code, stderr], [1, '']);
    assert.deepEqual(stdout.split('\n'), [
      `${file}:2:6: containers.0: unknown key "nam"; is it "name"?`,
      `${file}:3:15: containers.1: unknown key "imge"; is it "image"?`,
      `${file}:4:1: unknown key "flx"; is it "flux"?`,
      '',
    ]);
  });

  test('has them as data', async () => {
    const file = await fileWith('bad.yaml', text);
    const { code, stdout } = await check(file, '--json');
    assert.equal(code, 1);
    const { in_order, mistakes, more_mistakes } = JSON.parse(stdout);
    assert.deepEqual([in_order, mistakes.length, more_mistakes], [false, 3, false]);
    assert.deepEqual([mistakes[2].line, mistakes[2].column], [4, 1]);
  });

  test('too large for an agent to read, or no text', async () => {
    const large = await fileWith('large.yaml', `# ${'x'.repeat(limits.maxManifestBytes)}\nnodes: []\n`);
    assert.deepEqual(
      [(await check(large)).code, (await check(large)).stdout],
      [1, `${large}:1:1: larger than ${limits.maxManifestBytes} bytes\n`],
    );
    const latin = await fileWith('latin.yaml', Buffer.from('nodes: []\n# caf\xe9\n', 'latin1'));
    assert.equal((await check(latin)).stdout, `${latin}:2:1: not UTF-8\n`);
  });

  test('moves no cursor and forges no line', async () => {
    const file = await fileWith('evil.yaml', '"a\\u001b[2J\\nin order: all of it\\u202e": 1\n');
    const { code, stdout } = await check(file);
    assert.equal(code, 1);
    assert.match(stdout, /^[^\p{Cc}\u2028-\u202e]*\n$/u);
  });
});

describe('what cannot be checked is exit code 2', () => {
  test('a path that leads nowhere, a folder without a manifest, a device', async () => {
    const empty = join(root, 'empty');
    await mkdir(empty);
    for (const [path, reason] of [
      [join(root, 'nowhere'), /cannot read .*nowhere: ENOENT/],
      [empty, /cannot read .*bloodline_manifest\.yaml: ENOENT/],
      ['/dev/zero', /not a regular file/],
    ] as const) {
      const { code, stdout, stderr } = await check(path);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, reason);
    }
  });

  test('a node that is not in nodes, or cannot be one; no path', async () => {
    const folder = await workTree('four-nodes.yaml');
    assert.match((await check(folder, '--node', 'node9')).stderr, /"node9" is not in nodes of .*: lyra, node1/);
    assert.equal((await check(folder, '--node', 'node9')).code, 2);
    assert.equal((await check(folder, '--node', 'No Node')).code, 2);
    assert.equal((await check()).code, 2);
  });
});
