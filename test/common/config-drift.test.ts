import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type ConfigChecks,
  configDifferences,
  type ImageConfig,
  onlyMountedFiles,
  type SeenFiles,
} from '../../common/config-drift.ts';
import type { ContainerConfig, WantedConfig } from '../../common/container-config.ts';
import { limits } from '../../common/limits.ts';

const lenient: ConfigChecks = { environment: 'said', ports: 'said', volumes: 'said' };
const strict: ConfigChecks = { environment: 'always', ports: 'always', volumes: 'always' };

const image: ImageConfig = {
  command: ['serve'],
  entrypoint: ['/init'],
  environment: { PATH: '/bin', MODE: 'image' },
  labels: { vendor: 'us' },
  user: 'app',
  volumes: ['/cache'],
};

/** A container as the engine makes it when nobody says anything. */
const plain: ContainerConfig = {
  ...{ command: ['serve'], entrypoint: ['/init'], user: 'app' },
  environment: { PATH: '/bin', MODE: 'image' },
  labels: { vendor: 'us' },
  ...{ ports: [], volumes: [':/cache:rw'], cap_add: [], cap_drop: [], privileged: false },
  ...{ restart_policy: 'no', network_mode: 'default', mem_limit: 0, cpus: 0 },
};

function differences(wanted: WantedConfig, seen: Partial<ContainerConfig> = {}, checks = lenient): string[] {
  return configDifferences(wanted, { config: { ...plain, ...seen }, image }, checks).map(
    ({ field, desired, observed }) => `${field}: ${desired} / ${observed}`,
  );
}

describe('what the image brings along is nobody\u2019s drift', () => {
  test('of a container that says nothing, leniently and strictly', () => {
    for (const checks of [lenient, strict]) assert.deepEqual(differences({}, {}, checks), []);
  });

  test('nor is saying again what the image says', () => {
    const said = { command: ['serve'], environment: { MODE: 'image' }, labels: { vendor: 'us' }, user: 'app' };
    assert.deepEqual(differences(said), []);
    assert.deepEqual(differences({ command: [], user: '' }), []);
  });

  test('nor is asking for an anonymous volume that the image asks for too', () => {
    assert.deepEqual(differences({ volumes: [':/cache:rw'] }), []);
    assert.deepEqual(differences({ volumes: [':/cache:rw'] }, { volumes: [] }), ['volumes: :/cache:rw / null']);
  });

  test('an entrypoint of one\u2019s own leaves no command of the image', () => {
    assert.deepEqual(differences({ entrypoint: ['/bin/sh'] }, { entrypoint: ['/bin/sh'], command: [] }), []);
    assert.deepEqual(differences({ entrypoint: ['/bin/sh'] }, { entrypoint: ['/bin/sh'] }), [
      'command: [] / ["serve"]',
    ]);
    assert.deepEqual(differences({ entrypoint: [] }, { entrypoint: [] }), []);
    assert.deepEqual(differences({ command: ['x'] }, { command: ['x'], entrypoint: ['/evil'] }), [
      'entrypoint: ["/init"] / ["/evil"]',
    ]);
  });
});

describe('a container made in another way drifts, field by field', () => {
  const cases: Record<string, [WantedConfig, Partial<ContainerConfig>, string[]]> = {
    command: [{ command: ['a', 'b c'] }, { command: ['a', 'b', 'c'] }, ['command: ["a","b c"] / ["a","b","c"]']],
    'a variable with another value': [
      { environment: { MODE: 'x' } },
      { environment: { PATH: '/bin', MODE: 'y' } },
      ['environment.MODE: x / y'],
    ],
    'a variable that is missing, and one that is too many': [
      { environment: { A: '1' } },
      { environment: { ...plain.environment, B: '2' } },
      ['environment.A: 1 / null', 'environment.B: null / 2'],
    ],
    'a variable of the image that was changed': [
      { environment: {} },
      { environment: { PATH: '/evil:/bin', MODE: 'image' } },
      ['environment.PATH: /bin / /evil:/bin'],
    ],
    ports: [{ ports: ['8080->80/tcp'] }, { ports: ['8080->80/tcp', '22->22/tcp'] }, ['ports: null / 22->22/tcp']],
    volumes: [
      { volumes: ['/srv:/srv:ro'] },
      { volumes: [':/cache:rw', '/srv:/srv:rw'] },
      ['volumes: /srv:/srv:ro / null', 'volumes: null / /srv:/srv:rw'],
    ],
    labels: [{ labels: { a: '1' } }, { labels: { vendor: 'us' } }, ['labels.a: 1 / null']],
    user: [{ user: '1000' }, { user: '0' }, ['user: 1000 / 0']],
    restart_policy: [{ restart_policy: 'always' }, {}, ['restart_policy: always / no']],
    cap_drop: [{ cap_drop: ['ALL'] }, {}, ['cap_drop: ALL / null']],
    network_mode: [{ network_mode: 'none' }, {}, ['network_mode: none / default']],
    mem_limit: [{ mem_limit: 1024 }, {}, ['mem_limit: 1024 / 0']],
    cpus: [{ cpus: 1500 }, { cpus: 2000 }, ['cpus: 1500 / 2000']],
  };
  for (const [name, [wanted, seen, expected]] of Object.entries(cases)) {
    test(name, () => assert.deepEqual(differences(wanted, seen), expected));
  }
});

describe('what a manifest does not say', () => {
  test('is not judged, unless it gives powers', () => {
    const { privileged, cap_add, network_mode, ...harmless } = {
      ...{ ...plain, command: ['other'], environment: { X: '1' }, labels: {}, ports: ['1->1/tcp'], user: '0' },
      ...{ volumes: ['/:/host:rw'], restart_policy: 'always', cap_drop: ['ALL'], mem_limit: 1, cpus: 1 },
    };
    assert.deepEqual(differences({}, harmless), []);
    assert.deepEqual(differences({}, { privileged: true, cap_add: ['SYS_ADMIN'], network_mode: 'host' }), [
      'cap_add: null / SYS_ADMIN',
      'privileged: false / true',
      'network_mode: null / host',
    ]);
    assert.deepEqual(differences({}, { network_mode: 'container:abc' }), ['network_mode: null / container:abc']);
    assert.deepEqual(differences({}, { network_mode: 'shop_default' }), []);
    assert.deepEqual([privileged, cap_add, network_mode], [false, [], 'default']);
  });

  test('should not be there where the rules say that it is checked', () => {
    const seen = { environment: { ...plain.environment, X: '1' }, ports: ['1->1/tcp'], volumes: ['/:/host:rw'] };
    assert.deepEqual(differences({}, seen, strict), [
      'environment.X: null / 1',
      'ports: null / 1->1/tcp',
      'volumes: null / /:/host:rw',
    ]);
  });

  test('is not judged at all where the rules say that it is not', () => {
    const off: ConfigChecks = { environment: 'never', ports: 'never', volumes: 'never' };
    const wanted = { environment: { A: '1' }, ports: ['1->1/tcp'], volumes: ['/a:/a:ro'] };
    assert.deepEqual(differences(wanted, {}, off), []);
  });

  test('labels of compose, and our own, are their own business', () => {
    const labels = { vendor: 'us', 'com.docker.compose.project': 'shop', 'sigilwatch.order': '1' };
    assert.deepEqual(differences({ labels: {} }, { labels }), []);
  });
});

test('a secret never leaves with a drift, but that it differs does', () => {
  const seen = {
    ...plain.environment,
    DB_PASSWORD: 'hunter2',
    BACKEND: 'postgres://app:s3/c@ret@db/x?token=1',
    MY_AUTH: 'y',
  };
  const wanted = { DB_PASSWORD: 'other', BACKEND: 'postgres://app:other@db/x', MY_AUTH: 'x' };
  const told = differences({ environment: wanted }, { environment: seen });
  assert.deepEqual(told, [
    'environment.BACKEND: postgres://(hidden)@db/x / postgres://(hidden)@db/x?(hidden)',
    'environment.DB_PASSWORD: (hidden) / (hidden)',
    'environment.MY_AUTH: (hidden) / (hidden)',
  ]);
});

test('nor does one in a command, or under a name that nobody has thought of', () => {
  const secrets = {
    ...{ SSH_KEY: 'k', MYSQL_PWD: 'p', PW: 'p', PIN: '1', SALT: 's', GITHUB_PAT: 't', STRIPE_SK: 's', X_SIG: 's' },
    ...{ CONN: 'Server=x;Password=hunter2', JSON: '{"password":"hunter2"}', HOOK: 'https://h/x?k=hunter2' },
    ...{ GIT: 'https://hunter2@github.com/x', BLOB: 'hunter2hunter2hunter2hunter2hunter2' },
  };
  const told = differences({ environment: {} }, { environment: { ...plain.environment, ...secrets } });
  assert.equal(told.length, Object.keys(secrets).length);
  assert.doesNotMatch(told.join(' '), /hunter2|null \/ [kpst1]$/m);
  const command = ['mysqld', '--password=hunter2', '-phunter2', '--token', 'hunter2', '--port', '3306'];
  assert.deepEqual(differences({ command: ['x'] }, { command }), [
    'command: ["x"] / ["mysqld","--password=(hidden)","-p(hidden)","--token","(hidden)","--port","3306"]',
  ]);
});

test('what is very long is not looked into, and not told', () => {
  const long = ['a', '://'].map((part) => part.repeat(400_000));
  const environment = { A: long[0] ?? '', B: long[1] ?? '' };
  assert.deepEqual(differences({ environment: {} }, { environment: { ...plain.environment, ...environment } }), [
    'environment.A: null / (hidden)',
    'environment.B: null / (hidden)',
  ]);
});

test('of a drift in a language of many bytes no more is told than fits', () => {
  const environment = Object.fromEntries(Array.from({ length: 45 }, (_, i) => [`V${i}`, '\u0001漢'.repeat(600)]));
  const found = configDifferences({ environment: {} }, { config: { ...plain, environment }, image }, lenient);
  assert.ok(Buffer.byteLength(JSON.stringify(found)) < limits.maxEntryBytes / 3);
  assert.match(found.at(-1)?.observed ?? '', /more differences/);
});

test('however much differs, a drift fits into an entry and says how much it leaves out', () => {
  const environment = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`V${i}`, 'x'.repeat(2_000)]));
  const found = configDifferences({ environment: {} }, { config: { ...plain, environment }, image }, lenient);
  assert.equal(found.at(-1)?.observed, '479 more differences');
  assert.ok(Buffer.byteLength(JSON.stringify(found)) < limits.maxEntryBytes / 2);
});

test('two configurations are without difference exactly when every field that is said is the same', () => {
  const list = fc.uniqueArray(fc.constantFrom('a', 'b', 'c')).map((items) => items.sort());
  const texts = fc.dictionary(fc.constantFrom('A', 'B', '__proto__'), fc.constantFrom('1', '2'));
  const config = fc.record({
    ...{ command: fc.constant(['x']), entrypoint: fc.constant(['y']), environment: texts, labels: texts },
    ...{ ports: list, volumes: list, cap_add: list, cap_drop: list, privileged: fc.boolean() },
    ...{ user: fc.constantFrom('1', '2'), restart_policy: fc.constantFrom('no', 'always') },
    ...{ network_mode: fc.constantFrom('host', 'default'), mem_limit: fc.nat(1), cpus: fc.nat(1) },
  });
  const bare: ImageConfig = { command: [], entrypoint: [], environment: {}, labels: {}, user: '', volumes: [] };
  fc.assert(
    fc.property(config, config, (wanted, seen) => {
      const found = configDifferences(wanted, { config: seen, image: bare }, strict);
      const fields = new Set(found.map(({ field }) => field.split('.')[0]));
      const expected = Object.entries(wanted).flatMap(([field, value]) =>
        isSame(value, Object.entries(seen).find(([name]) => name === field)?.[1]) ? [] : [field],
      );
      assert.deepEqual([...fields].sort(), expected.sort());
    }),
  );
});

function isSame(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value).sort() : value;
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

describe('mounted files', () => {
  const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
  const wanted = { '/etc/b.conf': digest('b'), '/etc/a.conf': digest('a') };
  const found = (seen: SeenFiles | undefined, said: WantedConfig = {}) =>
    configDifferences(said, { config: plain, image, ...(seen && { files: seen }) }, lenient, wanted);

  test('whose content is the wanted one are no drift', () => {
    assert.deepEqual(found(new Map(Object.entries(wanted))), []);
  });

  test('that differ, are not there or were not read are told one by one', () => {
    const seen: SeenFiles = new Map([['/etc/a.conf', digest('f')]]);
    assert.deepEqual(found(seen), [
      { field: 'mounted_files./etc/a.conf', desired: digest('a'), observed: digest('f') },
      { field: 'mounted_files./etc/b.conf', desired: digest('b'), observed: null },
    ]);
    assert.deepEqual(
      found(undefined).map(({ observed }) => observed),
      ['not read', 'not read'],
    );
  });

  test('never hide what an order could mend, however many there are', () => {
    const path = fc.nat({ max: 9_999 }).map((n) => `/etc/${'x'.repeat(n % 700)}${n}`);
    fc.assert(
      fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 80 }), fc.boolean(), (paths, otherUser) => {
        const files = Object.fromEntries(paths.map((one) => [one, digest('a')]));
        const said = otherUser ? { user: 'other' } : {};
        const all = configDifferences(said, { config: plain, image, files: new Map() }, lenient, files);
        assert.equal(onlyMountedFiles(all), !otherUser);
      }),
    );
    assert.equal(onlyMountedFiles([]), false);
  });
});
