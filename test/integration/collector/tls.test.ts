import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { enrol } from '../../../agent/enrol.ts';
import { socketUrl } from '../../../agent/link/link.ts';
import { openSocket } from '../../../agent/link/socket.ts';
import { startCollector } from '../../../collector/app.ts';
import { systemClock } from '../../../collector/clock.ts';
import { issueJoinToken } from '../../../collector/fleet/enrolment.ts';
import { postgresEnrolment } from '../../../collector/postgres/access-store.ts';
import { toAppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { selfSigned, type TestCertificate } from '../../fakes/certificate.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { settingsFor, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let dir: string;
let certificate: string;
let key: string;
const first = selfSigned();

async function put({ cert, key: privateKey }: TestCertificate): Promise<void> {
  for (const [path, text] of [
    [key, privateKey],
    [certificate, cert],
  ] as const) {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-tls-'));
  [certificate, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await put(first);
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase(), {
    SIGILWATCH_HTTP_TLS_CERTIFICATE: certificate,
    SIGILWATCH_HTTP_TLS_KEY: key,
  });
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What the collector shows to whoever trusts `ca`; the reason why not. */
function shake(ca: string, options: object = {}): Promise<string> {
  const { hostname: host, port } = new URL(under.collector.url);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), ca, ...options }, () => {
      resolve(socket.getProtocol() ?? '');
      socket.destroy();
    });
    socket.once('error', (error) => resolve(toAppError(error).message));
  });
}

function agentSocket(ca: string | undefined) {
  const heard: string[] = [];
  let over: unknown;
  let open = false;
  const socket = openSocket({
    url: socketUrl(under.collector.url),
    ca,
    bounds: limits,
    clock: systemClock,
    onOpen: () => {
      open = true;
    },
    handle: async (frame) => void heard.push(frame),
    onOver: (thrown) => {
      over ??= thrown;
    },
  });
  return { socket, heard, isOpen: () => open, over: () => over };
}

test('the collector is reached over TLS 1.2 or later, and by no other way', async () => {
  assert.match(under.collector.url, /^https:/);
  assert.equal(await shake(first.cert), 'TLSv1.3');
  assert.equal(await shake(first.cert, { maxVersion: 'TLSv1.2' }), 'TLSv1.2');
  assert.match(await shake(first.cert, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }), /alert|protocol|version/i);
  await assert.rejects(fetch(`${under.collector.url.replace('https', 'http')}/health`));
});

test('whoever came over TLS is told to come in no other way', async () => {
  const { hostname, port } = new URL(under.collector.url);
  const header = await new Promise<string | undefined>((resolve, reject) => {
    get({ hostname, port, path: '/health', ca: first.cert }, ({ headers }) =>
      resolve(headers['strict-transport-security']),
    ).once('error', reject);
  });
  assert.equal(header, `max-age=${limits.hstsSeconds}`);
});

test('a node enrols and connects over it, by the authority that its operator names', async () => {
  const store = postgresEnrolment(under.db);
  const issued = await issueJoinToken(
    { store, ledger: under.ledger, clock: systemClock },
    { node: 'lyra', ttlMs: 60_000, randomBytes },
  );
  const wish = {
    ...{ dataDir: join(dir, 'agent'), collector: under.collector.url, token: issued.token, node: 'lyra' },
    ...{ version: '0.1.0', force: false },
  };
  await assert.rejects(enrol(wish), { code: 'collector.unreachable' });
  await assert.rejects(enrol({ ...wish, ca: selfSigned().cert }), { code: 'collector.unreachable' });
  assert.equal((await enrol({ ...wish, ca: first.cert })).node, 'lyra');
  const stranger = agentSocket(undefined);
  await until('the stranger gives up', () => stranger.over() !== undefined);
  assert.match(toAppError(stranger.over()).message, /certificate/);
});

test('a new certificate is taken up without ending what is open; files that are no pair change nothing', async () => {
  const [second, stray] = [selfSigned(), selfSigned()];
  await put({ cert: second.cert, key: stray.key });
  assert.equal(await shake(first.cert), 'TLSv1.3');
  // Not before: the collector gives it ten seconds to prove a key.
  const agent = agentSocket(first.cert);
  await until('the socket is open', agent.isOpen);
  await put(second);
  await until('the new one is shown', async () => (await shake(second.cert)) === 'TLSv1.3');
  assert.match(await shake(first.cert), /certificate/);
  assert.equal(agent.over(), undefined);
  await agent.socket.send('{}');
  await until('the collector answers', () => agent.heard.length > 0);
  agent.socket.cut();
});

test('without TLS nobody but this machine is served, unless it is said that this is meant', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-insecure-'));
  const url = await postgres.emptyDatabase();
  const start = (more: Record<string, string>) =>
    startCollector(settingsFor(dataDir, url, { SIGILWATCH_HTTP_HOST: '0.0.0.0', ...more }), { logger: quietLogger });
  await assert.rejects(start({}), { code: 'validation.config', message: /http\.tls\.certificate.*--insecure/ });
  await assert.rejects(start({ SIGILWATCH_HTTP_TLS_KEY: key }), { code: 'validation.config', message: /by half/ });
  await assert.rejects(start({ SIGILWATCH_HTTP_TLS_KEY: key, SIGILWATCH_HTTP_TLS_CERTIFICATE: key }), {
    code: 'validation.config',
    message: /no certificate with its key/,
  });
  const collector = await start({ SIGILWATCH_HTTP_INSECURE: 'true' });
  await collector.stop();
  await rm(dataDir, { recursive: true, force: true });
});
