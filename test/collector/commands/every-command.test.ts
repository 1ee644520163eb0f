import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Command, type Option } from 'commander';
import { addEverything } from '../../../collector/cli.ts';
import { tempFolder } from '../../agent/watching.ts';
import { collectorCli } from '../../collector-cli.ts';
import { failing, startOddServer } from '../../fakes/odd-server.ts';

/** They work on the data directory of a collector, on its settings, or on nothing but what they are given. */
const withoutServer = new Set([
  ...['run', 'migrate', 'verify', 'completion', 'artifact hash', 'manifest check', 'policy backtest'],
  // They need somebody who types, or a file of the home directory.
  ...['login', 'logout'],
  ...['alerts test', 'doctor', 'integrity run', 'changes text', 'bundle import'],
  ...['verify', 'export', 'recover', 'proof', 'mirror', 'policy', 'replay', 'erase'].map((verb) => `ledger ${verb}`),
]);

/** They say so where a server is named. The others do not look at data. */
const onData = ['ledger export', 'ledger verify', 'ledger replay', 'integrity run', 'bundle import stick'];

const folder = mkdtempSync(join(tempFolder(), 'sigilwatch-every-'));
const signature = join(folder, 'signature');
writeFileSync(signature, 'a signature');

/** What commands need beside what they declare. */
const more: Readonly<Record<string, readonly string[]>> = {
  'alerts silence': ['--for', '1h'],
  'silence add': ['--container', 'web'],
  'orders issue': ['--confirm', 'web'],
  'orders approve': ['--signature', signature],
  'changes announce': ['--signature', signature],
  'users add': ['--password-file', signature],
  'users change': ['--lock'],
  'tokens create': ['--role', 'observer'],
};

const samples: Readonly<Record<string, string>> = {
  ...{ for: '1h', before: '+1h', node: 'lyra' },
  ...{ 'password-file': signature, artifact: 'a'.repeat(64) },
};

function leaves(command: Command, words: readonly string[] = []): readonly (readonly [string, Command])[] {
  if (command.commands.length === 0) return [[words.join(' '), command]];
  return command.commands.flatMap((sub) => leaves(sub, [...words, sub.name()]));
}

function valuesOf(option: Option): readonly string[] {
  return option.required ? [option.argChoices?.[0] ?? samples[option.name()] ?? 'x'] : [];
}

function wordsOf(path: string, command: Command): readonly string[] {
  const given = command.registeredArguments
    .filter(({ required }) => required)
    .map((argument) => argument.argChoices?.[0] ?? samples[argument.name()] ?? 'deadbeef');
  const options = command.options
    .filter(({ mandatory }) => mandatory)
    .flatMap((option: Option) => [option.long ?? '', ...valuesOf(option)]);
  return [...path.split(' '), ...given, ...options, ...(more[path] ?? [])];
}

const nothing = async () => {};
const program = new Command('sigilwatch-collector');
addEverything(program, { perform: nothing, performAlone: nothing });
const commands = leaves(program);

describe('with --server', () => {
  for (const [path, command] of commands.filter(([name]) => !withoutServer.has(name))) {
    test(`"${path}" asks the server, and is refused as it is`, async () => {
      const server = await startOddServer(failing(403, 'auth.forbidden'));
      try {
        const argv = [...wordsOf(path, command), '--server', server.url];
        const { code, stderr } = await collectorCli(argv, { SIGILWATCH_TOKEN: 'swk_x' });
        assert.deepEqual([code, server.asked.length], [4, 1], stderr);
        assert.match(stderr, /^auth\.forbidden: it is auth\.forbidden$/m);
      } finally {
        await server.close();
      }
    });
  }

  test('commands on a data directory are refused, rather than done on another one than is meant', async () => {
    for (const words of onData) {
      const { code, stderr } = await collectorCli([...words.split(' '), '--server', 'http://127.0.0.1:1']);
      assert.equal(code, 2, words);
      assert.match(stderr, /works on the data directory/, words);
    }
  });
});

test('every command that needs no server is there', () => {
  const known = new Set(commands.map(([path]) => path));
  assert.deepEqual(
    [...withoutServer].filter((path) => !known.has(path)),
    [],
  );
});

test('every command and option says what it is', () => {
  for (const [path, command] of commands) {
    assert.ok(command.description().length > 10, path);
    for (const option of command.options) assert.ok(option.description.length > 3, `${path} ${option.flags}`);
  }
});
