import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { usage } from '../../scripts/packaging/command-line.ts';
import { manifestText, sha256 } from '../../scripts/packaging/manifest.ts';
import { signerOf, signFile } from '../../scripts/packaging/sign.ts';
import { besideIn, readSums, sumsName, sumsText } from '../../scripts/packaging/sums.ts';
import { textFile } from '../../scripts/packaging/tree.ts';
import { sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';

const folder = makeTemporaryFolder('sigilwatch-sums-');
after(() => folder.remove());

const root = join(import.meta.dirname, '../..');
const tarball = 'sigilwatch-agent-1.0.0-linux-x64.tar.gz';
const deb = 'sigilwatch-agent_1.0.0_arm64.deb';
const bill = 'sigilwatch-collector-1.0.0-linux-arm64.cdx.json';

function put(name: string, text: string): [name: string, sum: string] {
  writeFileSync(join(folder.path, name), text);
  return [name, sha256(Buffer.from(text))];
}

test('what an earlier run has made is listed as long as it is what its list says; all else is told', async () => {
  const earlier = new Map([put(deb, 'a deb'), put(bill, 'a bill'), put('sigilwatch-agent_0.9.0_amd64.deb', 'old')]);
  writeFileSync(join(folder.path, sumsName), sumsText(earlier));
  put(bill, 'another bill');
  put('sigilwatch-collector_1.0.0_amd64.deb', 'from somewhere');
  put('sigilwatch-agent_1.0.00_amd64.deb', 'of a version that begins alike');
  put('notes.txt', 'no package');
  const made = new Map([put(tarball, 'a tarball')]);
  const { kept, strays } = await besideIn(folder.path, '1.0.0', made);
  assert.deepEqual([...kept], [[deb, earlier.get(deb)]]);
  assert.deepEqual(Object.fromEntries(strays), {
    'sigilwatch-agent_0.9.0_amd64.deb': 'it is of another version',
    'sigilwatch-agent_1.0.00_amd64.deb': 'it is of another version',
    'sigilwatch-collector_1.0.0_amd64.deb': 'no list has named it',
    [bill]: 'it was changed since it was made',
  });
});

test('the list is the same in whichever order its packages were made, and sha256sum reads it', () => {
  const sums = [put(tarball, 'a tarball'), put(deb, 'a deb')];
  const text = sumsText(new Map(sums));
  assert.equal(sumsText(new Map(sums.toReversed())), text);
  assert.deepEqual(readSums(text), new Map(sums.toReversed()));
  execFileSync('sha256sum', ['--check', '--strict', '--quiet'], { cwd: folder.path, input: text });
});

test('whose signature lies beside a list is known, and that of another list is nobody’s', {
  skip: withoutSshKeygen(),
}, async () => {
  const signers = await sshSigners({ ours: 'releases@example.org', theirs: 'others@example.org' });
  const list = join(folder.path, 'list');
  writeFileSync(list, 'a list\n');
  assert.equal(await signerOf(list), undefined);
  await signFile(list, signers.keyFile('ours'));
  const ours = await signerOf(list);
  assert.match(ours ?? '', /^ED25519 key SHA256:/);
  const other = join(folder.path, 'other');
  writeFileSync(other, 'another list\n');
  await signFile(other, signers.keyFile('ours'));
  assert.equal(await signerOf(other), ours);
  copyFileSync(`${list}.sig`, `${other}.sig`);
  assert.equal(await signerOf(other), undefined);
  await signFile(other, signers.keyFile('theirs'));
  assert.notEqual(await signerOf(other), ours);
  await signers.remove();
});

test('the manifest of a package says of links where they lead, in lines that are no sums', () => {
  const text = manifestText('x 1.0.0 linux-x64', [
    textFile('usr/b', 'b'),
    { path: 'usr/c', target: 'b' },
    { path: 'usr/a', target: '../usr/b' },
  ]);
  const sum = sha256(Buffer.from('b'));
  assert.equal(text, `# x 1.0.0 linux-x64\n# link usr/a -> ../usr/b\n# link usr/c -> b\n${sum}  usr/b\n`);
});

test('how packages are made is told by scripts alone, where nothing is installed', () => {
  const bare = join(folder.path, 'bare clone');
  mkdirSync(join(bare, 'scripts/packaging'), { recursive: true });
  for (const name of ['scripts/package', 'scripts/packaging/command-line.ts']) {
    copyFileSync(join(root, name), join(bare, name));
  }
  for (const args of [['--help'], ['--arch', 'x64', '-h']]) {
    assert.equal(execFileSync(join(bare, 'scripts/package'), args, { encoding: 'utf8' }), usage);
  }
  assert.ok(readFileSync(join(root, 'scripts/package'), 'utf8').includes('setup.sh'));
});
