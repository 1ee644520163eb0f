import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { driftKinds } from '../../../common/drift-kind.ts';
import { orderStatuses } from '../../../common/order.ts';
import { collectorCli } from '../../collector-cli.ts';

const scripts = {
  bash: (await collectorCli(['completion', 'bash'])).stdout,
  zsh: (await collectorCli(['completion', 'zsh'])).stdout,
};

/** Where nobody else makes files. */
const cwd = fileURLToPath(new URL('.', import.meta.url));

/** What bash offers for the last of `words`. */
function offeredByBash(...words: readonly string[]): readonly string[] {
  const ask = `source <(printf %s "$1")
    shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _sigilwatch_collector
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const said = execFileSync('bash', ['-c', ask, 'bash', scripts.bash, 'sigilwatch-collector', ...words], { cwd });
  return said
    .toString()
    .split('\n')
    .filter((line) => line !== '');
}

/** What zsh would offer: its own functions that show it only tell of it here. */
function offeredByZsh(...words: readonly string[]): readonly string[] {
  const ask = `compdef() { : }; compset() { : }
    compadd() { print -rl -- \${(P)2} }
    _describe() { print -rl -- \${(P)@[-1]} }
    _files() { print files }
    eval "$1"
    shift; words=("$@"); CURRENT=$#
    _sigilwatch_collector`;
  const said = execFileSync('zsh', ['-f', '-c', ask, 'zsh', scripts.zsh, 'sigilwatch-collector', ...words]);
  return said
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/:.*/, ''));
}

const noZsh = spawnSync('zsh', ['--version']).status === 0 ? false : 'there is no zsh here';

for (const [shell, offered, skip] of [
  ['bash', offeredByBash, false],
  ['zsh', offeredByZsh, noZsh],
] as const) {
  test(`${shell} completes commands, options, and the words that options take`, { skip }, () => {
    assert.deepEqual(offered('drifts', ''), ['list', 'show']);
    assert.deepEqual(offered('drifts', 'list', '--kind', ''), driftKinds);
    assert.deepEqual(offered('--json', '--config', 'orders', 'orders', 'list', '--status', ''), orderStatuses);
    assert.deepEqual(offered('completion', ''), ['bash', 'zsh']);
    const flags = offered('alerts', 'list', '--');
    for (const flag of ['--state', '--all', '--server', '--json', '--help']) assert.ok(flags.includes(flag), flag);
    assert.ok(!flags.includes('--kind'));
    assert.deepEqual(offered('drifts', 'list', '--node', ''), [], 'names are not looked up');
  });
}

test('bash knows the program, begins of words, and a value behind =', () => {
  const known = execFileSync('bash', ['-c', 'source <(printf %s "$1"); complete -p', 'bash', scripts.bash]);
  assert.match(known.toString(), /^complete -F _sigilwatch_collector sigilwatch-collector$/m);
  assert.deepEqual(offeredByBash('dr'), ['drifts']);
  assert.deepEqual(offeredByBash('orders', 'list', '--status', '=', 'rej'), ['rejected']);
  assert.deepEqual(offeredByBash('orders', 'list', '--status', '='), orderStatuses);
  const files = execFileSync('bash', ['-c', 'compgen -f'], { cwd }).toString().trim();
  assert.deepEqual([...offeredByBash('--config', '')].sort(), files.split('\n').sort());
});

test('zsh completes files where a file is named, and a value behind =', { skip: noZsh }, () => {
  assert.deepEqual(offeredByZsh('--config', ''), ['files']);
  assert.deepEqual(offeredByZsh('drifts', 'list', '--kind='), driftKinds);
});

test('other shells are refused', async () => {
  const { code, stderr } = await collectorCli(['completion', 'fish']);
  assert.equal(code, 2);
  assert.match(stderr, /bash, zsh/);
});
