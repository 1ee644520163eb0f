import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { AppError } from '../../../common/errors.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';
import { agentCommand } from '../program.ts';
import { tempFolder } from '../watching.ts';
import { adopting } from './adopting.ts';

const temp = tempFolder();
const cmd = ['sleep', '9'];
const plain = { NetworkMode: 'default' };
let engine: FakeEngine;
let world: ReturnType<typeof adopting>;

before(async () => {
  engine = await startFakeEngine(join(temp, 'engine.sock'));
  await engine.importImage('app:1', ['CMD ["sleep","9"]', 'ENV PATH=/bin', 'LABEL made=here', 'VOLUME /cache']);
  await engine.importImage('app:2', ['CMD ["sleep","9"]', 'USER app']);
});
after(() => engine.stop());
beforeEach(() => {
  world = adopting(temp, engine.socketPath);
});
afterEach(async () => {
  for (const id of await engine.ids()) await engine.remove(id);
});

const run = (name: string, more: object = {}) => engine.run({ name, image: 'app:1', cmd, host: plain, ...more });
const manifest = () => world.repository.git('show', 'HEAD:bloodline_manifest.yaml');

const nothingToDo = async () => {
  const { code, stdout, stderr } = await world.adopt();
  assert.deepEqual([code, stdout], [0, ''], stderr);
  assert.match(stderr, /nothing to do/);
};

describe('a running fleet is taken over', () => {
  test('into a repository without a commit, with a whole manifest that only watches', async () => {
    await run('web', { env: ['MODE=live'], host: { ...plain, RestartPolicy: { Name: 'always' } } });
    const { code, stdout } = await world.adopt();
    assert.equal(code, 0);
    world.am(stdout);
    assert.match(manifest(), /enforcement_mode: audit/);
    assert.match(
      manifest(),
      /- name: web\n {4}image: app:1\n {4}image_sha: sha256:[0-9a-f]{64}\n {4}node: n1\n {4}environment:/,
    );
    assert.doesNotMatch(manifest(), /PATH|made|cache|command/);
    await nothingToDo();
  });

  test('into a repository without a manifest, beside its compose files', async () => {
    mkdirSync(join(world.repository.dir, 'manifests/docker'), { recursive: true });
    world.repository.commit('services: {db: {image: "app:1", container_name: db}}', 'manifests/docker/db.yaml');
    await run('db');
    await run('web');
    const { code, stdout } = await world.adopt();
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /name: db/);
    world.am(stdout);
    await nothingToDo();
  });

  test('everything that its image does not bring along is written, and nothing else', async () => {
    const host = {
      ...{ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 }, CapAdd: ['CAP_SYS_TIME'], CapDrop: ['ALL'] },
      ...{ PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] }, Binds: ['/srv:/data:ro', 'v:/v'] },
      ...{ Privileged: true, NetworkMode: 'host', Memory: 64 * 1024 ** 2, NanoCpus: 250_000_000 },
    };
    const labels = { team: 'a', 'com.docker.compose.project': 'shop' };
    await run('full', { cmd: ['x', '$HOME'], user: '7', env: ['PATH=/bin', 'A=1'], labels, host });
    const { stdout } = await world.adopt();
    world.am(stdout);
    const written = [
      'command: [x, "$HOME"]',
      ...['user: "7"', 'environment:', '  A: "1"', 'ports:', '  - "127.0.0.1:8080:80"'],
      ...['volumes:', '  - /srv:/data:ro', '  - v:/v', 'network_mode: host', 'restart_policy: on-failure:3'],
      ...['labels:', '  team: a', 'cap_add: [SYS_TIME]', 'cap_drop: [ALL]', 'privileged: true', 'mem_limit: "64m"'],
      'cpus: 0.25',
    ];
    assert.ok(manifest().includes(`node: n1\n${written.map((line) => `    ${line}\n`).join('')}`), manifest());
    await nothingToDo();
  });

  test('the content of mounted files is that of this node', async () => {
    const conf = join(temp, 'app.conf');
    writeFileSync(conf, 'by hand');
    const wanted = (digest: string) =>
      `containers:\n  - name: web\n    image: app:1\n    mounted_files:\n      /etc/app.conf: sha256:${digest}\n`;
    world.repository.commit(wanted('0'.repeat(64)));
    await run('web', { host: { ...plain, Binds: [`${conf}:/etc/app.conf:ro`] } });
    const { code, stdout } = await world.adopt();
    assert.equal(code, 0);
    world.am(stdout);
    assert.ok(manifest().includes(hash('sha256', 'by hand', 'hex')), manifest());
    await nothingToDo();
  });

  test('nodes that the manifest names get this one, too', async () => {
    world.repository.commit('nodes:\n  - name: other\ncontainers: []\n');
    await run('web');
    const { code, stdout } = await world.adopt();
    assert.equal(code, 0);
    assert.deepEqual(world.changed(stdout).slice(0, 3), ['-containers: []', '+  - name: n1', '+containers:']);
    world.am(stdout);
    await nothingToDo();
  });

  test('whatever its names and values are', async () => {
    const word = fc.oneof(
      fc.constantFrom(
        'yes',
        '0755',
        '1e3',
        '12:30',
        'a: b',
        '- x',
        '#',
        '$HOME',
        '$$',
        '{',
        'a\nb',
        'ä😀',
        '~',
        '\'"',
        ' ',
      ),
      fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
    );
    const key = word.filter((text) => text !== '' && !text.includes('=') && !text.startsWith('com.docker.compose'));
    const container = fc.record({
      name: key,
      words: fc.array(word),
      texts: fc.dictionary(key, word, { noNullPrototype: true }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(container, { selector: ({ name }) => name, minLength: 1, maxLength: 3 }),
        async (all) => {
          const ids = [];
          for (const { name, words, texts } of all) {
            const env = Object.entries(texts).map(([variable, value]) => `${variable}=${value}`);
            const made = engine.state.create(name, { Image: 'app:1', Cmd: words, Env: env, Labels: texts });
            engine.state.start(made.id);
            ids.push(made.id);
          }
          world = adopting(temp, engine.socketPath);
          world.repository.commit('# nothing yet\ncontainers: []\n');
          const { code, stdout, stderr } = await world.adopt({ withSecrets: true });
          world.am(stdout);
          const again = await world.adopt();
          for (const id of ids) engine.state.remove(id);
          assert.deepEqual([code, again.code, again.stdout], [0, 0, ''], stderr + again.stderr);
        },
      ),
      { numRuns: 12 },
    );
  });
});

describe('what is there is changed as little as possible', () => {
  const fleet = `# the fleet
nodes: [{name: n1}]

containers:
  # in front
  - name: web          # public
    image: app:2       # pinned
    node: n1
    environment:
      - MODE=test      # for now
      - OLD=1
      - KEPT=1
    ports: ["80:80", '81:81']
    user: "0"

  - name: gone
    image: app:1
    node: n1

  # in the middle
  - {name: api, image: "app:1", node: n1}

drift_rules:
  config_drift: {action: alert}   # later: rollback
`;

  test('exactly the keys and items that differ', async () => {
    world.repository.commit(fleet);
    const ports = { '80/tcp': [{ HostIp: '', HostPort: '80' }], '82/tcp': [{ HostIp: '', HostPort: '82' }] };
    await run('web', { env: ['MODE=live', 'KEPT=1'], user: '0', host: { ...plain, PortBindings: ports } });
    await run('api', { host: { ...plain, CapAdd: ['CHOWN'] } });
    const { code, stdout, stderr } = await world.adopt();
    assert.deepEqual(world.changed(stdout), [
      '-    image: app:2       # pinned',
      '+    image: app:1       # pinned',
      '-      - MODE=test      # for now',
      '-      - OLD=1',
      '+      - MODE=live      # for now',
      `-    ports: ["80:80", '81:81']`,
      '+    ports: ["80:80", "82:82"]',
      '-  - {name: api, image: "app:1", node: n1}',
      '+  - {name: api, image: "app:1", node: n1, cap_add: [CHOWN]}',
    ]);
    // What is wanted and does not run is left alone, with its place.
    assert.equal(code, 1);
    assert.match(stderr, /gone: .*bloodline_manifest\.yaml:16/);
    const dropped = await world.adopt({ dropMissing: true });
    assert.equal(dropped.code, 0);
    world.am(dropped.stdout);
    assert.doesNotMatch(manifest(), /gone|\n\n\n/);
    await nothingToDo();
  });

  test('a container that has ended, or is paused, is nothing to take over', async () => {
    world.repository.commit('containers: []');
    await engine.run({ name: 'ended', image: 'app:1', cmd: ['sh', '-c', 'exit 3'] });
    await engine.pause(await run('paused'));
    const { code, stdout, stderr } = await world.adopt();
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /ended: it does not run: exited \(3\)/);
    assert.match(stderr, /paused: it does not run: paused/);
  });

  test('a service that drifts is changed in its compose file, where a dollar is written twice', async () => {
    const folder = join(world.repository.dir, 'manifests/docker');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, '.env'), 'TAG=2\n');
    const file = 'manifests/docker/shop.yaml';
    world.repository.commit('containers: []');
    const compose = [
      ...[
        'services:',
        '  web:',
        '    image: app:1   # ours',
        '    container_name: web',
        '    environment: {PRICE: "$$1"}',
      ],
      ...[
        '  db:',
        '    image: app:1',
        '    container_name: db',
        '    volumes: [data:/data]',
        'volumes: {data: {}}',
        '',
      ],
    ];
    world.repository.commit(compose.join('\n'), file);
    await run('web', { env: ['PRICE=$2'], host: { ...plain, CapAdd: ['CHOWN'], RestartPolicy: { Name: 'no' } } });
    await run('db', { host: { ...plain, Binds: ['other:/data'] } });
    const { code, stdout, stderr } = await world.adopt();
    assert.deepEqual(world.changed(stdout), [
      '-    environment: {PRICE: "$$1"}',
      '+    environment: {PRICE: "$$2"}',
      '+    cap_add: [CHOWN]',
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /db: .*manifests\/docker\/shop\.yaml:6/);
    world.am(stdout);
  });

  test('an entry that others share is left alone and named, and costs no other one', async () => {
    world.repository.commit('containers:\n  - &a {name: web, image: "app:2"}\nmetadata: {copy: *a}\n');
    await run('web');
    await run('api');
    const { code, stdout, stderr } = await world.adopt();
    assert.equal(code, 1);
    assert.match(stderr, /web: its entry shares.*bloodline_manifest\.yaml:2/);
    assert.match(stdout, /^\+ {2}- name: api$/m);
    world.am(stdout);
  });
});

describe('secrets stay out of git', () => {
  test('they are left out, named, and told nowhere', async () => {
    await run('web', { env: ['DB_PASSWORD=hush-hush', 'MODE=live'], cmd: ['serve', '--token', 'hush-hush'] });
    const { code, stdout, stderr } = await world.adopt();
    assert.equal(code, 0);
    assert.doesNotMatch(stdout + stderr, /hush/);
    assert.match(stderr, /web: environment\.DB_PASSWORD; environment is left out as a whole/);
    assert.match(stderr, /web: command\n/);
    assert.doesNotMatch((await world.adopt({ json: true })).stdout, /hush/);
    world.am(stdout);
    assert.doesNotMatch(manifest(), /environment|command/);
    await nothingToDo();
  });

  test('unless their names are given', async () => {
    await run('web', { env: ['KEYBOARD=de', 'API_KEY=hush'] });
    const some = await world.adopt({ withSecrets: 'KEYBOARD' });
    assert.doesNotMatch(some.stdout, /environment:|hush/);
    const both = await world.adopt({ withSecrets: 'KEYBOARD, API_KEY' });
    assert.match(both.stdout, /\+ {6}API_KEY: hush\n\+ {6}KEYBOARD: de\n/);
    assert.equal(both.code, 0);
  });

  test('where variables are judged in any case, what is left out is a drift, and said to be one', async () => {
    world.repository.commit('drift_rules: {config_drift: {check_env_vars: true}}');
    await run('web', { env: ['API_KEY=hush', 'MODE=live'] });
    const { code, stdout, stderr } = await world.adopt();
    assert.equal(code, 1);
    assert.match(stdout, /^\+ {6}MODE: live$/m);
    assert.match(stderr, /CONFIG_DRIFT {2}web {2}environment\.API_KEY/);
    assert.doesNotMatch(stdout + stderr, /hush/);
  });
});

describe('the command', () => {
  const listed = (dir: string) =>
    readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => join(dir, name))
      .map((path) => [path, statSync(path).mtimeMs, statSync(path).isFile() ? readFileSync(path, 'base64') : '']);

  test('changes nothing in the repository, and nobody else’s settings change the patch', async () => {
    world.repository.commit('containers: []');
    for (const [name, value] of [
      ...[
        ['diff.noprefix', 'true'],
        ['format.attach', 'x'],
        ['format.signOff', 'true'],
        ['user.name', 'Änne Ö'],
      ],
      ...[
        ['user.email', 'a@example.org'],
        ['diff.external', '/bin/false'],
        ['core.hooksPath', '/nowhere'],
      ],
    ])
      world.repository.git('config', name ?? '', value ?? '');
    await run('web');
    const earlier = listed(world.repository.dir);
    const { stdout } = await world.adopt();
    assert.deepEqual(listed(world.repository.dir), earlier);
    assert.match(stdout, /^From: =\?UTF-8\?q\?=C3=84nne=20=C3=96\?= <a@example\.org>$/m);
    world.am(stdout);
    assert.equal(
      world.repository.git('log', '-1', '--format=%an <%ae>%n%s'),
      'Änne Ö <a@example.org>\nmanifest: take over what runs on n1',
    );
    assert.match((await world.adopt({ author: 'B <b@example.org>' })).stdout, /^$/);
  });

  test('says who the author is as it is told', async () => {
    await run('web');
    const { stdout } = await world.adopt({ author: 'B C <b@example.org>' });
    assert.match(stdout, /^From: B C <b@example\.org>$/m);
    await assert.rejects(world.adopt({ author: 'nobody' }), isError('validation.request'));
  });

  test('writes no file twice', async () => {
    await run('web');
    const output = join(temp, 'once.patch');
    const { code, stdout } = await world.adopt({ output });
    assert.equal(code, 0);
    assert.match(stdout, /1 added/);
    assert.match(readFileSync(output, 'utf8'), /^From [0-9a-f]{40} /);
    await assert.rejects(world.adopt({ output }), isError('state.conflict'));
  });

  test('exits with 2 when not all could be seen, and takes over the rest', async () => {
    world.repository.commit('containers: []');
    await run('web');
    engine.breakInspect(await run('broken'), 'fails');
    const { code, stdout, stderr } = await world.adopt();
    assert.equal(code, 2);
    assert.match(stdout, /name: web/);
    assert.match(stderr, /could not look at container/);
  });

  test('without the image it takes over what does not depend on it', async () => {
    await engine.importImage('app:3');
    await run('web', { image: 'app:3', env: ['A=1'], host: { ...plain, CapAdd: ['CHOWN'] } });
    await engine.removeImage('app:3');
    const { code, stdout, stderr } = await world.adopt();
    assert.equal(code, 2);
    assert.match(stdout, /cap_add: \[CHOWN\]/);
    assert.doesNotMatch(stdout, /environment/);
    assert.match(stderr, /could not look at image/);
  });

  test('refuses a manifest with mistakes, and a path without a repository', async () => {
    world.repository.commit('containers: [{name: web}]');
    await assert.rejects(world.adopt(), isError('validation.manifest'));
    await assert.rejects(world.adopt({ repository: join(temp, 'none') }), isError('validation.manifest'));
  });

  test('is there on the command line, and tells all of it as data', async () => {
    world.repository.commit('containers: []');
    await run('web');
    const config = join(temp, 'agent.yaml');
    writeFileSync(config, `dataDir: ${temp}\ndocker: {socketPath: ${engine.socketPath}}\n`);
    const args = [
      '--config',
      config,
      '--json',
      'manifest',
      'adopt',
      '--node',
      'n1',
      '--repository',
      world.repository.dir,
    ];
    const { code, stdout, stderr } = await agentCommand(args);
    assert.deepEqual([code, stderr], [0, '']);
    const told = z
      .object({
        changes: z.array(
          z.object({ kind: z.string(), container: z.string(), entry: z.looseObject({ image: z.string() }) }),
        ),
        drifts: z.array(z.unknown()),
        patch: z.string(),
      })
      .parse(JSON.parse(stdout));
    assert.deepEqual(
      told.changes.map(({ kind, container }) => [kind, container]),
      [['added', 'web']],
    );
    world.am(told.patch);
    await nothingToDo();
  });
});

const isError = (code: AppError['code']) => (thrown: unknown) => thrown instanceof AppError && thrown.code === code;
