import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { identityPaths, makeKeys } from '../../agent/identity.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { agentCommand, agentProgram } from './program.ts';
import { tempFolder } from './watching.ts';

const temp = tempFolder();
const write = (name: string, text: string): string => {
  const path = join(temp, name);
  writeFileSync(path, text);
  return path;
};

test('--print-config masks secrets, and what it prints loads again and prints the same', async () => {
  const config = write('a.yaml', 'sigils:\n  secrets: [hush-hush]\n  stores: {main: /srv/store}\n');
  const first = await agentCommand(['--config', config, '--print-config']);
  assert.equal(first.code, 0, first.stderr);
  assert.doesNotMatch(first.stdout, /hush/);
  assert.match(first.stdout, /secrets: \["\*+"\]/);
  assert.match(first.stdout, /\/srv\/store/);
  const printed = write('b.yaml', first.stdout);
  const second = await agentCommand(['--config', printed, '--print-config']);
  assert.equal(second.code, 0, second.stderr);
  const values = (text: string) => text.replaceAll(/ # .*$/gm, '');
  assert.equal(values(second.stdout), values(first.stdout));
});

test('a store that is a table is shown without its password, and mistakes in it are named', async () => {
  const table = (more: string) =>
    `sigils: {stores: {main: /srv/store, rows: {postgres: {${more}, columns: {symbol: s, authHash: h, record: r}}}}}\n`;
  const config = write('table.yaml', table('url: "postgres://me:hush@db/app", table: app.sigils'));
  const first = await agentCommand(['--config', config, '--print-config']);
  assert.equal(first.code, 0, first.stderr);
  assert.doesNotMatch(first.stdout, /hush/);
  assert.match(first.stdout, /"main":"\/srv\/store","rows":\{"postgres":\{"url":"\*+","table":"app.sigils"/);
  const second = await agentCommand(['--config', write('printed.yaml', first.stdout), '--print-config']);
  assert.equal(second.code, 0, second.stderr);
  const mistakes: [string, RegExp][] = [
    [table('url: "postgres://me:hush@db/app", table: sigils'), /sigils\.stores\.rows\.postgres\.table.*schema\.name/s],
    [table('table: app.sigils'), /sigils\.stores\.rows\.postgres: .*either url or urlFile/s],
    [table('url: "postgres://me:hush@db/app", tabel: app.sigils'), /sigils\.stores\.rows\.postgres\.table/],
    ['sigils: {stores: {rows: "postgres://me:hush@db/app"}}\n', /sigils\.stores\.rows.*the path of a folder/s],
  ];
  for (const [text, says] of mistakes) {
    const { code, stderr } = await agentCommand(['--config', write('wrong.yaml', text), 'status']);
    assert.equal(code, 2);
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /hush/);
  }
});

test('an unknown setting is refused with its place and the nearest one', async () => {
  const { code, stdout, stderr } = await agentCommand(['--config', write('c.yaml', 'dataDri: /x\n'), 'status']);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /dataDri/);
  assert.match(stderr, /c\.yaml:1:1/);
  assert.match(stderr, /dataDir/);
});

test('--print-config shows the data directory that --data-dir gave', async () => {
  const { stdout } = await agentCommand(['--data-dir', '/srv/agent', '--print-config']);
  assert.match(stdout, /^dataDir: "\/srv\/agent" # env SIGILWATCH_DATA_DIR$/m);
});

test('a settings file that is not there is named', async () => {
  const { code, stderr } = await agentCommand(['--config', join(temp, 'none.yaml'), 'status']);
  assert.equal(code, 2);
  assert.match(stderr, /none\.yaml does not exist/);
});

test('an unknown command is wrong usage; help and version are not', async () => {
  for (const argv of [['observe'], ['run', 'observe']]) {
    const { code, stderr } = await agentCommand(argv);
    assert.equal(code, 2);
    assert.match(stderr, /unknown command 'observe'/);
  }
  const help = await agentCommand(['--help']);
  assert.equal(help.code, 0);
  for (const name of ['enroll', 'run', 'scan', 'status', 'doctor'])
    assert.match(help.stdout, new RegExp(`^  ${name}`, 'm'));
  assert.equal((await agentCommand(['--version'])).code, 0);
});

test('run on a node that is not enrolled says how to, and exits with 3', async () => {
  const dataDir = mkdtempSync(join(temp, 'data-'));
  const plain = await agentProgram(['--data-dir', dataDir, 'run']);
  assert.equal(plain.code, 3);
  assert.match(plain.stderr, /sigilwatch-agent enroll/);
  const json = await agentProgram(['--json', '--data-dir', dataDir]);
  assert.equal(json.code, 3);
  assert.equal(JSON.parse(json.stderr).error_code, 'auth.required');
});

test('run with a taken port ends by itself, with 4', async () => {
  const dataDir = mkdtempSync(join(temp, 'data-'));
  const paths = identityPaths(dataDir);
  await makeKeys(paths.key);
  const { origin, vkey } = memoryLedger();
  writeFileSync(paths.enrolment, JSON.stringify({ node: 'n', url: 'http://127.0.0.1:9', origin, vkey }), {
    mode: 0o600,
  });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const config = write('port.yaml', `http: {port: ${address.port}}\n`);
  const { code, stderr } = await agentProgram(['--config', config, '--data-dir', dataDir, 'run']);
  server.close();
  assert.equal(code, 4, stderr);
  assert.match(stderr, /is taken/);
});

test('status without an agent says so, and exits with 5', async () => {
  const config = write('status.yaml', 'http: {port: 1}\n');
  const { code, stdout, stderr } = await agentCommand(['--config', config, 'status']);
  assert.deepEqual([code, stdout], [5, '']);
  assert.match(stderr, /no agent answers at http:\/\/127\.0\.0\.1:1/);
});

test('a join token comes from the command line or from a file, and not from both or neither', async () => {
  const enroll = (...more: string[]) => agentCommand(['enroll', '--collector', 'http://127.0.0.1:9', ...more]);
  for (const more of [[], ['--token', 'swj_x', '--token-file', write('token', 'swj_x\n')]]) {
    const { code, stderr } = await enroll(...more);
    assert.deepEqual([code, /--token-file/.test(stderr)], [2, true], stderr);
  }
  const missing = await enroll('--token-file', join(temp, 'no-such-token'));
  assert.deepEqual([missing.code, /no-such-token cannot be read \(ENOENT\)/.test(missing.stderr)], [2, true]);
  const said = await enroll('--token', 'swj_x');
  const read = await enroll('--token-file', join(temp, 'token'));
  assert.deepEqual([read.code, read.stderr], [said.code, said.stderr]);
});
