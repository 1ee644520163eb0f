import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

/*
 * A collector whose certificate a private authority has issued, as openssl makes both.
 */

const openssl = (...argv: string[]) => promisify(execFile)('openssl', argv);

let postgres: TestPostgres;
let under: TestCollector;
let dir: string;
const at = (name: string) => join(dir, name);

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-authority-'));
  for (const authority of ['ca', 'other']) await makeAuthority(authority);
  await openssl(
    ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=collector', '-keyout', at('key.pem'), '-out', at('csr')],
  );
  await writeFile(at('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  await openssl(
    ...['x509', '-req', '-in', at('csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'],
    ...['-extfile', at('ext'), '-days', '2', '-out', at('cert.pem')],
  );
  await writeFile(at('password'), 'a long enough password\n');
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase(), {
    SIGILWATCH_HTTP_TLS_CERTIFICATE: at('cert.pem'),
    SIGILWATCH_HTTP_TLS_KEY: at('key.pem'),
  });
  await writeFile(at('token'), under.token);
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
});

async function makeAuthority(name: string): Promise<void> {
  await openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`, '-days', '2'],
    ...['-keyout', at(`${name}.key`), '-out', at(`${name}.pem`)],
  );
}

const asked = () => ['--server', under.collector.url, '--token-file', at('token'), 'nodes', 'list'];
const cli = (argv: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  collectorCli([...argv], { HOME: dir, ...env });

test('without its authority the collector is not asked, and it is said how', async () => {
  const { code, stderr } = await cli(asked());
  assert.equal(code, 5, stderr);
  assert.match(stderr, /--ca-file/);
  const other = await cli(['--ca-file', at('other.pem'), ...asked()]);
  assert.equal(other.code, 5, other.stderr);
});

test('with its authority it is, whether an option or the environment names it', async () => {
  const given = await cli(['--ca-file', at('ca.pem'), ...asked()]);
  assert.equal(given.code, 0, given.stderr);
  const { code, stderr } = await cli(asked(), { SIGILWATCH_CA_FILE: at('ca.pem') });
  assert.equal(code, 0, stderr);
});

test('a file without a certificate, or none at all, is wrong usage', async () => {
  for (const [file, why] of [
    ['password', /no certificate in PEM/],
    ['none.pem', /cannot be read \(ENOENT\)/],
  ] as const) {
    const { code, stderr } = await cli(['--ca-file', at(file), ...asked()]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, why);
  }
});

test('a sign-in keeps the authority, for every command after it, wherever that is run', async () => {
  const setup = ['--user', 'ada', '--password-file', at('password'), '--setup', under.collector.setupCode ?? ''];
  const byRelative = relative(process.cwd(), at('ca.pem'));
  const made = await cli(['login', '--server', under.collector.url, '--ca-file', byRelative, ...setup]);
  assert.equal(made.code, 0, made.stderr);
  const saved = at('.config/sigilwatch/login.json');
  const login = JSON.parse(await readFile(saved, 'utf8'));
  assert.equal(login.ca_file, at('ca.pem'));
  for (const command of [['whoami'], ['--server', under.collector.url, 'whoami'], ['nodes', 'list']]) {
    const { code, stderr } = await cli(command);
    assert.equal(code, 0, stderr);
  }
  await writeFile(saved, JSON.stringify({ ...login, access_expires_at: '2020-01-01T00:00:00Z' }));
  const renewed = await cli(['whoami']);
  assert.equal(renewed.code, 0, renewed.stderr);
  const out = await cli(['logout']);
  assert.equal(out.code, 0, out.stderr);
});

test('commands on the machine of the collector find the authority in its settings', async () => {
  const settings = {
    SIGILWATCH_DATA_DIR: under.settings.dataDir,
    DATABASE_URL: under.settings.database.url ?? '',
    SIGILWATCH_HTTP_PORT: new URL(under.collector.url).port,
    SIGILWATCH_HTTP_TLS_CERTIFICATE: at('cert.pem'),
    SIGILWATCH_HTTP_TLS_KEY: at('key.pem'),
  };
  const argv = ['login', '--user', 'ada', '--password-file', at('password')];
  assert.equal((await cli(argv, settings)).code, 5);
  const { code, stderr } = await cli(argv, { ...settings, SIGILWATCH_HTTP_TLS_CA_FILE: at('ca.pem') });
  assert.equal(code, 0, stderr);
});
