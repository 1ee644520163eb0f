import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readOptions } from '../../../agent/executor/options.ts';
import { generateKeyPair, rawPublicKey } from '../../../common/keys.ts';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../../common/note.ts';

const collector = generateKeyPair();
const nodeKeys = generateKeyPair();
const vkey = formatVerifierKey(verifierKey('log.example', signatureTypes.ed25519, collector.publicKey));
const raw = rawPublicKey(nodeKeys.publicKey).toString('base64');
const files: Readonly<Record<string, string>> = {
  '/keys': `# the collector's\n\n${vkey}\n  ${vkey}  \n`,
  '/empty': '\n# nothing\n',
  '/node.pem': nodeKeys.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
  '/node.base64': `${raw}\n`,
  '/private.pem': nodeKeys.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  '/etc/group': 'root:x:0:\nsigilwatch-engine:x:987:agent\n',
};
const needed = ['--socket', '/run/x.sock', '--engine', '/run/docker.sock', '--node', 'lyra', '--collector-key', vkey];

function read(...argv: readonly string[]) {
  return readOptions(argv, (path) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return text;
  });
}

function settings(...more: readonly string[]) {
  const asked = read(...needed, ...more);
  return asked.kind === 'run' ? asked.settings : assert.fail(asked.kind);
}

describe('the command line of the executor', () => {
  test('says where, for whom, and whose orders count', () => {
    const { socketPath, enginePath, groupId, trust } = settings();
    assert.deepEqual([socketPath, enginePath, groupId], ['/run/x.sock', '/run/docker.sock', undefined]);
    assert.deepEqual([trust.node, trust.nodeKey], ['lyra', undefined]);
    assert.ok(trust.collectorKeys[0]?.equals(collector.publicKey));
  });

  test('takes a value with an equals sign, too', () => {
    assert.equal(settings('--node=node1').trust.node, 'node1');
  });

  test('takes keys from files too, one on each line', () => {
    assert.equal(settings('--collector-key', '/keys').trust.collectorKeys.length, 3);
  });

  test('takes orders of the node itself only when both the switch and its key are given', () => {
    for (const key of [raw, '/node.pem', '/node.base64']) {
      assert.ok(settings('--allow-local', '--node-key', key).trust.nodeKey?.equals(nodeKeys.publicKey), key);
    }
    assert.throws(() => settings('--allow-local'), { code: 'validation.config' });
    assert.throws(() => settings('--node-key', raw), { code: 'validation.config' });
  });

  test('knows groups by name and by number', () => {
    assert.deepEqual([settings('--group', 'sigilwatch-engine').groupId, settings('--group', '12').groupId], [987, 12]);
  });

  for (const more of [
    ['--collector-key', '/none'],
    ['--collector-key', '/empty'],
    ['--group', 'nobody'],
    ['--node', 'Lyra'],
    ['--node', ''],
    ['--nonsense'],
    ['extra'],
    ['--node'],
    ['--allow-local=yes', '--node-key', raw],
    ['-h'],
    ['--allow-local', '--node-key', '/private.pem'],
    ['--allow-local', '--node-key', '/empty'],
    ['--allow-local', '--node-key', '/none'],
  ]) {
    test(`is refused with ${more.join(' ')}`, () => {
      assert.throws(() => settings(...more), { code: 'validation.config' });
    });
  }

  test('is refused with a key that is none', () => {
    assert.throws(() => settings('--collector-key', `${vkey.slice(0, -4)}AAAA`), { code: 'auth.signature' });
  });

  test('is refused without what it needs', () => {
    for (let at = 0; at < needed.length; at += 2) {
      assert.throws(() => read(...needed.toSpliced(at, 2)), { code: 'validation.config' });
    }
  });

  test('answers with its usage and its version', () => {
    assert.deepEqual([read('--help').kind, read('--version').kind], ['help', 'version']);
  });
});
