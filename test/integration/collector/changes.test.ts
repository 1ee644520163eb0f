import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Hono } from 'hono';
import { z } from 'zod';
import { systemClock } from '../../../collector/clock.ts';
import { addChangesRoutes } from '../../../collector/http/changes-routes.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { createAnnouncing } from '../../../collector/wiring/operating.ts';
import { announcementNamespace, announcementText } from '../../../common/enforcement/announcement.ts';
import { limits } from '../../../common/limits.ts';
import { approvalNamespace } from '../../../common/order.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { served } from '../../serving.ts';
import { type SshSigners, sshSigners, withoutSshKeygen } from '../../ssh-keys.ts';
import { enrolDirectly, startTestCollector, type TestCollector } from './collectors.ts';

const skip = withoutSshKeygen();
let postgres: TestPostgres;
let under: TestCollector;
let signers: SshSigners;
let routes: Hono<HttpEnv>;
let env: Record<string, string>;
let folder: string;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.emptyDatabase();
  under = await startTestCollector(url);
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-changes-'));
  await enrolDirectly(under.ledger, 'lyra');
  if (skip === false) signers = await sshSigners({ alice: 'alice', mallory: 'nobody' });
  const { db, ledger, settings } = under;
  env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: settings.dataDir };
  const ports = createAnnouncing({ db, ledger, clock: systemClock, signers: signers ?? {} });
  routes = served((serve) => addChangesRoutes(serve, ports, db));
});
after(async () => {
  await signers?.remove();
  await under.stop();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

const soon = (ms = 3_600_000) => new Date(Date.now() + ms).toISOString();
const change = { node: 'lyra', container: 'web', image: 'web:2' };
const textOf = (said: Partial<typeof change> = {}, until = soon()) => announcementText({ ...change, ...said, until });

const answered = z.looseObject({
  index: z.int().optional(),
  items: z.array(z.looseObject({ container: z.string(), becomes: z.string(), approver: z.string() })).default([]),
});

async function ask(method: string, path: string, body?: unknown) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await routes.request(`/api/v1/changes${path}`, { method, ...sent });
  return { status: answer.status, json: answered.parse(await answer.json()) };
}

const post = (text: string, owner = 'alice', approver = owner, namespace = announcementNamespace) =>
  ask('POST', '', { text, approval: { approver, signature: signers.sign(owner, text, namespace) } });

const size = async () => (await under.ledger.checkpoint()).size;

test('announcing is behind the gate of operators', async () => {
  for (const method of ['GET', 'POST']) {
    assert.equal((await fetch(`${under.collector.url}/api/v1/changes`, { method })).status, 401);
  }
  assert.deepEqual((await under.get('/api/v1/changes')).json.items, []);
});

describe('a change that is announced', { skip }, () => {
  test('is on record with its signature, once, and is told', async () => {
    const before = await size();
    const text = textOf();
    const { status, json } = await post(text);
    assert.equal(status, 201);
    assert.equal(await size(), before + 2, 'with an entry that says who');
    assert.equal((await post(text)).status, 409);
    const { items } = (await ask('GET', '')).json;
    const [last] = items.slice(-1);
    assert.deepEqual(
      [last?.index, last?.node, last?.container, last?.becomes, last?.approver],
      [json.index, 'lyra', 'web', 'web:2', 'alice'],
    );
    assert.match(String(last?.key), /^SHA256:/);
  });

  const refused: Readonly<Record<string, readonly [status: number, () => Promise<{ status: number }>]>> = {
    'that somebody else has signed': [401, () => post(textOf({ container: 'a1' }), 'mallory', 'alice')],
    'by somebody whom nobody knows': [401, () => post(textOf({ container: 'a2' }), 'mallory')],
    'with a signature for orders': [401, () => post(textOf({ container: 'a3' }), 'alice', 'alice', approvalNamespace)],
    'that is over': [400, () => post(textOf({}, soon(-1_000)))],
    'too far ahead': [400, () => post(textOf({}, soon(limits.maxAnnouncedMs + 60_000)))],
    'about a node that nobody knows': [404, () => post(textOf({ node: 'nowhere' }))],
    'in words of one\u2019s own': [400, () => post('web becomes web:2')],
    'by a name that is a pattern': [400, () => post(textOf({ container: 'a4' }), 'alice', '*')],
  };
  for (const [name, [status, announce]] of Object.entries(refused)) {
    test(`is refused ${name}, and leaves no trace`, async () => {
      const before = await size();
      assert.equal((await announce()).status, status);
      assert.equal(await size(), before);
    });
  }

  test('signed by one thing and saying another is refused', async () => {
    const signature = signers.sign('alice', textOf(), announcementNamespace);
    const approval = { approver: 'alice', signature };
    assert.equal((await ask('POST', '', { text: textOf({ image: 'evil:1' }), approval })).status, 401);
  });
});

describe('from the command line', { skip }, () => {
  const cli = (...argv: string[]) => collectorCli(['changes', ...argv], env);
  const said = (container: string, before = soon()) => [
    ...['--node', '*', '--container', container, '--becomes', 'web:3', '--before', before],
  ];
  const trusting = () => ['--allowed-signers', signers.allowedSigners];

  test('a change is signed here, or elsewhere, and listed', async () => {
    const here = ['--key', signers.keyFile('alice'), '--as', 'alice', ...trusting()];
    const announced = await cli('announce', ...said('here'), ...here);
    assert.equal(announced.code, 0, announced.stderr);
    const before = soon();
    const { stdout: text } = await cli('text', ...said('elsewhere', before));
    const file = join(folder, 'change');
    await writeFile(file, text);
    execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-f', signers.keyFile('alice'), '-n', 'sigilwatch-change', file]);
    const brought = ['--signature', `${file}.sig`, '--as', 'alice', ...trusting()];
    const second = await cli('announce', ...said('elsewhere', before), ...brought);
    assert.equal(second.code, 0, second.stderr);
    const { items } = answered.parse(JSON.parse((await cli('list', '--json')).stdout));
    assert.deepEqual(
      items.slice(-2).map(({ container }) => container),
      ['here', 'elsewhere'],
    );
    assert.match((await cli('list')).stdout, /elsewhere\tweb:3/);
  });

  test('the file of the settings is as good', async () => {
    const set = { ...env, SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: signers.allowedSigners };
    const words = ['changes', 'announce', ...said('set'), '--key', signers.keyFile('alice'), '--as', 'alice'];
    const { code, stderr } = await collectorCli(words, set);
    assert.equal(code, 0, stderr);
  });

  test('exit codes say what is wrong', async () => {
    const as = ['--as', 'alice', ...trusting()];
    const [alice, mallory] = ['alice', 'mallory'].map((owner) => ['--key', signers.keyFile(owner)]);
    assert.ok(alice && mallory);
    assert.equal((await cli('announce', ...said('x'), ...as)).code, 2, 'neither key nor signature');
    assert.equal((await cli('announce', ...said('x', 'soon'), ...alice, ...as)).code, 2);
    assert.equal((await cli('announce', ...said('x'), ...mallory, ...as)).code, 3);
    assert.equal((await cli('announce', ...said('x'), ...alice, '--as', 'alice')).code, 4, 'nobody is trusted');
  });
});

test('what was announced is rebuilt from the entries, to the row', async () => {
  const { code, stdout } = await collectorCli(['ledger', 'replay', '--check'], env);
  assert.equal(code, 0, stdout);
});
